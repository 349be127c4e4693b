"""What the checks of chapter 8 say about right answers and about the usual mistakes."""

from helpers.exercises import all_heard, of, told

from rwkv_book.exercises import chapter_08

ANSWERS = [
    *of(
        "08.1",
        (0.016, "Right. Lower by 0.05 or more."),
        (0, "above 0"),
        (2.0, "more than 1 a step"),
        (1e-4, "higher than with 0.004"),
    ),
]

test_an_answer_is_told_its_sentence = told(ANSWERS)
test_no_sentence_goes_without_an_answer = all_heard(chapter_08, ANSWERS)
