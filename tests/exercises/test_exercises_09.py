"""What the checks of chapter 9 say about right answers and about the usual mistakes."""

from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_09

SENT = 4 * 63 / 64 * 169_342_464

ANSWERS = [
    *of(
        "09.1",
        (SENT, "Right. 667 MB"),
        (SENT / 1e6, "not in MB"),
        (SENT / 2, "a ring goes round twice"),
        (SENT * 2, "bfloat16 has 2 bytes"),
        (4 * 169_342_464, "does not send itself its own part"),
        (SENT * 64, "all GPUs send together"),
        (SENT / 64, "n - 1 times a round"),
        (2 * 169_342_464, "the size of the gradients"),
        (1e9, "two rounds, n - 1 parts each"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_09, ANSWERS)
