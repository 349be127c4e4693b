"""Whether NVRTC and its disassembler are there, and the PTX that NVRTC makes."""

import os
import sys
from functools import cache

import predicted
import pytest
from registers import compiled

from rwkv_book.compiled import gpu


def ready():
    """Whether NVRTC is there: it takes the packages of the extra `cuda`."""
    try:
        gpu.cuda_packages("run it elsewhere")
    except RuntimeError:
        return False
    return True


def needs(there, name, extra):
    """A mark for what takes a package that is to be had on Linux only.

    In CI a missing one is an error there, not a reason to test less.
    """
    must = sys.platform == "linux" and os.environ.get("CI")
    reason = f"there is no {name}: install 'rwkv-book[{extra}]', on Linux"
    return pytest.mark.skipif(not (there or must), reason=reason)


needs_nvrtc = needs(ready(), "NVRTC", "cuda")
needs_nvdisasm = needs(predicted.disassembler(), "nvdisasm", "test")


@cache
def ptx(text, stored, architecture):
    """The PTX of a whole source as bytes, for an architecture such as sm_90."""
    virtual = architecture.replace("sm_", "compute_")  # no machine code: half the time
    return compiled(text, stored, virtual, "PTX")
