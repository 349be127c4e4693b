"""Exercises of chapter 9, more than one machine."""

from rwkv_book import cost
from rwkv_book.exercises import pose
from rwkv_book.exercises.answers import NumberQuestion

GPUS = 64
PARAMETERS = cost.rwkv_parameters(cost.RWKV4["169M"])
SENT = 2 * (GPUS - 1) / GPUS * 2 * PARAMETERS  # by one GPU, in bfloat16, in a ring

pose(
    "09.1",
    NumberQuestion(
        right=SENT,
        mistakes={
            SENT / 2: "That is half: a ring goes round twice, first to add up the "
            "parts, then to tell everybody the sums. Or did you count one byte a "
            "number?",
            SENT * 2: "That is twice as much: bfloat16 has 2 bytes a number, not 4.",
            4 * PARAMETERS: "Nearly: a GPU does not send itself its own part. Of n "
            "parts n - 1 travel.",
            SENT * GPUS: "That is what all GPUs send together.",
            SENT / GPUS: "Every GPU sends a part of 1/n, but n - 1 times a round.",
            SENT / 1e6: "In bytes, not in MB.",
            2 * PARAMETERS: "That is the size of the gradients: what travels is each "
            "part, n - 1 times in each of two rounds.",
        },
        hint="{answer:,.0f} it is not. In bytes: two rounds, n - 1 parts each, of 1/n "
        "of the gradients.",
        praise=f"{SENT / 1e6:.0f} MB a step, however many tokens the step has read. "
        "With 1,000 GPUs it would hardly be more.",
        relative=5e-3,
    ),
)
