"""What the chapter's table says of each member, measured, is what its paper says."""

from dataclasses import replace

import pytest
import torch

from rwkv_book.family import portraits
from rwkv_book.family.members import gated_delta_net, rwkv_7
from rwkv_book.rwkv7.wkv import FASTEST

KNOWN = {member.name: member for member in portraits.MEMBERS}


def test_eighteen_members_and_no_name_twice():
    assert len(portraits.MEMBERS) == len(KNOWN) == 18


def test_the_three_questions_have_few_answers():
    """As chapter 16 says: five to the first, three to the others."""
    for question, answers in (
        (portraits.decay, 5),
        (portraits.removal, 3),
        (portraits.rate, 3),
    ):
        assert len({question(member) for member in portraits.MEMBERS}) == answers


def test_rwkv_7_fades_as_its_operator_says():
    assert portraits.FASTEST == FASTEST


@pytest.mark.parametrize(
    ("name", "decay", "removal", "rate", "asked"),
    [
        ("linear attention", "none", "nothing", "none", "after"),
        ("RWKV-4", "constant, one", "nothing", "none", "before"),
        ("RetNet", "constant, one", "nothing", "none", "after"),
        ("Lightning", "constant, one", "nothing", "none", "after"),
        ("RWKV-5", "constant, each key", "nothing", "none", "before"),
        ("RWKV-6", "by token, each key", "nothing", "none", "before"),
        ("GLA", "by token, each key", "nothing", "none", "after"),
        ("HGRN2", "by token, each key", "nothing", "each key", "after"),
        ("Mamba", "by token, each key", "nothing", "one", "after"),
        ("Mamba-2", "by token, one", "nothing", "one", "after"),
        ("mLSTM", "by token, one", "nothing", "one", "after"),
        ("DeltaNet", "none", "one direction", "one", "after"),
        ("Gated DeltaNet", "by token, one", "one direction", "one", "after"),
        ("Comba", "by token, one", "one direction", "one", "after"),
        ("DeltaProduct", "by token, one", "2 directions", "one", "after"),
        ("Kimi Delta", "by token, each key", "one direction", "one", "after"),
        (
            "Gated DeltaNet-2",
            "by token, each key",
            "one direction",
            "each key",
            "after",
        ),
        ("RWKV-7", "by token, each key", "one direction", "each key", "after"),
    ],
)
def test_what_is_measured(name, decay, removal, rate, asked):
    found = portraits.row(KNOWN[name])
    assert found[0] == name
    assert found[2:6] == [decay, removal, rate, asked]


def test_the_matrix_of_a_step_is_what_the_formula_says():
    generator = torch.Generator().manual_seed(3)
    tokens = KNOWN["RWKV-7"].tokens(generator, size=5)
    assert KNOWN["RWKV-7"].function is rwkv_7
    found = portraits.multiplied(KNOWN["RWKV-7"], tokens)[0, 0]
    decay, removed, rate = (
        tokens[name][0, 0, 0] for name in ("log_decay", "removed", "rate")
    )
    wanted = torch.diag(decay.exp()) - torch.outer(removed, rate * removed)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("member", portraits.MEMBERS, ids=list(KNOWN))
def test_eigenvalues_lie_where_they_may(member):
    found = portraits.eigenvalues(member)
    assert found.abs().max() < 1 + 1e-9
    if member.name == "DeltaProduct":
        assert found.imag.max() > 0.5
        return
    assert found.imag.abs().max() < 1e-6
    if member.name == "RWKV-7":
        assert -0.4548 < found.real.min() < -0.42
    else:
        assert found.real.min() > -1e-9


def test_a_rate_that_is_doubled_turns_what_is_found_around():
    member = KNOWN["Gated DeltaNet"]
    assert member.function is gated_delta_net
    doubled = replace(member, takes=member.takes | {"rate": "double rate BTH"})
    found = portraits.eigenvalues(doubled)
    assert -1 < found.real.min() < -0.9 and found.imag.abs().max() < 1e-6


@pytest.mark.parametrize("name", ["Gated DeltaNet", "Kimi Delta", "Comba"])
def test_with_one_rate_a_head_nothing_grows(name):
    assert portraits.growth(KNOWN[name], 3, count=2000) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["RWKV-7", "Gated DeltaNet-2"])
def test_with_a_rate_for_each_key_two_steps_can_grow_what_one_cannot(name):
    assert portraits.growth(KNOWN[name], 1, count=2000) <= 1 + 1e-9
    assert 1.2 < portraits.growth(KNOWN[name], 2, count=8000) <= 1.25 + 1e-3


def test_a_state_has_so_many_numbers_for_each_channel_of_its_values():
    found = {name: member.numbers() for name, member in KNOWN.items()}
    assert found["RWKV-4"] == 2
    assert found["linear attention"] == found["mLSTM"] == 65
    assert found["RWKV-7"] == found["Mamba"] == found["Kimi Delta"] == 64
