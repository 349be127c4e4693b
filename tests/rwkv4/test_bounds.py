"""What is said to be the least is counted in the text of the kernels."""

from rwkv_book.rwkv4 import bounds
from rwkv_book.rwkv4.kernels import SOURCE


def test_the_flops_of_a_merge_are_those_of_its_text():
    code = SOURCE.part("merge").partition("{")[2]
    operators = sum(code.count(f" {sign} ") for sign in "+-*/")
    constant, exponentials = code.count("real{} + 1"), code.count("exponential(")
    assert operators - constant + exponentials == 11
    loop = SOURCE.part("forward").partition("if (i < rows)")[2].partition("}")[0]
    assert loop.count("merge(") == 2 and loop.count("decay(") == 1
    assert loop.count(" + k[i]") == 1 and loop.count("over(") == 1
    assert bounds.FORWARD_FLOPS == 2 * 11 + 1 + 1 + 1


def test_to_sum_a_chunk_takes_12_flops_a_key_and_its_replay_25():
    loop = SOURCE.part("sum_chunks").partition("UNROLL")[2]
    assert loop.count("merge(") == 1 and loop.count("decay(") == 1
    assert 11 + 1 == 12 < bounds.FORWARD_FLOPS == 25
