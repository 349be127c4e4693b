"""Leaving a part out changes that part alone; a cut gradient loses what it should."""

import json
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import training
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.text import corpora
from rwkv_book.training import ablations
from rwkv_book.training.ablations import Truncated

PARTS = ("key", "value", "receptance", "output", "head")
MATRICES = tuple(f"{name}.weight" for name in PARTS)
TINY = replace(ablations.SMALL, steps=3, warm_up=1, batch=2, length=12, width=8)


def network():
    """A small model in double precision whose layers all do something."""
    torch.manual_seed(1)
    model = RWKV(Config(256, 2, 8)).double()
    for weights in model.parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=0.5)
    return model


def tokens(length, batch=1):
    torch.manual_seed(2)
    return torch.randint(256, (batch, length))


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("small embedding", ("embedding.weight",)),
        ("zero matrices", MATRICES),
        ("decays of all kinds", ("log_decay_rate",)),
        ("mixes of all kinds", ("mix_key", "mix_value", "mix_receptance")),
    ],
)
def test_an_initial_part_is_replaced_and_nothing_else(part, changed):
    usual = ablations.first_model(TINY).state_dict()
    without = ablations.first_model(TINY, (part,)).state_dict()
    for name, weights in usual.items():
        replaced = not torch.equal(weights, without[name])
        assert replaced == name.endswith(changed), name


def test_without_small_embedding_rows_have_the_size_of_one():
    rows = ablations.first_model(TINY, ("small embedding",)).embedding.weight
    assert 0.9 < rows.std() < 1.1
    assert ablations.first_model(TINY).embedding.weight.abs().max() <= 1e-4


@pytest.mark.parametrize("part", ablations.RECIPE)
def test_a_part_of_the_recipe_changes_one_field_of_the_run(part):
    before, after = asdict(TINY), asdict(ablations.RECIPE[part](TINY))
    assert sum(before[name] != after[name] for name in before) == 1


@pytest.mark.parametrize("part", ablations.PARTS)
def test_every_part_can_be_left_out_of_a_run(part):
    first, losses = ablations.learn(TINY)[1], ablations.learn(TINY, (part,))[1]
    assert len(losses) == TINY.steps
    assert torch.tensor(losses).isfinite().all()
    if part in ablations.RECIPE:
        assert losses[0] == first[0]


def test_the_same_seed_gives_the_same_losses_and_another_seed_others():
    assert ablations.learn(TINY)[1] == ablations.learn(TINY)[1]
    assert ablations.learn(TINY)[1] != ablations.learn(replace(TINY, seed=1))[1]


def test_a_part_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"no part is called .*'luck'.*warm-up"):
        ablations.learn(TINY, ("warm-up", "luck"))


@pytest.mark.parametrize("through", [1, 5, 12, 100])
def test_truncation_changes_no_logit_and_no_state(through):
    model, text = network(), tokens(12, batch=2)
    for found, right in zip(Truncated(model, through)(text), model(text), strict=True):
        assert torch.allclose(found, right, atol=1e-10)


def test_a_gradient_is_what_backward_leaves():
    model, text = network(), tokens(13, batch=2)
    found = ablations.gradient(Truncated(model, 100), text[:, :-1], text[:, 1:])
    logits, _ = model(text[:, :-1])
    cross_entropy(logits.mT, text[:, 1:]).backward()
    for name, weights in model.named_parameters():
        assert torch.allclose(found[name], weights.grad, atol=1e-10), name
    exact = {name: weights.grad for name, weights in model.named_parameters()}
    assert ablations.relative_error(found, exact) < 1e-10
    assert ablations.cosine(found, exact) > 1 - 1e-10


def test_a_gradient_that_goes_back_nowhere_teaches_no_decay():
    model, text = network(), tokens(13)
    arguments = text[:, :-1], text[:, 1:]
    exact = ablations.gradient(model, *arguments)
    found = ablations.gradient(Truncated(model, 1), *arguments)
    decays = [name for name in exact if name.endswith("log_decay_rate")]
    assert ablations.relative_error(found, exact, decays) == 1
    assert ablations.relative_error(found, exact, ["head.weight"]) < 1e-10
    assert 0.01 < ablations.relative_error(found, exact) < 1


def test_a_longer_gradient_is_nearer_to_the_whole_one():
    model, text = network(), tokens(33, batch=4)
    arguments = text[:, :-1], text[:, 1:]
    exact = ablations.gradient(model, *arguments)
    errors = [
        ablations.relative_error(
            ablations.gradient(Truncated(model, n), *arguments), exact
        )
        for n in (1, 4, 16, 32)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 1e-10


def test_influence_is_the_change_of_a_loss_by_what_is_read():
    model, text = network(), tokens(9)
    found = ablations.influence(model, text)
    assert found.shape == (8, 8)
    assert found.triu(1).max() == 0
    read = model.norm_in(model.embedding(text[:, :-1])).detach()
    model.embedding, model.norm_in = torch.nn.Identity(), torch.nn.Identity()

    def loss(read, t):
        logits = logits_of(model, read)
        return cross_entropy(logits[0, t], text[0, t + 1])

    for t in (0, 3, 7):
        for s in range(t + 1):
            slope = [
                (loss(read + step, t) - loss(read - step, t)) / 2e-6
                for step in nudges(read, s)
            ]
            assert torch.stack(slope).norm().isclose(found[t, s], rtol=1e-4)


def nudges(read, s):
    for channel in range(read.shape[2]):
        step = torch.zeros_like(read)
        step[0, s, channel] = 1e-6
        yield step


@torch.no_grad()
def logits_of(model, x):
    state = model.initial_state()
    for layer, block in enumerate(model.blocks):
        x, _ = block(x, state[:, layer])
    return model.head(model.norm_out(x))


@pytest.mark.parametrize("through", [1, 3, 8])
def test_truncation_cuts_influence_into_blocks(through):
    model, text = network(), tokens(9)
    whole = ablations.influence(model, text)
    cut = ablations.influence(Truncated(model, through), text)
    piece = torch.arange(8) // through
    inside = piece[:, None] == piece
    assert torch.allclose(cut, whole * inside, atol=1e-10)


def test_a_length_below_one_is_refused():
    with pytest.raises(ValueError, match="through must be at least 1"):
        Truncated(network(), 0)


def test_the_record_of_the_chapter_can_be_made_again():
    folder = Path(__file__).parents[2] / "benchmarks" / "results"
    record = json.loads(next(folder.glob("ablations-*.json")).read_text())
    rate = record["run"]["learning_rate"]
    wanted = next(
        row
        for row in record["rows"]
        if (row["without"], row["learning_rate"], row["seed"])
        == (["clipping"], rate, 0)
    )
    run = ablations.RECIPE["clipping"](training.Run(**record["run"]))
    model = ablations.first_model(run)
    data = training.join(corpora.load(run.corpus).training)
    steps = islice(training.fit(model, run, data), record["steps_together"])
    found = mean(loss.item() for loss in steps)
    assert found == pytest.approx(wanted["losses"][0], abs=2e-3)
