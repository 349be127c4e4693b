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
STORED = "bfloat16"


class Narrow:
    """A matrix (R,W) in bfloat16, as far as `minimal.py` uses one; W is even.

    `matrix @ x` takes x (W,) in float32 to (R,); `matrix[row]` is a row in float32.
    `numbers` is a tensor, `source` the kernel's text. ValueError where a shape or a
    type is another, RuntimeError without a compiler.
    """

    def __init__(self, numbers, source=SOURCE):
        if not fits(numbers) or numbers.dtype != torch.bfloat16:
            raise ValueError(
                "a narrow matrix is (R,W) in bfloat16, with an even W, got "
                f"{tuple(numbers.shape)} in {numbers.dtype}"
            )
        self.numbers, self.source = numbers.contiguous(), source
        self.shape, self.ndim = tuple(numbers.shape), 2
        cpu.library(source, STORED)  # says at once what is missing

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
        even, odd = torch.tensor(x).view(-1, 2).T.contiguous()
        out = torch.empty(rows)
        cpu.run_kernel(
            *(self.source, "matrix_times_vector", STORED, None),
            *(-(-rows // BLOCK), BLOCK, width),
            *(rows, width // 2, self.numbers, even, odd, out),
        )
        return out.numpy()


def narrowed(params):
    """Parameters of a `minimal.py` whose matrices are kept in 16 bits where they fit.

    {name: array} -> {name: array or Narrow}. A matrix whose numbers are no numbers of
    bfloat16 stays what it is: nothing is rounded. RuntimeError without a compiler.
    """
    return {
        name: narrow(array) if name.endswith(".weight") else array
        for name, array in params.items()
    }


def narrow(array):
    """The matrix in bfloat16 if that holds all its numbers, else as it is."""
    wide = torch.from_numpy(array)
    if not fits(wide) or wide.dtype != torch.float32:
        return array
    numbers = wide.bfloat16()
    return Narrow(numbers) if torch.equal(numbers.float(), wide) else array


def fits(matrix):
    """Whether it is a matrix whose rows are pairs of numbers."""
    return matrix.ndim == 2 and matrix.shape[1] % 2 == 0
