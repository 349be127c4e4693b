"""RWKV-5.2, 6 and 7 on several processes: a table crosses the border, all agrees."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.distributed as dist
from helpers.tiny_run import RUN, export, losses, train
from torch.nn.functional import normalize

from rwkv_book.family.equation import FORMS, table_recurrent
from rwkv_book.parallel import Ranks, run_on_ranks, stretch, table_across_ranks

LATER = [
    replace(RUN, version=version, width=16, head_size=8, steps=8)
    for version in ("5.2", "6", "7")
]
by_version = pytest.mark.parametrize("run", LATER, ids=lambda run: run.version)


def arguments(length, removal, seed=0):
    """log_decay ... replace, the table before, and the weights of a loss."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    of_tokens = [random(2, length, 2, 4) for _ in range(3)] + [random(2, length, 2, 3)]
    of_tokens[0] = -of_tokens[0].exp()
    if removal:
        unit = normalize(random(2, length, 2, 4), dim=-1)
        of_tokens += [-unit, unit * random(2, length, 2, 4).sigmoid()]
    return of_tokens, random(2, 2, 3, 4), random(2, length, 2, 3), random(2, 2, 3, 4)


def gradients(form, of_tokens, state, weights, of_state, cut=lambda x: x, last=True):
    """Answers, the table after, and the gradient of every argument."""
    leaves = [tensor.clone().requires_grad_() for tensor in (*of_tokens, state)]
    out, after = form(*map(cut, leaves[:-1]), state=leaves[-1])
    loss = (out * cut(weights)).sum() + (after * of_state).sum() * last
    loss.backward()  # and not grad(), which would leave out what goes to other ranks
    zeros = [
        torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves
    ]
    return out.detach(), after.detach(), zeros


def differences(cases):
    """For each case the largest difference between all ranks and the recurrence."""
    last = dist.get_rank() == dist.get_world_size() - 1
    found = []
    for length, removal, before, name in cases:
        given = arguments(length, removal)
        across = partial(table_across_ranks, inside=FORMS[name], before=before)
        out, after, gradient = gradients(across, *given, stretch, last)
        for tensor in gradient:
            dist.all_reduce(tensor)
        whole = partial(table_recurrent, before=before)
        wanted_out, wanted_after, wanted = gradients(whole, *given)
        pairs = [(out, stretch(wanted_out)), *zip(gradient, wanted, strict=True)]
        if last:
            pairs.append((after, wanted_after))
        found.append(max((one - other).abs().max().item() for one, other in pairs))
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_recurrence_across_ranks_is_that_of_the_whole_text(ranks):
    cases = [
        (length, removal, before, form)
        for length in (3, 17, 40)
        for removal in (False, True)
        for before in (False, True)
        for form in ("attention", "recurrent", "chunked")
    ]
    for found in run_on_ranks(differences, cases, ranks=ranks):
        assert max(found) < 1e-10


def train_here(run, folder, parts):
    """Train in parts of (steps, way): the log and the held-out loss of the file."""
    for steps, way in parts:
        ranks = Ranks(
            dist.get_rank(), dist.get_world_size(), "shard" in way, "time" in way
        )
        asked = {"report": 1, "evaluate": 4, "stop_after": steps, "ranks": ranks}
        model, log = train(run, folder, **asked)
    return log, export(model, run, folder / "model.safetensors", "", ranks)


@by_version
def test_every_way_trains_the_same_model(run, tmp_path):
    model, log = train(run, tmp_path / "one", report=1, evaluate=4)
    loss = export(model, run, tmp_path / "one" / "model.safetensors", "")
    parts = [(2, "data"), (3, "time"), (None, "shard, time")]
    found, of_file = run_on_ranks(train_here, run, tmp_path / "two", parts)[0]
    assert losses(found) == pytest.approx(losses(log), abs=1e-4)
    assert of_file == pytest.approx(loss, abs=1e-3)
