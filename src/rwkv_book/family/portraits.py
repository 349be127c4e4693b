"""What can be found out about a member of the family by trying it on random tokens.

What a member takes is written down once, in `MEMBERS`; everything else is measured. A
member is handed tables and values of zero, and what it makes of the tables is the
matrix by which a token multiplies whatever was there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from rwkv_book.family import members

FASTEST = math.exp(-0.5)  # RWKV-7 leaves at least exp(-this) of a key
NOTHING = 1e-9
DRAWS, HEADS = 10, 8  # of parameters that stay, and heads that have some each

# Numbers of all sizes that are allowed, from normally distributed x.
KINDS = {
    "any": lambda x: x,
    "positive": torch.exp,
    "unit": lambda x: normalize(x, dim=-1),
    "fading": lambda x: (
        -torch.exp(2 * x).clamp(max=20)
    ),  # the logarithm of what is left
    "slowly fading": lambda x: -FASTEST * (6 * x).sigmoid(),
    "making room": lambda x: -torch.exp(2 * x).clamp(max=20),
    "step": torch.exp,
    "gate": lambda x: x,
    "rate": lambda x: (6 * x).sigmoid(),
    "double rate": lambda x: 2 * (6 * x).sigmoid(),
}
OUT = "rate", "double rate"  # at these something is taken out
IN = *OUT, "step", "gate", "making room"  # and by these something comes


@dataclass(frozen=True)
class Member:
    """A member of the family: its function, and what a token hands to it.

    `takes` says for each argument which kind of numbers it has, and on which axes: B
    texts, T tokens, H heads, N key channels, M value channels, n writes of all tokens.
    `writes` is how many a token has; `key_share` names an argument that is a share of
    the key.
    """

    name: str
    year: int
    function: Callable
    takes: dict[str, str]
    writes: int = 1
    key_share: str = ""

    def __call__(self, tokens, **how):
        """Answers, and the table after these tokens."""
        return self.function(**tokens, **how)

    def tokens(self, generator, texts=1, length=1, heads=1, size=6):
        """Random arguments in double precision, {name: tensor}."""
        sizes = {"B": texts, "T": length, "H": heads, "N": size, "M": size}
        sizes |= {"n": length * self.writes, "1": 1}
        found = {}
        for name, what in self.takes.items():
            kind, _, axes = what.rpartition(" ")
            shape = [sizes[axis] for axis in axes]
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            found[name] = KINDS[kind](x)
        if self.key_share:
            found[self.key_share] = found["key"] * found[self.key_share]
        return found

    def axes(self, kinds):
        """The axes of all arguments that are of these kinds."""
        said = (what.rpartition(" ") for what in self.takes.values())
        return [axes for kind, _, axes in said if kind in kinds]

    def numbers(self, heads=3, size=64):
        """How many numbers a state has for each channel of its values."""
        tokens = self.tokens(torch.Generator(), heads=heads, size=size)
        out, state = self(tokens)
        return state.numel() / out.numel()


def multiplied(member, tokens):
    """By what all tokens of a text together multiply a table: (B,H,N,N).

    Row n is what becomes of a table's row that has a one in column n.
    """
    unit = member(tokens)[1]
    size = unit.shape[-1]
    tokens = dict(tokens, value=torch.zeros_like(tokens["value"]))
    rows = []
    for column in range(size):
        state = torch.zeros_like(unit)
        state[:, :, 0, column] = 1
        rows.append(member(tokens, state=state)[1][:, :, 0])
    return torch.stack(rows, dim=2)


def steps(member, count=4000, length=1, size=4, seed=0):
    """`multiplied` for random texts, heads and parameters: about (count,N,N)."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(DRAWS):
        texts = -(-count // (DRAWS * HEADS))
        tokens = member.tokens(generator, texts, length, HEADS, size)
        found.append(multiplied(member, tokens).flatten(0, 1))
    return torch.cat(found)


def decay(member):
    """How a table fades: not at all, constantly or as each token says; by what."""
    generator = torch.Generator().manual_seed(0)
    tokens = member.tokens(generator, texts=20)
    for name, what in member.takes.items():
        if what.startswith(OUT) and name != "write":
            tokens[name] = torch.zeros_like(tokens[name])  # nothing is taken out
    left = multiplied(member, tokens)[:, 0].diagonal(dim1=-2, dim2=-1)
    if (left - 1).abs().max() < NOTHING:
        return "none"
    same = (left - left[:1]).abs().max() < NOTHING
    flat = (left - left[:, :1]).abs().max() < NOTHING
    return f"{'constant' if same else 'by token'}, {'one' if flat else 'each key'}"


def removal(member):
    """In how many directions a token takes something out of a table, beyond fading."""
    found = steps(member, 80, size=6)
    rest = found - torch.diag_embed(found.diagonal(dim1=-2, dim2=-1))
    if rest.abs().max() < NOTHING:
        return "nothing"
    return "one direction" if member.writes == 1 else f"{member.writes} directions"


def rate(member):
    """What says how much comes, and goes: nothing, one number a head, one a key."""
    axes = [each for each in member.axes(IN) if "M" not in each and "1" not in each]
    if not axes:
        return "none"
    return "each key" if all("N" in each for each in axes) else "one"


def eigenvalues(member, count=4000, length=1, size=4):
    """All eigenvalues of many steps, complex: (count, N)."""
    return torch.linalg.eigvals(steps(member, count, length, size))


def growth(member, length, count=20_000, seed=0):
    """The most by which `length` steps in a row, in two channels, multiply any table
    for ever, if nothing fades: the largest spectral radius of random products."""
    generator = torch.Generator().manual_seed(seed)
    tokens = member.tokens(generator, count, length, size=2)
    tokens["log_decay"] = torch.zeros_like(tokens["log_decay"])
    steps = multiplied(member, tokens)
    return torch.linalg.eigvals(steps).abs().max().item()


def described(values):
    """Where eigenvalues lie, as a text: an interval, and how far off the real line."""
    low, high, off = values.real.min(), values.real.max(), values.imag.abs().max()
    low = round(low.item(), 2) + 0.0  # no minus before a zero
    text = f"{low:.2f} to {high:.2f}"
    return text if off < 1e-6 else f"{text}, ± {off:.2f}i"


def row(member):
    """The member's line in a table of all: texts."""
    return [
        member.name,
        str(member.year),
        decay(member),
        removal(member),
        rate(member),
        "before" if "bonus" in member.takes else "after",
        described(eigenvalues(member)),
        f"{member.numbers():g}",
    ]


HEADER = [
    "member",
    "year",
    "decay",
    "takes out",
    "rate",
    "asked",
    "eigenvalues",
    "numbers a channel",
]

ASKED = {"receptance": "any BTHN", "key": "any BTHN", "value": "any BTHM"}
POSITIVE = ASKED | {"receptance": "positive BTHN", "key": "positive BTHN"}
NO_KEY = {"receptance": "any BTHN", "value": "any BTHM"}
UNIT = ASKED | {"key": "unit BTHN"}
SHARED = {"receptance": "any BTN", "key": "any BTN", "value": "any BTH"}
BY_CHANNEL = {"key": "any BTH", "value": "any BTH"}
A_STEP = {"step": "step BTH"}
GATES = {"input_gate": "gate BTH", "forget_gate": "any BTH"}
FADES = {"log_decay": "fading BTHN"}
FADES_AT_ONCE = {"log_decay": "fading BTH"}
GATED = UNIT | FADES_AT_ONCE
RATE = {"rate": "rate BTH"}
WRITES = {"key": "unit BnHN", "value": "any BnHM", "rate": "double rate BnH"}

MEMBERS = [
    Member("linear attention", 2020, members.linear_attention, POSITIVE),
    Member("DeltaNet", 2021, members.delta_net, UNIT | RATE),
    Member(
        "RWKV-4",
        2023,
        members.rwkv_4,
        BY_CHANNEL | {"log_decay": "fading H", "bonus": "any H"},
    ),
    Member("RetNet", 2023, members.retnet, ASKED),
    Member("Mamba", 2023, members.mamba, SHARED | A_STEP | {"log_rate": "any HN"}),
    Member("GLA", 2023, members.gla, ASKED | FADES),
    Member("HGRN2", 2024, members.hgrn_2, NO_KEY | {"log_decay": "making room BTHN"}),
    Member(
        "RWKV-5",
        2024,
        members.rwkv_5,
        ASKED | {"log_decay": "fading HN", "bonus": "any HN"},
    ),
    Member("RWKV-6", 2024, members.rwkv_6, ASKED | FADES | {"bonus": "any HN"}),
    Member("mLSTM", 2024, members.mlstm, ASKED | GATES),
    Member("Mamba-2", 2024, members.mamba_2, ASKED | A_STEP | {"log_rate": "any H"}),
    Member("Gated DeltaNet", 2024, members.gated_delta_net, GATED | RATE),
    Member("Lightning", 2025, members.lightning, ASKED),
    Member(
        "DeltaProduct",
        2025,
        members.delta_product,
        ASKED | WRITES | FADES_AT_ONCE,
        writes=2,
    ),
    Member(
        "RWKV-7",
        2025,
        members.rwkv_7,
        ASKED
        | {"log_decay": "slowly fading BTHN"}
        | {"removed": "unit BTHN", "rate": "rate BTHN"},
    ),
    Member(
        "Comba",
        2025,
        members.comba,
        GATED | RATE | {"removed": "rate H1"},
        key_share="removed",
    ),
    Member("Kimi Delta", 2025, members.kimi_delta_attention, UNIT | FADES | RATE),
    Member(
        "Gated DeltaNet-2",
        2026,
        members.gated_delta_net_2,
        UNIT | FADES | {"erase": "rate BTHN", "write": "rate BTHM"},
    ),
]
