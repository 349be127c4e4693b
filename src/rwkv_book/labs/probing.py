"""What can be read off a state with one linear map: a probe, and what it is held to.

    parts_of     a state, cut into the rows and heads of its layers
    fits         linear maps from numbers to classes, by ridge regression
    choose       that of them which does best on other texts
    right        where a probe is right
    letters      how often each byte occurs: what a state has to beat
    pieces_of    pieces of one length, evenly spread over works

Features are standardised, channel by channel, with the mean and the deviation of the
texts that a probe is fitted on.
"""

from typing import NamedTuple

import numpy as np
import torch

SMALLEST = 1e-6  # a deviation below it is that of a channel that never moves
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def parts_of(states, heads=None):
    """{(layer, part): (n, numbers)} of states (n,L,R,C), each number in one part.

    Of RWKV-5 to 7 the parts are "x_time", "head 0", ... and "x_channel"; heads are as
    many as there are in a layer. Without heads it is an RWKV-4: "x_time", "average",
    the logarithm of the "weight" that was averaged, and "x_channel".
    """
    found = {}
    for layer, rows in enumerate(states.unbind(1)):
        if heads is None:
            x_time, num, den, log_scale, x_channel = rows.unbind(1)
            inside = {"average": num / den, "weight": den.log() + log_scale}
        else:
            x_time, x_channel = rows[:, 0], rows[:, -1]
            tables = rows[:, 1:-1].flatten(1).chunk(heads, dim=1)
            inside = {f"head {n}": table for n, table in enumerate(tables)}
        for part, x in {"x_time": x_time, **inside, "x_channel": x_channel}.items():
            found[layer, part] = x
    return found


class Probe(NamedTuple):
    """Scores of K classes: (x - mean) / deviation times weight (D,K), plus bias."""

    mean: torch.Tensor
    deviation: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, x):
        """(n,D) -> (n,K)"""
        return (x - self.mean) / self.deviation @ self.weight + self.bias


def fits(x, labels, strengths=STRENGTHS):
    """For each strength the Probe with the least squared error on one-hot labels.

    x (n,D), labels (n,) from 0 on. A strength is what keeps weights small, in ridge
    regression; it counts beside what a text has in common with itself, so that it means
    the same for any D. Solved in the n texts and not in the D numbers: O(n² D + n³).
    """
    mean, deviation = x.mean(0), x.std(0)
    deviation = torch.where(deviation < SMALLEST, 1.0, deviation)
    standard = (x - mean) / deviation
    targets = torch.eye(int(labels.max()) + 1, dtype=x.dtype)[labels]  # (n,K)
    bias, size = targets.mean(0), x.shape[1]
    alike = standard @ standard.T / size  # (n,n), about 1 on the diagonal
    found = []
    for strength in strengths:
        own = strength * torch.eye(len(x), dtype=x.dtype)
        shares = torch.linalg.solve(alike + own, targets - bias)
        found.append(Probe(mean, deviation, standard.T @ shares / size, bias))
    return found


def right(probe, x, labels):
    """1 for each text whose largest score is that of its label, else 0: (n,)"""
    return (probe(x).argmax(1) == labels).double()


def choose(x, labels, other_x, other_labels, strengths=STRENGTHS):
    """The Probe of the strength that is right most often on other texts."""
    probes = fits(x, labels, strengths)
    scores = [right(probe, other_x, other_labels).mean() for probe in probes]
    return probes[int(np.argmax(scores))]


def letters(texts, pairs=False):
    """How often each byte occurs in each text, as a root of its share: (n,256).

    With `pairs` also how often each pair of neighbours does, of those that occur at
    all: a bag of pairs. The root keeps the frequent from drowning the others.
    """
    counts = np.stack([np.bincount(list(text), minlength=256) for text in texts])
    if pairs:
        keys = [np.array(list(t[:-1])) * 256 + np.array(list(t[1:])) for t in texts]
        known, places = np.unique(np.concatenate(keys), return_inverse=True)
        rows = np.repeat(np.arange(len(texts)), [len(key) for key in keys])
        table = np.zeros((len(texts), len(known)))
        np.add.at(table, (rows, places), 1)
        counts = np.concatenate([counts, table], axis=1)
    lengths = np.array([len(text) for text in texts])[:, None]
    return torch.from_numpy(np.sqrt(counts / lengths)).float()


def pieces_of(works, length, count):
    """`count` pieces of `length` bytes, evenly spread over works, none overlapping.

    ValueError where there are not so many.
    """
    found = [
        text[start : start + length]
        for text in works.values()
        for start in range(0, len(text) - length + 1, length)
    ]
    if len(found) < count:
        raise ValueError(
            f"there are {len(found)} pieces of {length} bytes, not {count}: ask for "
            "fewer or shorter ones"
        )
    return [found[int(n)] for n in np.linspace(0, len(found) - 1, count)]
