"""What the chapters say in passing, where no cell computes it: each number once more.

A sentence is quoted with the gaps that a computation fills, so that neither can change
without the other.
"""

import math

import numpy as np
import pytest
import torch

from rwkv_book import checkpoint, cost, training
from rwkv_book.rwkv4 import minimal
from rwkv_book.training import ablations
from tools.contents import chapters
from tools.notebooks.plain_markdown import cells


def told(number, sentence):
    """Whether a chapter has this sentence, however its lines are broken."""
    (path,) = (path for path in chapters() if path.stem.startswith(f"{number:02}"))
    text = " ".join(cell.source for cell in cells(path) if cell.cell_type != "code")
    return " ".join(sentence.split()) in " ".join(text.split())


@pytest.fixture(scope="module")
def shipped():
    return checkpoint.load(checkpoint.shipped())


def test_the_share_of_gpt3_that_compares_tokens():
    shape = cost.Shape(vocabulary=50257, layers=96, width=12288, hidden=4 * 12288)
    rest = 2 * cost.gpt_matrix_parameters(shape)
    last, mean = (
        1 - rest / cost.gpt_forward_flops_per_token(shape, t) for t in (2048, 1024.5)
    )
    assert told(3, f"One number to remember: {100 * mean:.1f} %.")
    assert told(3, f"at most {100 * mean:.1f} % of its arithmetic ({100 * last:.1f} %")


def test_what_a_high_temperature_draws(shipped):
    state = minimal.initial_state(shipped)
    for token in b"\0DUKE.\nMy lord, the ":
        logits, state = minimal.step(token, state, shipped)
    shown = np.argsort(-logits, kind="stable")[:8]

    def drawn(temperature):
        weights = np.exp((logits - logits.max()) / temperature)
        return weights / weights.sum()

    hidden = 1 - drawn(2)[shown].sum()
    assert told(5, f"At temperature 2, about {round(hidden, 1):.0%}".replace("%", " %"))
    first_notch = np.searchsorted(np.sort(drawn(1))[::-1].cumsum(), 0.95) + 1
    assert told(5, "it cuts the 256 bytes to a few dozen")
    assert 12 <= first_notch <= 48


def test_the_numbers_of_a_nameless_matrix_tell_a_part_of_its_name(shipped):
    layers = {name.split(".")[1] for name in shipped if name.startswith("blocks.")}
    largest = {"receptance": [], "others": []}
    for layer in layers:
        names = ("key", "value", "receptance", "output")
        matrices = {
            name: shipped[f"blocks.{layer}.time_mix.{name}.weight"].astype(float)
            for name in names
        }
        for name, matrix in matrices.items():
            kind = "receptance" if name == "receptance" else "others"
            largest[kind].append(np.linalg.norm(matrix, 2))
        rows = {n: np.linalg.norm(m, axis=1).std() for n, m in matrices.items()}
        assert max(rows, key=rows.get) == "key"
        norms = {n: np.linalg.norm(m) for n, m in matrices.items()}
        assert min(norms, key=norms.get) == "output"
    low, high, least, most = (
        f"{f(largest[kind]):.0f}" for kind in largest for f in (min, max)
    )
    assert told(5, f"singular value ({low} to {high}, the others {least} to {most})")


def test_channel_mixing_that_begins_with_a_key_of_zeros_never_learns():
    assert told(7, "after six steps `key` is still exactly zero")
    run = ablations.SMALL
    network = ablations.first_model(run)
    for name, parameter in network.named_parameters():
        if "channel_mix.key" in name:
            torch.nn.init.zeros_(parameter)
        elif "channel_mix.value" in name:
            torch.nn.init.normal_(parameter)
    optimizer = training.make_optimizer(network, run)
    data = np.random.default_rng(0).integers(256, size=10_000, dtype=np.uint8)
    for step in range(6):
        batch = training.windows(data, run, step)
        training.training_step(network, optimizer, *batch, run, step)
    for name, parameter in network.named_parameters():
        if "channel_mix.key" in name:
            assert not parameter.any()


def test_a_state_that_is_run_backwards_loses_its_decimals():
    """Forward in float32 with w = 1, then back: take the token out, undo the fade."""
    torch.manual_seed(0)
    key, value = torch.randn(2, 16, 1000)
    written = key.exp() * value
    states = [torch.zeros(1000)]
    for token in written:
        states.append(math.exp(-1) * states[-1] + token)
    typical = states[-1].std()
    state, errors = states[-1], []
    for token, before in zip(written.flip(0), states[-2::-1], strict=True):
        state = (state - token) * math.e
        errors.append(((state - before).std() / typical).item())
    lost = round(math.log10(errors[7] / errors[0]))
    told_so = f"8 steps back cost {[0, 'one', 'two', 'three', 'four'][lost]} decimals"
    assert told(10, f"{told_so}, and 16 leave an error of a quarter")
    assert round(4 * errors[15]) == 1


def test_more_steps_of_rwkv_7_grow_more_and_two_can_turn():
    """Three steps in three channels, each of which takes out in one of them."""
    keys = np.array(
        [[-0.569, 0.501, 0.652], [-0.501, 0.652, -0.569], [-0.652, -0.569, -0.501]]
    )
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    rates = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    steps = [np.eye(3) - np.outer(k, k * a) for k, a in zip(keys, rates, strict=True)]
    growth = abs(np.linalg.eigvals(np.linalg.multi_dot(steps))).max()
    assert told(13, f"three in three channels reach {growth:.2f}")
    random = np.random.default_rng(0)
    turning = 0.0
    for _ in range(2000):
        product = np.eye(2)
        for _ in range(2):
            key = random.normal(size=2)
            key /= np.linalg.norm(key)
            rate = random.uniform(size=2) ** random.choice([0.1, 10])
            product = product @ (np.eye(2) - np.outer(key, key * rate))
        turning = max(turning, abs(np.linalg.eigvals(product).imag).max())
    assert turning > 0.1
    assert told(13, "already a product of two can have complex eigenvalues")
