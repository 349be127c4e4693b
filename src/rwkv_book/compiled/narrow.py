"""Matrices that are kept in 16 bits and multiply vectors of 32.

Whoever generates reads every matrix once for a token, and the memory's speed is the
limit. Published weights are numbers of 16 bits: kept so, half as much is read, and the
logits are those of the same numbers in 32 bits, but for the order of sums.
"""

from pathlib import Path

import numpy as np
import torch

from rwkv_book.compiled import cpu
from rwkv_book.compiled.source import Source

SOURCE = Source(
    Path(__file__).with_name("product.cpp").read_text("utf-8"),
    name="product.cpp",
    instead="leave the matrices in 32 bits.",
    kept=True,
)
BLOCK = SOURCE.number("BLOCK")
STORED = {torch.bfloat16: "bfloat16", torch.float16: "float16"}


class Narrow:
    """A matrix (R,W) in bfloat16 or float16, as far as `minimal.py` uses one.

    `matrix @ x` takes x (W,) in float32 to (R,); `matrix[row]` is a row in float32.
    `numbers` is a tensor. ValueError where a shape or a type is another, RuntimeError
    without a compiler.
    """

    def __init__(self, numbers):
        if numbers.ndim != 2 or numbers.dtype not in STORED:
            raise ValueError(
                "a narrow matrix is (R,W) in bfloat16 or float16, got "
                f"{tuple(numbers.shape)} in {numbers.dtype}"
            )
        self.numbers = numbers.contiguous()
        self.shape, self.ndim = tuple(numbers.shape), 2
        cpu.library(SOURCE, STORED[numbers.dtype])  # says at once what is missing

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return self.numbers[rows].float().numpy()

    def __matmul__(self, x):
        if x.shape != self.shape[1:] or x.dtype != np.float32:
            raise ValueError(
                f"a matrix {self.shape} multiplies a vector {self.shape[1:]} in "
                f"float32, got {x.shape} in {x.dtype}"
            )
        rows, width = self.shape
        out = torch.empty(rows)
        blocks = -(-rows // BLOCK)
        cpu.run_kernel(
            *(SOURCE, "matrix_times_vector", STORED[self.numbers.dtype], None),
            *(blocks, BLOCK, width),
            *(
                rows,
                width,
                self.numbers,
                torch.from_numpy(np.ascontiguousarray(x)),
                out,
            ),
        )
        return out.numpy()


def narrowed(params):
    """Parameters of a `minimal.py` whose matrices are kept in 16 bits where they fit.

    {name: array} -> {name: array or Narrow}. A matrix whose numbers are no numbers of
    16 bits stays what it is: nothing is rounded. RuntimeError without a compiler.
    """
    return {
        name: narrow(array) if name.endswith(".weight") and array.ndim == 2 else array
        for name, array in params.items()
    }


def narrow(array):
    """The matrix in the first type of 16 bits that holds its numbers, or as it is."""
    wide = torch.from_numpy(array)
    for dtype in STORED:
        numbers = wide.to(dtype)
        if wide.dtype == torch.float32 and torch.equal(numbers.float(), wide):
            return Narrow(numbers)
    return array
