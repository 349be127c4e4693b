"""Exercises of chapter 11: FLOPs, shares of a peak, budgets, and a layer less."""

import math

from rwkv_book import cost
from rwkv_book.exercises import exercise, pose
from rwkv_book.exercises.answers import (
    NumberQuestion,
    Wrong,
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
            6000 * PRODUCTS: "A billion is a thousand millions here, 10 to the 9.",
            8 * PRODUCTS: "That is with recomputation: the rule of thumb takes six.",
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
            SHARE * 8 / 6: "That counts recomputation too: a share from 6ND doesn't.",
            SHARE / 1000: "The speed is 270 thousand tokens a second.",
            1 / SHARE: "Turn it round: what was done, over what could have been.",
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
        right / 60: "An hour has 3,600 seconds, and not 60.",
        1e5 / 2.3: "Those are the hours: how many tokens are read in them?",
        right / 0.4: "The utilisation is missing.",
        right / 0.4**2: "The utilisation makes it fewer tokens, not more.",
        right * 3: "With 2 FLOPs a parameter it is a forward pass: training takes 6.",
        right * 6: "A parameter takes six FLOPs a token.",
        right * 2.3: "The price is missing: the budget is not in hours.",
        right * 2.3**2: "Divide by the price: dearer hours are fewer hours.",
        right * 3e9: "Those are FLOPs, over six: divide by the parameters too.",
        right * 6 * 3e9: "Those are FLOPs: a token takes six a parameter.",
    }
    answer = tokens_for(*arguments.values())
    wrong_unless(
        answer is not None, "The function returns nothing: return the number of tokens."
    )
    found = number_of(answer)
    hint = f"For {arguments} it should give {right:.3e}, not {found:.3e}."
    number(found, right, mistakes, hint, relative=1e-6)
    doubled = tokens_for(2e5, 3e9, 2.3, 4e14, 0.4)
    hint = "Twice the budget should buy twice as much."
    number(doubled, 2 * right, {}, hint, relative=1e-6)
    return f"$100,000 buy {right:.1e} tokens for 3 billion parameters there."


WITHOUT = (2.10, 1.60, 1.47, 1.30)  # nats per byte without each block of the model
BYTES = 193  # that are predicted
WHOLE = 1.14  # and with all of them
EARLIER_GONE = (2.10, 3.22, 3.15, 3.50)  # each block stays away when it was removed
LATER_GONE = (3.50, 2.39, 1.82, 1.30)  # the same, begun at the last one
TIME_ALONE = (1.50, 1.28, 1.27, 1.18)
CHANNEL_ALONE = (1.51, 1.43, 1.37, 1.34)
SAME_BYTE = (8.11, 8.54, 8.60, 7.64)


@exercise("11.4")
def losses_without(answer):
    """The loss without each block in turn, all others in place."""
    losses = four_numbers(answer)
    mistakes = {
        EARLIER_GONE: "The first block is right. Put each block back before you remove "
        "the next one.",
        LATER_GONE: "The last block is right. Put each block back before you remove "
        "the next one.",
        (EARLIER_GONE[-1],) * 4: "All blocks are away in each of them: remove one.",
        (WHOLE,) * 4: "Nothing is removed in any of them: that is the whole model's "
        "loss.",
        tuple(loss - WHOLE for loss in WITHOUT): "That is by how much the loss rises: "
        "give the loss itself.",
        tuple(loss / math.log(2) for loss in WITHOUT): "Those are bits: give nats.",
        tuple(map(math.exp, WITHOUT)): "Those are perplexities: give the loss, which "
        "is the logarithm.",
        tuple(BYTES * loss for loss in WITHOUT): "Those are sums over the text: divide "
        "by the bytes that are predicted.",
        WITHOUT[::-1]: "Turn it round: block 0 first.",
        TIME_ALONE: "Only time mixing is removed: take the parameters of channel "
        "mixing too.",
        CHANNEL_ALONE: "Only channel mixing is removed: take the parameters of time "
        "mixing too.",
        SAME_BYTE: "Those are the bytes that were read, not the ones that come next: "
        "the target of a byte is the one after it.",
    }
    if not near(losses, WITHOUT):
        for mistake, sentence in mistakes.items():
            wrong_unless(not near(losses, mistake), sentence)
        wrong = [not near([a], [b]) for a, b in zip(losses, WITHOUT, strict=True)]
        raise Wrong(
            f"Block {wrong.index(True)} is the first that is wrong: "
            f"{losses[wrong.index(True)]:.2f}. Are all others in place?"
        )
    return (
        f"Without block 0 it is {WITHOUT[0]:.1f} nats, without the last "
        f"{WITHOUT[-1]:.1f}, and {WHOLE:.1f} with all four."
    )


def four_numbers(answer):
    """The answer as four floats; Wrong with a sentence where it isn't."""
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, dict):
        answer = list(answer.values())
    wrong_unless(
        isinstance(answer, list | tuple),
        "It should be a list of four losses, one without each block.",
    )
    wrong_unless(
        len(answer) == 4,
        f"There are four blocks, so four losses, and not {len(answer)}.",
    )
    return [number_of(loss) for loss in answer]


def near(found, wanted):
    """Equal but for rounding, and for a byte that is read before the text or not."""
    pairs = zip(found, wanted, strict=True)
    return all(abs(a - b) < max(0.02, 0.015 * abs(b)) for a, b in pairs)


pose(
    "11.5",
    NumberQuestion(
        right=ROOT,
        mistakes={
            ROOT / 1e9: "That many billions: write all of it, as 1.5e10 or the like.",
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
