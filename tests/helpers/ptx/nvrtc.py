"""What NVRTC makes of a source, with the options that `compiled.gpu` gives it."""

import re
from functools import cache
from typing import NamedTuple

import pytest

from rwkv_book.compiled import gpu, nvrtc


def ready():
    """Whether NVRTC is there: it takes the packages of the extra `cuda`."""
    try:
        gpu.cuda_packages("run it elsewhere")
    except RuntimeError:
        return False
    return True


needs_nvrtc = pytest.mark.skipif(
    not ready(), reason="there is no NVRTC: install 'rwkv-book[cuda]', on Linux"
)


class Statistics(NamedTuple):
    """What a thread of a kernel takes. Spills and stack are bytes of memory."""

    registers: int
    spilled: int
    stack: int


@cache
def ptx(text, stored, architecture):
    """The PTX of a whole source as bytes, for an architecture such as sm_90."""
    virtual = architecture.replace("sm_", "compute_")  # no machine code: half the time
    return compiled(text, stored, virtual, "PTX")


def statistics(text, stored, architecture):
    """{kernel: Statistics} of the machine code, as its assembler reports them."""
    log = compiled(text, stored, architecture, "ProgramLog", b"--ptxas-options=-v")
    found = {}
    for part in log.decode().split("Compiling entry function '")[1:]:
        numbers = (
            int(re.search(pattern, part)[1])
            for pattern in (
                r"Used (\d+) registers",
                r"(\d+) bytes spill stores",
                r"(\d+) bytes stack frame",
            )
        )
        found[part.split("'")[0]] = Statistics(*numbers)
    return found


def compiled(text, stored, architecture, wanted, *more):
    """One of the results of a compilation, by NVRTC's own name for it."""
    import cuda.core

    options = gpu.OPTIONS | {"arch": architecture, "define_macro": ("STORED", stored)}
    flags = cuda.core.ProgramOptions(**options).as_bytes("nvrtc")
    return nvrtc.ask_for(wanted, text, [*flags, *more])
