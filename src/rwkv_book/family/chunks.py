"""The chunked form: pairs inside a chunk, all chunks at once, and a table between them.

What a chunk does to the table that comes in, and to what is asked of it, doesn't depend
on what the table holds:

    answers = own + asks Sᵀ        S <- S (diag(left) + across) + added

so that all but one product of matrices a chunk is computed for all chunks side by side.

Inside a chunk a pair of tokens needs what is left of the earlier one, key by key. As a
product of two factors, exp(sum to t) exp(-sum to i), it would be a matrix product, and
the second factor may be too large for any float. So a chunk is halved: between a token
of the left half and one of the right half lies the middle, and neither what is left at
the middle nor what is left from there on is ever above 1. Halves are halved again, down
to blocks of `safe` tokens in which the second factor can do no harm.
"""

import math

import torch
from torch.nn.functional import pad

from rwkv_book.family.arguments import checked

LARGEST = 40.0  # exp of it, and of its negative, is far from the limits of a float32


def table_chunked(
    log_decay,
    receptance,
    key,
    value,
    remove=None,
    replace=None,
    state=None,
    before=False,
    chunk=16,
    least=-math.inf,
):
    """Recurrence from chunk to chunk, and pairs of tokens in each: see equation.py.

    `chunk` is a power of two. Whoever knows that no log_decay is below `least` may say
    so, which saves time: exponents up to 40 are then allowed. ValueError otherwise.
    """
    state = checked(log_decay, receptance, key, value, remove, replace, state)
    if chunk < 1 or chunk & (chunk - 1):
        raise ValueError(f"chunk must be a power of two, got {chunk}")
    length, size = key.shape[1], value.shape[-1]
    chunk = min(chunk, power_of_two_from(length))
    log_decay, receptance, key, value = in_chunks(
        chunk, log_decay, receptance, key, value
    )
    fading = Fading(log_decay, safe_block(chunk, least))
    heard = fading.pairs(receptance, key, before)
    asks = receptance * (fading.left_before if before else fading.left)
    own = heard @ value  # (B,H,chunks,chunk,M)
    added = value.mT @ (key * fading.to_the_end)
    across = None
    if remove is not None:
        remove, replace = in_chunks(chunk, remove, replace)
        known = fading.pairs(remove, key, before=True) @ value
        known = torch.cat([known, remove * fading.left_before], dim=-1)
        met = fading.pairs(remove, replace, before=True)
        one = torch.eye(chunk, dtype=met.dtype, device=met.device)
        found = torch.linalg.solve_triangular(
            one - met, known, upper=False, unitriangular=True
        )  # the M numbers that each token removes, and how they depend on the table
        replaced = fading.pairs(receptance, replace, before) @ found
        own, asks = own + replaced[..., :size], asks + replaced[..., size:]
        removed, share = found[..., :size], found[..., size:]
        last = replace * fading.to_the_end
        added, across = added + removed.mT @ last, share.mT @ last
    tables, state = from_chunk_to_chunk(state, fading.left[..., -1:, :], added, across)
    out = own + asks @ tables.mT
    return out.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :length], state


def from_chunk_to_chunk(state, left, added, across):
    """The tables before each chunk (B,H,chunks,M,N), and the one after the last."""
    tables = []
    for number in range(added.shape[2]):
        tables.append(state)
        after = state * left[:, :, number] + added[:, :, number]
        state = after if across is None else after + state @ across[:, :, number]
    return torch.stack(tables, dim=2), state


def power_of_two_from(length):
    """The first power of two that is not below `length`."""
    return 1 << (length - 1).bit_length()


def safe_block(chunk, least):
    """How many tokens may be multiplied at once, when no log_decay is below `least`."""
    block = 1
    while 2 * block <= chunk and (2 * block - 1) * -least <= LARGEST:
        block *= 2
    return block


def in_chunks(chunk, *tensors):
    """(B,T,H,N) -> (B,H,chunks,chunk,N), the last filled with tokens of zeros."""
    missing = -tensors[0].shape[1] % chunk
    return [
        pad(x, (0, 0, 0, 0, 0, missing))
        .unflatten(1, (-1, chunk))
        .permute(0, 3, 1, 2, 4)
        for x in tensors
    ]


class Fading:
    """What is left of a key from one token to another, within each chunk.

    log_decay (..., chunk, N); blocks of `safe` tokens are not halved any more.
    """

    def __init__(self, log_decay, safe):
        sums = log_decay.cumsum(-2)
        self.left, self.left_before = sums.exp(), shifted(sums).exp()
        self.to_the_end = after_each(log_decay).exp()
        blocks = log_decay.unflatten(-2, (-1, safe))
        sums = pad(blocks[..., 1:, :].cumsum(-2), (0, 0, 1, 0))  # after the first one
        self.block = sums.exp(), shifted(sums).exp(), (-sums).exp()
        self.halves = []
        while safe < log_decay.shape[-2]:
            left, right = log_decay.unflatten(-2, (-1, 2, safe)).unbind(-3)
            sums = right.cumsum(-2)
            self.halves.append(
                (sums.exp(), shifted(sums).exp(), after_each(left).exp())
            )
            safe *= 2

    def pairs(self, asking, asked, before):
        """asking[t] · asked[i] with what is left of each key, (..., chunk, chunk).

        What is left after t's own decay, for all i up to t; or `before` that and for
        those before t. 0 above.
        """
        asking_factor, asked_factor = self.block[int(before)], self.block[2]
        size = asked_factor.shape[-2]
        blocks = (asking.unflatten(-2, (-1, size)) * asking_factor) @ (
            asked.unflatten(-2, (-1, size)) * asked_factor
        ).mT
        found = blocks.tril(-int(before))
        for factors in self.halves:
            size = found.shape[-1]
            right = asking.unflatten(-2, (-1, 2, size))[..., 1, :, :]
            left = asked.unflatten(-2, (-1, 2, size))[..., 0, :, :]
            corner = (right * factors[int(before)]) @ (left * factors[2]).mT
            upper, lower = found.unflatten(-3, (-1, 2)).unbind(-3)
            found = torch.cat(
                [pad(upper, (0, size)), torch.cat([corner, lower], dim=-1)], dim=-2
            )
        return found.squeeze(-3)


def shifted(x):
    """Row t - 1 in row t, and zeros in row 0, along axis -2."""
    return pad(x, (0, 0, 1, -1))


def after_each(x):
    """The sum of all later rows, along axis -2."""
    return pad(x, (0, 0, -1, 1)).flip(-2).cumsum(-2).flip(-2)
