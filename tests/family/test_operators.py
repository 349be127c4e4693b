"""The operators of RWKV-5, 6 and 7 are what their hundred lines of NumPy compute."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from rwkv_book.family.equation import FORMS
from rwkv_book.rwkv5 import minimal as minimal5
from rwkv_book.rwkv5 import wkv as rwkv5
from rwkv_book.rwkv6 import wkv as rwkv6
from rwkv_book.rwkv7 import minimal as minimal7
from rwkv_book.rwkv7 import wkv as rwkv7

BATCH, TIME, HEADS, SIZE = 2, 21, 3, 4


pytestmark = pytest.mark.usefixtures("seed")


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def tokens():
    return random(BATCH, TIME, HEADS, SIZE)


def one_by_one(step, state):
    """What `step(batch, time, table)` gives, token by token, with tables (N, H*N)."""
    out = np.empty((BATCH, TIME, HEADS, SIZE))
    last = np.empty((BATCH, HEADS, SIZE, SIZE))
    for batch in range(BATCH):
        table = state[batch].numpy().reshape(SIZE, -1)
        for time in range(TIME):
            out[batch, time], table = step(batch, time, table)
        last[batch] = table.reshape(last[batch].shape)
    return torch.from_numpy(out), torch.from_numpy(last)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("version", ["5", "6"])
def test_rwkv_5_and_6_ask_before_they_write_and_hear_the_token_with_a_bonus(
    version, form
):
    shape = (HEADS, SIZE) if version == "5" else (BATCH, TIME, HEADS, SIZE)
    log_rate, bonus, state = random(*shape), random(HEADS, SIZE), random(2, 3, 4, 4)
    receptance, key, value = tokens(), tokens(), tokens()
    operator = rwkv5.wkv if version == "5" else rwkv6.wkv
    found = operator(log_rate, bonus, receptance, key, value, state, form)
    rates = log_rate.expand(BATCH, TIME, HEADS, SIZE)

    def step(batch, time, table):
        asked = [x[batch, time].flatten().numpy() for x in (receptance, key, value)]
        decay = np.exp(-np.exp(rates[batch, time].numpy()))
        return minimal5.ask_and_write(decay, bonus.numpy(), *asked, table)

    for one, other in zip(found, one_by_one(step, state), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["attention", "recurrent", "chunked"])
def test_rwkv_7_takes_out_before_it_writes_and_asks_after(name):
    logit, receptance, key, value = tokens(), tokens(), tokens(), tokens()
    removed, rate = normalize(tokens(), dim=-1), tokens().sigmoid()
    state = random(BATCH, HEADS, SIZE, SIZE)
    found = rwkv7.wkv(logit, receptance, key, value, removed, rate, state, FORMS[name])

    def step(batch, time, table):
        at = [x[batch, time].numpy() for x in (logit, key, value, removed, rate)]
        decay = np.exp(-np.exp(-0.5) / (1 + np.exp(-at[0])))
        old = table.reshape(HEADS, SIZE, SIZE)
        new = minimal7.correct(old, decay, *at[1:])
        asked = receptance[batch, time].numpy()
        return (new @ asked[..., None])[..., 0], new.reshape(table.shape)

    for one, other in zip(found, one_by_one(step, state), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_two_steps_of_rwkv_7_can_grow_what_one_cannot():
    """Nothing fades; what is removed is at 66 degrees, and then at 24."""
    shape = (1, 2, 1, 2)
    angles = torch.tensor([66.0, 24.0], dtype=torch.float64).deg2rad()
    removed = torch.stack([angles.cos(), angles.sin()], dim=-1)
    rate = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    nothing = torch.zeros(shape, dtype=torch.float64)
    tokens = [nothing - 50, nothing, nothing, nothing]
    tokens += [removed.view(shape), rate.view(shape)]
    table = torch.eye(2, dtype=torch.float64).view(1, 1, 2, 2)

    def growth(count):
        """The largest factor by which so many steps multiply any table."""
        _, state = rwkv7.wkv(*(x[:, :count] for x in tokens), table)
        return abs(torch.linalg.eigvals(state[0, 0])).max().item()

    assert growth(1) == pytest.approx(1, abs=1e-9)
    assert growth(2) == pytest.approx(1.25, abs=0.005)


def test_one_step_of_rwkv_7_has_real_eigenvalues_above_its_bound():
    """10,000 steps drawn at random in heads of 4: the bound is exp(-exp(-1/2)) - 1."""
    count, size = 10_000, 4
    logit, rate = (
        4 * random(count, 1, 1, size),
        (4 * random(count, 1, 1, size)).sigmoid(),
    )
    removed = normalize(random(count, 1, 1, size), dim=-1)
    nothing = torch.zeros(count, 1, 1, size, dtype=torch.float64)
    table = torch.eye(size, dtype=torch.float64).expand(count, 1, size, size)
    _, steps = rwkv7.wkv(logit, nothing, nothing, nothing, removed, rate, table)
    found = torch.linalg.eigvals(steps[:, 0])
    bound = np.exp(-np.exp(-0.5)) - 1
    assert round(bound, 4) == -0.4548
    assert found.imag.abs().max() < 1e-6
    assert bound < found.real.min() < -0.3 and found.real.max() < 1
