"""What an RWKV-7 takes out of its tables, and the slips, on random weights."""

import numpy as np
import pytest
import torch
from helpers.later import random_later

from rwkv_book import checkpoint
from rwkv_book.labs import correcting
from rwkv_book.rwkv7 import minimal

TEXT = "the cup is red"


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pth"
    torch.save(random_later("7", vocabulary=256), path)
    return checkpoint.load(path)


@pytest.fixture(scope="module")
def seen(params):
    return correcting.watch(TEXT, params)


def test_what_is_left_of_all_letters_is_the_table(seen):
    for layer, head in np.ndindex(2, 2):
        left, taken = correcting.remains(seen, layer, head)
        value, table = (seen[part][:, layer, head] for part in ("value", "table"))
        for t in range(len(TEXT)):
            np.testing.assert_allclose(value.T @ left[t], table[t + 1], atol=1e-4)
            out = value.T @ taken[t]
            found = table[t] @ seen["removed"][t, layer, head]
            removed, rate = (seen[part][t, layer, head] for part in ("removed", "rate"))
            np.testing.assert_allclose(out, np.outer(found, removed * rate), atol=1e-4)
        left_size, taken_size = correcting.sizes(seen, layer, head)
        assert left_size[5, 3] == pytest.approx(
            np.linalg.norm(np.outer(value[3], left[5, 3])), rel=1e-4
        )
        assert not np.triu(taken_size).any()  # nobody takes out its own
        assert not np.triu(left_size, 1).any()


def test_a_reach_is_a_mean_of_distances_by_hand():
    taken = np.array([[0, 0, 0], [3, 0, 0], [1, 0, 0]])
    assert correcting.reach(taken) == pytest.approx((3 * 1 + 1 * 2) / 4)


def test_growth_is_that_of_the_product_in_the_order_of_the_text():
    """The pair that makes 5/4, and the same pair in a row with a harmless third."""
    keys = np.sqrt([[1 / 6, 5 / 6], [5 / 6, 1 / 6], [1, 0]])[:, None, None]
    rates = np.array([[1, 0], [0, 1], [0, 0]], float)[:, None, None]
    seen = {"decay": np.ones_like(keys), "removed": keys, "rate": rates}
    assert correcting.growth(seen, 1).ravel() == pytest.approx([1, 1, 1])
    assert correcting.growth(seen, 2).ravel() == pytest.approx([1.25, 1])
    assert correcting.growth(seen, 3).shape == (1, 1, 1)
    seen["decay"] = 0.9 * seen["decay"]
    seen["rate"] = 0 * rates
    assert correcting.growth(seen, 3).ravel() == pytest.approx([0.9**3])


def test_the_loss_is_the_mean_of_minus_log_p(params):
    logits, state = minimal.step(0, minimal.initial_state(params), params)
    wanted = []
    for token in TEXT.encode():
        wanted.append(-torch.tensor(logits).log_softmax(0)[token].item())
        logits, state = minimal.step(token, state, params)
    assert correcting.loss(TEXT, params) == pytest.approx(np.mean(wanted), abs=1e-5)


def test_each_slip_moves_the_logits_but_one_and_leaves_nothing_behind(params):
    right = correcting.loss(TEXT, params)
    losses = correcting.slip_losses(TEXT, params)
    same = losses.pop("removal scale doubled")
    assert same == pytest.approx(right, abs=1e-6)
    assert set(losses) < set(correcting.SLIPS)
    for name, loss in losses.items():
        assert not abs(loss - right) < 1e-6, name  # NaN is a difference too
    assert correcting.loss(TEXT, params) == right
    assert not abs(correcting.stirred_loss(TEXT, params) - right) < 1e-6


def test_slips_of_correct_are_what_their_names_say(seen):
    table, decay, key, value, removed, rate = (
        seen[part][5, 1] for part in correcting.PARTS
    )
    new = value[:, :, None] * key[:, None, :]
    faded = table * decay[:, None, :]
    late = faded - (faded @ removed[..., None]) * (removed * rate)[:, None, :] + new
    arguments = table, decay, key, value, removed, rate
    np.testing.assert_allclose(
        correcting.looks_up_late(*arguments), late, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        correcting.takes_nothing_out(*arguments), faded + new, atol=1e-4
    )
    gone = (table @ removed[..., None]) * removed[:, None, :]
    np.testing.assert_allclose(
        correcting.takes_all_out(*arguments), faded - gone + new, rtol=1e-4, atol=1e-4
    )
