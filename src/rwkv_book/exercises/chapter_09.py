"""Exercises of chapter 9: FLOPs, shares of a peak, budgets, and a layer less."""

import math
from functools import cache

import torch
from torch.nn.functional import cross_entropy

from rwkv_book import checkpoint, cost
from rwkv_book.exercises import exercise, number_of, wrong_unless
from rwkv_book.rwkv4.model import RWKV

PASSAGE = b"""KING. How now, my lord? What news is from the north?
LORD. My gracious liege, the enemy is fled,
And all his men are scattered in the wood.
KING. Then let the bells be rung, and wine be brought."""


def near(one, other, tolerance=0.005):
    return math.isclose(one, other, rel_tol=tolerance)


def not_one_of(mistakes, value):
    """Wrong with the sentence of the first mistake that gives this value."""
    for mistake, sentence in mistakes.items():
        wrong_unless(not near(value, mistake), sentence)


@exercise("09.1")
def flops_of_a_smaller_run(answer):
    value, products = number_of(answer), 4.304e8 * 330e9
    exact = 3 * cost.rwkv_forward_flops_per_token(cost.RWKV4["430M"]) * 330e9
    mistakes = {
        products: "That is one FLOP a parameter and token: there are six.",
        2 * products: "That is the forward pass alone: backward takes twice as much.",
        3 * products: "A weight takes a multiplication and an addition: two FLOPs.",
        4 * products: "That is the backward pass alone: forward comes on top.",
        6 * 4.304e8: "That is one token: multiply by the 330 billion.",
        6 * 4.304e8 * 300e9: "That is with 300 billion tokens: here there are 330.",
        exact: "That is the exact count. The rule of thumb takes all parameters.",
    }
    not_one_of(mistakes, value)
    right = near(value, 6 * products)
    wrong_unless(right, "Multiply 6, the parameters and the tokens.")
    return f"{value:.2e} FLOPs, a thirtieth of the article's run."


@exercise("09.2")
def share_of_a_peak(answer):
    value = number_of(answer)
    share = 6 * 7.2e9 * 270e3 / (32 * 989e12)
    mistakes = {
        32 * share: "The speed is that of all 32 machines: so is the peak.",
        share / 3: "Training takes six FLOPs a parameter and token, not two.",
        share * 989 / 1979: "1,979 TFLOP/s are for matrices that are half zeros.",
        share * 989 / 312: "312 TFLOP/s is an A100; these are H100s, with 989.",
        100 * share: "Right, but in percent: give a number between 0 and 1.",
    }
    not_one_of(mistakes, value)
    right = near(value, share, 0.02)
    wrong_unless(right, "6ND a second, over the peak of 32 accelerators.")
    return f"{share:.1%}: the claim holds."


@exercise("09.3")
def tokens_for_a_budget(tokens_for):
    wrong_unless(
        callable(tokens_for),
        "It should be a function of budget, parameters, price, peak and utilisation.",
    )
    arguments = {
        "budget": 1e5, "parameters": 3e9, "price": 2.3, "peak": 4e14, "utilisation": 0.4
    }  # fmt: skip
    found = number_of(tokens_for(*arguments.values()))
    right = 1e5 / 2.3 * 3600 * 4e14 * 0.4 / (6 * 3e9)
    mistakes = {
        right / 3600: "The price is for an hour, the peak for a second.",
        right / 0.4: "The utilisation is missing.",
        right / 0.4**2: "The utilisation makes it fewer tokens, not more.",
        right * 3: "With 2 FLOPs a parameter it is a forward pass: training takes 6.",
        right * 6: "A parameter takes six FLOPs a token.",
        right * 2.3: "The price is missing: the budget is not in hours.",
        right * 2.3**2: "Divide by the price: dearer hours are fewer hours.",
        right * 3e9: "Those are FLOPs, over six: divide by the parameters too.",
        right * 6 * 3e9: "Those are FLOPs: a token takes six a parameter.",
    }
    not_one_of(mistakes, found)
    matches = near(found, right, 1e-6)
    wrong_unless(
        matches, f"For {arguments} it should give {right:.3e}, not {found:.3e}."
    )
    doubled = number_of(tokens_for(2e5, 3e9, 2.3, 4e14, 0.4))
    wrong_unless(near(doubled, 2 * right), "Twice the budget should buy twice as much.")
    return f"$100,000 buy {right:.1e} tokens for 3 billion parameters there."


@cache
def losses_without():
    """The loss on PASSAGE of the shipped model without each of its blocks."""
    model = RWKV.load(checkpoint.shipped())
    tokens = torch.tensor(list(PASSAGE))[None]

    @torch.no_grad()
    def loss():
        logits, _ = model(tokens[:, :-1])
        return cross_entropy(logits[0], tokens[0, 1:]).item()

    without = []
    for block in model.blocks:
        kept = {name: tensor.clone() for name, tensor in block.state_dict().items()}
        block.load_state_dict({name: 0 * tensor for name, tensor in kept.items()})
        without.append(loss())
        block.load_state_dict(kept)
    return without


@exercise("09.4")
def the_layer_that_is_missed_most(answer):
    value = number_of(answer)
    losses = losses_without()
    worst = max(range(len(losses)), key=losses.__getitem__)
    least = min(range(len(losses)), key=losses.__getitem__)
    known = value in range(len(losses))
    wrong_unless(known, f"Blocks count from 0 to {len(losses) - 1}: which of them?")
    wrong_unless(
        value != least,
        "With the others in place it is the one that is missed least. Did you put each "
        "block back?",
    )
    wrong_unless(
        value == worst,
        "Is the block put back before the next one is removed? Is the target of a byte "
        "the one after it?",
    )
    return "Without it, the loss rises more than without any other."


@exercise("09.5")
def parameters_for_a_budget(answer):
    value, flops = number_of(answer), 2.52e22
    root = math.sqrt(flops / (6 * 20))
    mistakes = {
        20 * root: "That is the number of tokens: parameters are a twentieth of it.",
        flops / (6 * 20): "Tokens are 20 N, so the budget goes with N²: take the root.",
        math.sqrt(flops / 20): "A parameter and token take six FLOPs.",
        math.sqrt(flops / 6): "That is one token a parameter: there should be 20.",
        math.sqrt(flops / 40): "That is for 2 FLOPs, a forward pass: training takes 6.",
        flops / (6 * 300e9): "That keeps 300 billion tokens, which you may change too.",
    }
    not_one_of(mistakes, value)
    right = near(value, root, 0.02)
    wrong_unless(right, "Put D = 20 N into 6 N D, and solve for N.")
    return f"{root / 1e9:.1f} billion parameters, and 20 times as many tokens."
