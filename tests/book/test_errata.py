"""What the errata page says about other people's programs is still so.

Where one of these fails, somebody has repaired something: change the page.
"""

import math

import numpy as np
import torch
from transformers import RwkvConfig, RwkvModel


def test_the_bonus_of_transformers_still_starts_at_one():
    model = RwkvModel(RwkvConfig(vocab_size=11, hidden_size=12, num_hidden_layers=3))
    for block in model.blocks:
        bonus = block.attention.time_first
        zigzag = 0.5 * ((torch.arange(12) + 1) % 3 - 1)
        assert (bonus == 1).all()
        assert not torch.isclose(bonus, math.log(0.3) + zigzag).any()


def test_arrays_of_numpy_still_have_no_pow():
    assert not hasattr(np.ndarray, "pow") and hasattr(torch.Tensor, "pow")
