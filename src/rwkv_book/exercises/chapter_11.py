"""Exercises of chapter 11: FLOPs, shares of a peak, budgets, and a layer less."""

import math

from rwkv_book import cost
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    around,
    number,
    number_of,
    wrong_unless,
)

PRODUCTS = 4.304e8 * 330e9
SHARE = 6 * 7.2e9 * 270e3 / (32 * 989e12)
ROOT = math.sqrt(2.52e22 / (6 * 20))

pose(
    "11.1",
    NumberQuestion(
        right=6 * PRODUCTS,
        mistakes={
            PRODUCTS: "That is one FLOP a parameter and token: there are six.",
            2 * PRODUCTS: "That is the forward pass alone: backward takes twice as "
            "much.",
            3 * PRODUCTS: "A weight takes a multiplication and an addition: two FLOPs.",
            4 * PRODUCTS: "That is the backward pass alone: forward comes on top.",
            6 * 4.304e8: "That is one token: multiply by the 330 billion.",
            6 * 4.304e8 * 300e9: "That is with 300 billion tokens: here there are 330.",
            3 * cost.rwkv_forward_flops_per_token(cost.RWKV4["430M"]) * 330e9: "That "
            "is the exact count. The rule of thumb takes all parameters.",
        },
        hint="Multiply 6, the parameters and the tokens.",
        praise="{answer:.2e} FLOPs, a thirtieth of the article's run.",
        relative=0.005,
    ),
)
pose(
    "11.2",
    NumberQuestion(
        right=SHARE,
        mistakes={
            32 * SHARE: "The speed is that of all 32 machines: so is the peak.",
            SHARE / 3: "Training takes six FLOPs a parameter and token, not two.",
            SHARE * 989 / 1979: "1,979 TFLOP/s are for matrices that are half zeros.",
            SHARE * 989 / 312: "312 TFLOP/s is an A100; these are H100s, with 989.",
            100 * SHARE: "Right, but in percent: give a number between 0 and 1.",
        },
        hint="6ND a second, over the peak of 32 accelerators.",
        praise=f"{SHARE:.1%}: the claim holds.",
        relative=0.02,
    ),
)


@exercise("11.3")
def tokens_for_a_budget(tokens_for):
    wrong_unless(
        callable(tokens_for),
        "It should be a function of budget, parameters, price, peak and utilisation.",
    )
    arguments = {
        "budget": 1e5, "parameters": 3e9, "price": 2.3, "peak": 4e14, "utilisation": 0.4
    }  # fmt: skip
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
    found = number_of(tokens_for(*arguments.values()))
    hint = f"For {arguments} it should give {right:.3e}, not {found:.3e}."
    number(found, right, mistakes, hint, relative=1e-6)
    doubled = tokens_for(2e5, 3e9, 2.3, 4e14, 0.4)
    hint = "Twice the budget should buy twice as much."
    number(doubled, 2 * right, {}, hint, relative=1e-6)
    return f"$100,000 buy {right:.1e} tokens for 3 billion parameters there."


BACK_IN_PLACE = (
    "Is the block put back before the next one is removed? Is the target of a byte the "
    "one after it?"
)

pose(
    "11.4",
    NumberQuestion(
        right=0,  # nats per byte without each block: 2.10, 1.60, 1.47, 1.30
        mistakes={
            3: "With the others in place it is the one that is missed least. Did you "
            "put each block back?",
            1: BACK_IN_PLACE,
            2: BACK_IN_PLACE,
        },
        hint="Blocks count from 0 to 3: which of them?",
        praise="Without it, the loss rises more than without any other.",
    ),
)
pose(
    "11.5",
    NumberQuestion(
        right=ROOT,
        mistakes={
            20 * ROOT: "That is the number of tokens: parameters are a twentieth of "
            "it.",
            ROOT**2: "Tokens are 20 N, so the budget goes with N²: take the root.",
            math.sqrt(2.52e22 / 20): "A parameter and token take six FLOPs.",
            math.sqrt(2.52e22 / 6): "That is one token a parameter: there should be "
            "20.",
            math.sqrt(2.52e22 / 40): "That is for 2 FLOPs, a forward pass: training "
            "takes 6.",
            around(2.52e22 / (6 * 300e9), 0.005): "That keeps 300 billion tokens, "
            "which you may change too.",
        },
        hint="Put D = 20 N into 6 N D, and solve for N.",
        praise=f"{ROOT / 1e9:.1f} billion parameters, and 20 times as many tokens.",
        relative=0.02,
    ),
)
