"""A source on an NVIDIA GPU: compiled by NVRTC, launched by NVIDIA's cuda.core.

NVRTC is a library that comes with a CUDA build of PyTorch; it needs no C++ compiler, no
headers and no CUDA toolkit.
"""

from contextlib import contextmanager
from functools import cache, lru_cache

import torch

from rwkv_book.compiled.cache import compiled

OPTIONS = {"std": "c++17", "restrict": True, "prec_div": False, "diag_suppress": 177}
BLOCK = 32  # sums of a block: small ones spread few sums over all multiprocessors
SUMS_AT_ONCE = 384  # on a multiprocessor: enough to wait for memory at the same time


class PyTorch:
    """What a launch asks PyTorch about a GPU; something else may answer instead."""

    @contextmanager
    def chosen(self, device):
        """Within it that GPU is PyTorch's own choice; gives its number."""
        with torch.cuda.device(device):
            yield torch.cuda.current_device()

    def stream(self, device):
        """The handle of the stream on which work is queued."""
        return torch.cuda.current_stream(device).cuda_stream

    def architecture(self, number):
        """What the kernels of a GPU are compiled for, such as sm_90."""
        return "sm_{}{}".format(*capability(number))

    def multiprocessors(self, device):
        """How many it has."""
        return torch.cuda.get_device_properties(device).multi_processor_count

    def captures(self):
        """Whether what is queued goes into a CUDA graph."""
        return torch.cuda.is_current_stream_capturing()


class Gpu:
    """All GPUs of this machine, as operators use them: `run_kernel` and its sizes.

    `asked` answers as PyTorch does, and `compile` makes what the driver loads.
    """

    ONE_PASS = True  # where time isn't cut
    FEWEST_CHUNKS = 17  # predicted: fewer take longer than one pass

    def __init__(self, asked=None, compile=None):
        self.asked, self.compile = asked or PyTorch(), compile or compile_for
        self.load = cache(self.load)

    def run_kernel(
        self, source, kernel, stored, device, rows, channels, tokens, *arguments
    ):
        """Queue a kernel on the current stream, a thread for each of rows · channels.

        `stored` is a value of STORED in hardware.h; `arguments` are tensors, integers
        or None. TypeError where the kernel takes another number of them.
        """
        source.check(kernel, arguments)
        core, _ = cuda_packages(source.instead)
        with self.asked.chosen(device) as number:
            core.Device(number).set_current()  # a thread may have no context of its own
            architecture = self.asked.architecture(number)
            function = self.load(source, stored, architecture)[kernel]
            queue = stream(number, self.asked.stream(device))
            warps = source.warps(kernel)
            if warps > 1:  # a block owns channels of one text
                channels = -(-channels // BLOCK) * BLOCK
            config = launch_config(blocks(rows * channels), BLOCK * warps)
            core.launch(queue, config, function, rows, *map(as_word, arguments))

    def load(self, source, stored, architecture):
        """{name: kernel} for one type of keys and one kind of GPU, sm_75 or newer.

        RuntimeError where the driver can't load them, and while a CUDA graph is
        captured, in which nothing may be loaded. They are loaded once.
        """
        core, (_, *version) = cuda_packages(source.instead)
        if self.asked.captures():
            raise RuntimeError(
                "The compiled operator can't be loaded while a CUDA graph is captured: "
                f"call it once before, forward and backward, or {source.instead}"
            )
        code = self.compile(source, stored, architecture)
        try:
            module = core.ObjectCode.from_cubin(code)
            return {name: module.get_kernel(name) for name in source.parameters}
        except Exception as error:  # cuda.core keeps the names of its errors private
            raise RuntimeError(
                f"The driver can't load the operator ({error}): get a driver for CUDA "
                f"{'.'.join(map(str, version))} or newer, or {source.instead}"
            ) from error

    def sums_at_once(self, device):
        """How many sums keep this GPU busy."""
        return SUMS_AT_ONCE * self.asked.multiprocessors(device)

    @staticmethod
    def rooms(groups):
        """How many places there are for what groups of threads keep: one for each."""
        return groups


@cache
def capability(number):
    """PyTorch's answer, major and minor; to ask takes as long as a launch."""
    return torch.cuda.get_device_capability(number)


@cache
def stream(number, handle):
    """cuda.core's name for a stream of PyTorch; making it takes as long as a launch."""
    import cuda.core

    return cuda.core.Stream.from_handle(handle)


@lru_cache(maxsize=256)
def launch_config(count, threads):
    """So many small blocks in a row."""
    import cuda.core

    return cuda.core.LaunchConfig(grid=count, block=threads)


def blocks(sums):
    """How many blocks own that many sums: what is more than a grid, takes turns."""
    return min(-(-sums // BLOCK), 2**31 - 1)


def as_word(argument):
    """An integer, or the address of a tensor's numbers, or of nothing.

    cuda.core passes an int in 64 bits, as wide as each parameter of a kernel.
    """
    if isinstance(argument, torch.Tensor):
        argument = argument.data_ptr()
    return argument or 0


def compile_for(source, stored, architecture):
    """The machine code; it takes no GPU to make it.

    RuntimeError where there is no NVRTC, or where it has a complaint.
    """
    core, version = cuda_packages(source.instead)
    options = OPTIONS | {"arch": architecture, "define_macro": ("STORED", stored)}
    made_of = [repr(options), repr(version), source.on_gpu]

    def compile(path):
        try:
            program = core.Program(
                source.whole_on_gpu, "c++", core.ProgramOptions(**options)
            )
            code = program.compile("cubin").code
        except Exception as error:  # cuda.core keeps the names of its errors private
            raise RuntimeError(
                f"NVRTC can't compile the operator for {architecture}: use another GPU "
                f"or another NVRTC, or {source.instead}\n{str(error)[:2000]}"
            ) from error
        path.write_bytes(code)

    with compiled(source, ".cubin", made_of, compile) as path:
        return path.read_bytes()


@cache
def cuda_packages(instead):
    """cuda.core and the version of NVRTC; RuntimeError where one is missing."""
    try:
        import cuda.core
        from cuda.bindings import nvrtc

        return cuda.core, nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(
            f"The packages that reach a GPU are missing ({error}): install "
            f"'rwkv-book[cuda]', or {instead}"
        ) from error
