"""One network, six rules: equal sizes, one state, forms that agree, and nothing but the
rule that differs; and the command that compares them, with what it has recorded."""

import json
from dataclasses import replace
from functools import partial

import decay_bound
import one_family
import pytest
import torch
import version_comparison
from helpers.kept import all_in

from rwkv_book.family import portraits
from rwkv_book.family.equation import table_chunked, table_recurrent
from rwkv_book.labs.contenders import parameters
from rwkv_book.labs.one_body import HALF_LIVES, RULES, Config, OneBody, config_of
from rwkv_book.labs.tasks import tasks

every_rule = pytest.mark.parametrize("rule", RULES)
TOKENS = torch.arange(34).reshape(2, 17) * 7 % 11


def small(rule, form=table_chunked):
    """A network of every scale of numbers, in float64."""
    torch.manual_seed(0)
    network = OneBody(Config(11, 2, 8, head_size=4, rule=rule), form).double()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    return network


@every_rule
def test_all_forms_and_splits_are_one_function(rule):
    chunked, recurrent = small(rule), small(rule, table_recurrent)
    wanted, after = recurrent(TOKENS)
    assert torch.allclose(chunked(TOKENS)[0], wanted, atol=1e-10)
    first, state = chunked(TOKENS[:, :6])
    second, state = chunked(TOKENS[:, 6:], state)
    assert torch.allclose(torch.cat([first, second], dim=1), wanted, atol=1e-10)
    assert torch.allclose(state, after, atol=1e-10)


@every_rule
def test_every_parameter_is_learned(rule):
    network = small(rule)
    network(TOKENS)[0].logsumexp(-1).sum().backward()
    still = [
        name for name, weights in network.named_parameters() if weights.grad is None
    ]
    assert not still
    assert all(weights.grad.abs().max() > 0 for weights in network.parameters())


@every_rule
@pytest.mark.parametrize("shape", [(256, 3, 64, 16), (33, 1, 32, 16)])
def test_all_have_one_number_of_parameters(rule, shape):
    wanted = parameters(OneBody(config_of("RWKV-7", *shape)))
    assert parameters(OneBody(config_of(rule, *shape))) == pytest.approx(
        wanted, rel=0.01
    )


@every_rule
def test_the_token_says_what_its_rule_lets_it_say(rule):
    """What stands in the table, and nothing comes: which numbers is it multiplied by?

    By one for all keys or by one for each; by the same for all tokens or not; and by
    what is no diagonal matrix where something is taken out.
    """
    mix = small(rule).blocks[0].time_mix
    control, key = torch.randn(1, 6, 8).double(), torch.randn(1, 6, 2, 4).double()
    nothing, tables = torch.zeros(1, 1, 2, 4).double(), torch.eye(4).double()
    steps = [
        mix.answer(
            control[:, [t]], nothing, key[:, [t]], nothing, tables.expand(1, 2, 4, 4)
        )[1]
        for t in range(6)
    ]
    steps = torch.stack(steps, dim=2)[0]  # (H,T,N,N)
    beside = steps - torch.diag_embed(steps.diagonal(dim1=-2, dim2=-1))
    takes_out = rule in ("DeltaNet", "Gated DeltaNet", "RWKV-7")
    assert (beside.abs().max() > 1e-3) == takes_out
    if not takes_out:
        kept = steps.diagonal(dim1=-2, dim2=-1)
        assert (kept.std(-1).max() > 1e-3) == (rule != "Mamba-2")
        assert (kept.std(-2).max() > 1e-3) == (rule != "RWKV-5")


@every_rule
def test_decays_begin_with_the_same_half_lives(rule):
    torch.manual_seed(0)
    mix = OneBody(Config(11, 1, 32, head_size=4, rule=rule)).blocks[0].time_mix
    nothing, tables = torch.zeros(1, 1, 8, 4), torch.eye(4).expand(1, 8, 4, 4)
    after = mix.answer(torch.randn(1, 1, 32), nothing, nothing, nothing, tables)[1]
    kept = after.diagonal(dim1=-2, dim2=-1)
    if rule == "DeltaNet":
        assert torch.equal(kept, torch.ones_like(kept))
        return
    half_lives = torch.log(torch.tensor(0.5)) / kept.log()
    assert half_lives.min().item() == pytest.approx(HALF_LIVES[0], rel=1e-3)
    assert half_lives.max().item() == pytest.approx(HALF_LIVES[1], rel=1e-2)


@pytest.mark.parametrize("keeps", [0.0, 0.545])
def test_a_bound_on_decays_holds_and_is_near_where_it_does_not_matter(keeps):
    mix = OneBody(Config(11, 1, 8, head_size=4, keeps=keeps)).blocks[0].time_mix
    nothing, tables = torch.zeros(1, 1, 2, 4), torch.eye(4).expand(1, 2, 4, 4)
    control = torch.zeros(1, 1, 8)
    kept = {}
    for first in (-9.0, 9.0):
        torch.nn.init.constant_(mix.fading.first, first)
        torch.nn.init.constant_(mix.rate.first, -99.0)
        after = mix.answer(control, nothing, nothing, nothing, tables)[1]
        kept[first] = after.diagonal(dim1=-2, dim2=-1)
    assert kept[-9.0].min() > 0.999
    assert kept[9.0].min().item() == pytest.approx(max(keeps, 1.2e-4), abs=1e-4)


def test_its_rules_are_members_of_the_family():
    assert set(RULES) <= {member.name for member in portraits.MEMBERS}


def test_a_rule_that_nobody_has_is_refused():
    with pytest.raises(ValueError, match="no rule is called 'RWKV-9'"):
        Config(11, 1, 8, head_size=4, rule="RWKV-9")


def test_a_text_and_a_lab_are_learned(tmp_path):
    run = replace(
        version_comparison.RUN,
        corpus="prose",
        steps=3,
        warm_up=1,
        width=16,
        length=32,
        head_size=8,
    )
    rows = partial(one_family.rows, run, 3, ["GLA"], ["parity"], tmp_path)
    text, lab = rows()
    assert 4 < text["loss"] < text["untrained_loss"] < 6
    assert set(lab["accuracy"]) == set(tasks()["parity"].tested)
    kept = all_in(tmp_path)
    assert rows() == json.loads(json.dumps([text, lab]))
    assert all_in(tmp_path) == kept  # nothing was made again


def test_a_bound_on_the_decay_is_the_only_difference(tmp_path):
    found = decay_bound.rows(3, [0.009], 1, tmp_path)
    assert [row["keeps"] for row in found] == list(decay_bound.BOUNDS)
    assert len({row["parameters"] for row in found}) == 1
    assert len({row["loss"] for row in found}) == len(found)
    network = one_family.for_a_lab(tasks()["parity"], "RWKV-7", 0, keeps=0.3)
    free = one_family.for_a_lab(tasks()["parity"], "RWKV-7", 0)
    pairs = zip(network.parameters(), free.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
