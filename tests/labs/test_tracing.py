"""A token is followed through the layers: what is found is what `minimal` computes."""

from itertools import pairwise

import numpy as np

from rwkv_book import checkpoint
from rwkv_book.labs import tracing
from rwkv_book.rwkv4 import minimal

PARAMS = checkpoint.load(checkpoint.shipped())


def read(text):
    state = minimal.initial_state(PARAMS)
    for token in text:
        _, state = minimal.step(token, state, PARAMS)
    return state


def test_listening_changes_nothing():
    state = read(b"The k")
    before = minimal.project
    logits, layers = tracing.through(ord("i"), state, PARAMS)
    wanted, new_state = minimal.step(ord("i"), state, PARAMS)
    np.testing.assert_array_equal(logits, wanted)
    assert minimal.project is before
    for found, rows in zip(layers, new_state, strict=True):
        np.testing.assert_array_equal(found["norm_time"], rows[0])
        np.testing.assert_array_equal(found["norm_channel"], rows[4])


def test_the_boxes_add_up_to_the_logits():
    logits, layers = tracing.through(ord("i"), read(b"The k"), PARAMS)
    for found, following in pairwise(layers):
        np.testing.assert_array_equal(found["after_channel"], following["stream"])
    for n, found in enumerate(layers):
        name = f"blocks.{n}.time_mix.output.weight"
        change = PARAMS[name] @ found["gated"]
        np.testing.assert_allclose(
            found["after_time"] - found["stream"], change, atol=1e-4
        )
        name = f"blocks.{n}.channel_mix.value.weight"
        change = found["channel_receptance"] * (PARAMS[name] @ found["hidden"])
        np.testing.assert_allclose(found["out"], change, atol=1e-5)
        low = np.minimum(found["past"], found["value"])
        high = np.maximum(found["past"], found["value"])
        assert (low - 1e-5 <= found["average"]).all()
        assert (found["average"] <= high + 1e-5).all()
    last = minimal.layer_norm(layers[-1]["after_channel"], "norm_out", PARAMS)
    np.testing.assert_array_equal(PARAMS["head.weight"] @ last, logits)
