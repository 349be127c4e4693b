"""How many registers do the kernels of `wkv.cu` and `table.cu` take on each GPU?

    python benchmarks/registers.py

NVRTC's assembler reports it, for every type and for five generations of GPUs; it takes
none. What does not fit into registers is spilled, that is kept in memory, and counted
here in bytes of a thread.
"""

import re
from typing import NamedTuple

import measure

from rwkv_book.compiled import gpu, nvrtc
from rwkv_book.family.kernels import source_for
from rwkv_book.rwkv4.kernels import SOURCE, STORED

ARCHITECTURES = "sm_75", "sm_80", "sm_90", "sm_100", "sm_120"
TABLES = 16, 64, 128  # keys, and values, of a head of RWKV-7
FACTS = {  # as the assembler words them
    "registers": r"Used (\d+) registers",
    "spilled": r"(\d+) bytes spill stores",
    "stack": r"(\d+) bytes stack frame",
}


class Statistics(NamedTuple):
    """What a thread of a kernel takes. Spills and stack are bytes of memory."""

    registers: int
    spilled: int
    stack: int


def statistics(text, stored, architecture):
    """{kernel: Statistics} of the machine code, as its assembler reports them."""
    log = compiled(text, stored, architecture, "ProgramLog", b"--ptxas-options=-v")
    parts = log.decode().split("Compiling entry function '")[1:]
    return {
        part.split("'")[0]: Statistics(
            *(int(re.search(pattern, part)[1]) for pattern in FACTS.values())
        )
        for part in parts
    }


def compiled(text, stored, architecture, wanted, *more):
    """What NVRTC makes of it with the options that `compiled.gpu` gives it."""
    import cuda.core

    options = gpu.OPTIONS | {"arch": architecture, "define_macro": ("STORED", stored)}
    flags = cuda.core.ProgramOptions(**options).as_bytes("nvrtc")
    return nvrtc.ask_for(wanted, text, [*flags, *more])


def rows_for(stored, architecture, head=None):
    """A row for each kernel, in the order of the text: of RWKV-7 with such a head."""
    source = source_for(head, head, True, False) if head else SOURCE
    found = statistics(source.whole_on_gpu, stored, architecture)
    place = {"type": stored, "architecture": architecture}
    place |= {"head": head} if head else {}
    return [place | {"kernel": x} | found[x]._asdict() for x in source.parameters]


def main():
    record("registers", ARCHITECTURES, (None,))
    record("table-registers", ARCHITECTURES[::2], TABLES)


def record(question, architectures, heads):
    rows = [
        row
        for head in heads
        for stored in STORED.values()
        for architecture in architectures
        for row in rows_for(stored, architecture, head)
    ]
    measure.print_table(rows)
    measure.record(
        question,
        "compiled without a GPU",
        rows,
        command="python benchmarks/registers.py",
        nvrtc=".".join(map(str, gpu.cuda_packages("")[1][1:])),
    )


if __name__ == "__main__":
    main()
