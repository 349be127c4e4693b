"""Exercise 10.6 by a GPU's own instructions, without a GPU.

    python -m tools.ptx my_kernel.cu

NVRTC makes PTX of your kernel, and a machine runs it thread by thread, in random order.
It looks at every access to memory and at every register, and says what is wrong in the
words of the exercise. Sectors it does not count: `exercises.check` does.
"""

import argparse
import shutil
import sys
from pathlib import Path

from rwkv_book.compiled import gpu
from rwkv_book.exercises import chapter_10
from rwkv_book.exercises.answers import Wrong
from tools.ptx import kernel


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kernel", type=Path, help="a file with one __global__ function")
    path = parser.parse_args(arguments).kernel
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path} can't be read as a text: {error}")
    if shutil.which("g++") is None:
        sys.exit(f"There is no g++ to build the machine with: {chapter_10.INSTALL}.")
    try:
        gpu.cuda_packages('let exercises.check("10.6", ...) run your kernel')
    except RuntimeError as missing:
        sys.exit(f"{missing}.")
    try:
        print(verdict(text))
    except Wrong as wrong:
        sys.exit(f"Not yet. {wrong}")


def verdict(text):
    """What to say of a kernel that is right. Wrong, with a sentence, where it isn't."""
    launched = chapter_10.shifts(text, kernel.launch)
    each = launched.instructions / launched.threads
    return (
        f"Right. {launched.threads} threads did {launched.instructions:,} instructions "
        f"of a GPU, {each:.0f} each, whichever thread comes first."
    )


if __name__ == "__main__":
    main()
