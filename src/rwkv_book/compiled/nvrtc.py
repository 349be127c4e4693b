"""What NVRTC makes of a text, asked for by name: PTX, or the log of its assembler.

It takes no GPU and no driver. `compiled.gpu` goes by cuda.core, which knows less of
what NVRTC can say, and asks a driver before it makes PTX.
"""

import re

from rwkv_book.compiled import gpu


class Complaint(RuntimeError):
    """What NVRTC has against a text: its first error."""


def ptx(text, architecture="sm_90", instead="read on without."):
    """The PTX of a text in CUDA's C++: the last text before a GPU's machine code.

    Complaint where it does not compile; RuntimeError where there is no NVRTC.
    """
    gpu.cuda_packages(instead)
    virtual = architecture.replace("sm_", "compute_")  # no machine code: half the time
    return ask_for("PTX", text, [b"-std=c++17", f"-arch={virtual}".encode()]).decode()


def ask_for(wanted, text, flags):
    """One of the results of a compilation, by NVRTC's own name for it, as bytes."""
    from cuda.bindings import nvrtc

    def ask(function, *arguments):
        error, *answer = function(*arguments)
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise Complaint(f"{getattr(function, '__name__', function)}: {error}")
        return answer[0] if answer else None

    def read(name):
        result = bytes(ask(getattr(nvrtc, f"nvrtcGet{name}Size"), program))
        ask(getattr(nvrtc, f"nvrtcGet{name}"), program, result)  # it is written to
        return result.rstrip(b"\0")

    program = ask(nvrtc.nvrtcCreateProgram, text.encode(), b"kernel.cu", 0, [], [])
    try:
        ask(nvrtc.nvrtcCompileProgram, program, len(flags), flags)
    except Complaint:
        log = read("ProgramLog").decode(errors="replace")
        found = re.search(r"\((\d+)\): (?:catastrophic )?error: (.*)", log)
        sentence = f"line {found[1]}: {found[2].rstrip(':')}" if found else log[:300]
        if "execution space" in sentence:
            sentence = f"line {found[1]}: beside a kernel, a function is __device__"
        raise Complaint(sentence) from None
    return read(wanted)
