"""The networks of the bench: one size, one switch, the same run again, files; and the
command that records them, with what it has recorded and shipped."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise

import measure
import pieces
import pytest
import state_labs
import torch
from helpers.limits import files_of_at_most, has_limits
from torch.nn.modules.module import register_module_forward_pre_hook

from rwkv_book import checkpoint, folders, results
from rwkv_book.family.equation import table_chunked, table_recurrent
from rwkv_book.labs import bench
from rwkv_book.labs.tasks import NOTHING, tasks

every_name = pytest.mark.parametrize("name", bench.NAMES)
every_task = pytest.mark.parametrize("task", tasks().values(), ids=lambda t: t.name)
SMALL = replace(tasks()["parity"], tested=(8, 16), steps=2)


@every_task
def test_all_have_one_number_of_parameters(task):
    counts = [
        bench.parameters_of(name, task.vocabulary, bench.size_of(name, task.vocabulary))
        for name in bench.NAMES
    ]
    assert max(counts) < 1.05 * min(counts)


@every_name
def test_what_is_counted_is_what_is_built(name):
    task = tasks()["parity"]
    size = bench.size_of(name, task.vocabulary)
    assert bench.parameters(bench.build(name, task)) == bench.parameters_of(
        name, task.vocabulary, size
    )


def test_a_name_that_nobody_has_is_refused():
    with pytest.raises(ValueError, match=r"no contender is called 'RWKV-9'"):
        bench.make("RWKV-9", 4, 8)


def example(tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(4, 2, tokens, 1, 4, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize(draw[3], dim=-1)
    rate = torch.rand(unit.shape, generator=generator, dtype=torch.float64)
    return torch.zeros_like(unit), *draw[:3], -unit, unit * rate


def test_twice_takes_out_twice_as_much():
    decay, receptance, key, value, remove, replace_ = example(9)
    found, table = bench.twice(table_chunked)(
        decay, receptance, key, value, remove, replace_
    )
    slow = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    for t in range(9):
        old = slow
        slow = old + value[:, t, :, :, None] * key[:, t, :, None]
        out = old @ remove[:, t, :, :, None]
        slow = slow + out * 2 * replace_[:, t, :, None]
        answer = (slow @ receptance[:, t, :, :, None])[..., 0]
        assert torch.allclose(found[:, t], answer)
    assert torch.allclose(table, slow)


def test_at_a_rate_of_2_a_step_is_a_swap():
    """I - 2cc' with c half of one channel against another exchanges the two."""
    unit = torch.tensor([1.0, -1.0, 0, 0], dtype=torch.float64) / 2**0.5
    nothing = torch.zeros(1, 1, 1, 4, dtype=torch.float64)
    held = torch.arange(16.0, dtype=torch.float64).view(1, 1, 4, 4)
    remove = unit.view(1, 1, 1, 4)
    _, table = bench.twice(table_recurrent)(
        nothing, nothing, nothing, nothing, -remove, remove, state=held
    )
    assert torch.allclose(table, held[..., [1, 0, 2, 3]])


def test_only_the_switch_tells_the_two_apart():
    task = tasks()["parity"]
    one, two = (bench.build(name, task) for name in ("RWKV-7", "RWKV-7 twice"))
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b), name
    for network in (one, two):  # an untrained one says nothing of its table
        torch.nn.init.normal_(network.blocks[0].time_mix.output.weight)
        torch.nn.init.normal_(network.blocks[0].time_mix.gate_down)
    two.load_state_dict(one.state_dict())
    tokens, _ = task.test(16, texts=2)
    apart = (one(tokens)[0] - two(tokens)[0]).abs().amax((0, 2))
    assert apart[0] < 1e-6  # nothing stands in the table yet
    assert apart[1:].max() > 1e-3


def test_attention_without_positions_reads_in_any_order():
    """What it says last depends on which tokens came before, not in which order."""
    task = tasks()["modulo-3"]
    placed, unplaced = (
        bench.build(name, task) for name in ("attention", "attention unplaced")
    )
    for network in (placed, unplaced):
        network.blocks = network.blocks[:1]
    tokens = torch.tensor([[0, 1, 2, 2], [2, 1, 0, 2]])
    last = [network(tokens)[0][:, -1] for network in (placed, unplaced)]
    assert not torch.allclose(*last[0], atol=1e-4)
    assert torch.allclose(*last[1], atol=1e-5)


@every_name
def test_the_same_seed_gives_the_same_run(name):
    runs = [list(bench.fit(bench.build(name, SMALL), SMALL, 1e-2)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(runs[0]) == SMALL.steps
    other = list(bench.fit(bench.build(name, SMALL, 1), SMALL, 1e-2, 1))
    assert other != runs[0]


def test_a_loss_that_is_no_number_is_an_error():
    network = bench.build("LSTM", SMALL)
    torch.nn.init.constant_(next(network.parameters()), torch.nan)
    with pytest.raises(ArithmeticError, match="nan at step 0"):
        list(bench.fit(network, SMALL, 1e-2))


def test_the_rate_rises_and_falls():
    shares = [bench.share_of_rate(step, 400) for step in range(401)]
    assert shares[0] == pytest.approx(1 / bench.WARM_UP)
    assert max(shares) > 0.95
    top = shares.index(max(shares))
    assert all(a > b for a, b in pairwise(shares[top:]))
    assert shares[-1] == pytest.approx(bench.FINAL_SHARE)


class Oracle(torch.nn.Module):
    """Says the parity of a text, but always `odd` after so many tokens."""

    def __init__(self, reach):
        super().__init__()
        self.reach = reach

    def forward(self, tokens):
        odd = tokens.cumsum(1) % 2
        odd[:, self.reach :] = 1
        return torch.nn.functional.one_hot(odd, 2).float(), None


def test_accuracy_is_the_share_of_the_answers_that_count():
    task = tasks()["parity"]
    assert bench.accuracy(Oracle(16), task, 16) == 1
    assert 0.4 < bench.accuracy(Oracle(16), task, 64) < 0.6
    assert 0.6 < bench.accuracy(Oracle(14), task, 16) < 0.9  # two of the last four
    by_size = bench.by_size(Oracle(16), task)
    assert list(by_size) == list(task.tested)
    loss = bench.loss_on(Oracle(32), *task.test(8))
    assert loss.item() == pytest.approx(0.3133, abs=1e-3)  # ln(1 + 1/e)


def test_what_is_not_asked_is_not_counted():
    task = tasks()["overwriting"]
    tokens, answers = task.test(16, texts=3)
    logits = torch.nn.functional.one_hot(answers.clamp(0), task.vocabulary).float()
    right = bench.loss_on(lambda tokens: (logits, None), tokens, answers)
    logits = logits.clone()
    logits[answers == NOTHING] = torch.randn(task.vocabulary)
    assert bench.loss_on(lambda tokens: (logits, None), tokens, answers) == right


@every_name
def test_a_file_gives_the_network_back(name, tmp_path):
    task, path = tasks()["parity"], tmp_path / "one.safetensors"
    network = bench.build(name, task)
    bench.save(network, name, task, path, {"run": "{}"})
    again, its_task = bench.load(path)
    assert its_task is task
    tokens, _ = task.test(16, texts=2)
    assert torch.allclose(network(tokens)[0], again(tokens)[0], atol=1e-2)
    assert checkpoint.metadata(path)["contender"] == name


def test_another_file_is_refused():
    with pytest.raises(ValueError, match="no contender that `save` wrote"):
        bench.load(checkpoint.shipped("generations/rwkv7"))


def test_rates_are_tried_until_one_is_the_best_inside(tmp_path):
    """A best rate of 1e-3 is below both of the first two."""

    def make(job):
        return {"loss": abs(job["learning_rate"] - 1e-3) + job["seed"]}

    made = state_labs.made_pieces(make, tmp_path)
    rows = state_labs.compare(made, SMALL, "LSTM")
    best = [row for row in rows if row["best"]]
    assert [row["seed"] for row in best] == list(range(state_labs.SEEDS))
    assert {row["learning_rate"] for row in best} == {1e-3}
    assert all(row["interior"] for row in rows)


def test_a_network_that_only_guesses_is_tried_a_few_times(tmp_path):
    made = state_labs.made_pieces(
        lambda job: {"loss": 1 / job["learning_rate"]}, tmp_path
    )
    rows = state_labs.compare(made, SMALL, "LSTM")
    assert len({row["learning_rate"] for row in rows}) == state_labs.MOST_RATES
    assert not any(row["interior"] for row in rows)


@pytest.mark.parametrize(("label", "name"), state_labs.LONGER)
def test_what_may_need_time_is_trained_for_longer(label, name, tmp_path):
    made = state_labs.made_pieces(lambda job: {"loss": job["learning_rate"]}, tmp_path)
    task, times = tasks()[label], state_labs.LONGER[label, name]
    rows = state_labs.compare(made, task, name)
    (row,) = state_labs.longer(made, task, rows)
    assert (row["name"], row["steps"]) == (name, times * task.steps)
    assert row["learning_rate"] == min(each["learning_rate"] for each in rows)
    assert not row["best"]


JOB = {
    "task": "parity",
    "name": "RWKV-7 twice",
    "steps": 2,
    "learning_rate": 1e-2,
    "seed": 0,
}


def in_folder(folder):
    """Pieces whose file is in a folder, and whose weights are in one inside it."""
    row = partial(state_labs.row, weights=folder / "weights")
    return state_labs.made_pieces(row, folder)


def test_a_run_is_kept_goes_on_and_is_shipped(tmp_path, capsys):
    made = in_folder(tmp_path)
    row = made.row(JOB)
    kept = made.path.read_bytes()
    again = in_folder(tmp_path).row(JOB)
    assert again == json.loads(json.dumps(row))
    assert made.path.read_bytes() == kept  # nothing was made again
    rows = pieces.marked([row], "loss")
    state_labs.print_task(SMALL, rows)
    assert "RWKV-7 twice" in capsys.readouterr().out
    state_labs.ship(rows, tmp_path / "weights", tmp_path)
    shipped = bench.file_of(JOB["name"], SMALL, tmp_path)
    assert json.loads(checkpoint.metadata(shipped)["run"]) == JOB
    network, _ = bench.load(shipped)
    trained = torch.load(tmp_path / "weights" / state_labs.file_name(JOB))
    for key, weights in network.state_dict().items():
        assert torch.equal(weights, trained[key].half().float()), key


@has_limits
def test_weights_are_kept_whole_or_not_at_all(tmp_path):
    """Half a file would be read, and believed, when the command goes on."""
    made = in_folder(tmp_path)
    with files_of_at_most(4096), pytest.raises(folders.DiskFull, match="larger than"):
        made.row(JOB)
    assert list((tmp_path / "weights").iterdir()) == []
    assert not made.path.exists()


@has_limits
def test_a_record_is_written_whole_or_not_at_all(tmp_path):
    measure.record("which", "cpu", [{"loss": 1.0}], tmp_path)
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["rows"] == [{"loss": 1.0}]
    with files_of_at_most(9), pytest.raises(folders.DiskFull, match="larger than"):
        measure.record("which", "cpu", [{"loss": 2.0}], tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert json.loads(path.read_bytes())["rows"] == [{"loss": 1.0}]


def test_speed_counts_all_tokens_of_all_steps():
    read = []

    def count(module, given):
        if isinstance(module, torch.nn.Embedding):
            read.append(given[0].numel())

    jobs, tokens = state_labs.training(SMALL, steps=3)
    assert list(jobs) == list(bench.NAMES)
    with register_module_forward_pre_hook(count):
        jobs["RWKV-7"]()
    assert sum(read) == tokens == 3 * 2048


def record():
    return results.of("state-labs")[-1]


def test_the_record_has_every_network_and_seed_of_its_tasks():
    rows = record()["rows"]
    for label in record()["tasks"]:
        task = tasks()[label]
        for name in bench.NAMES:
            found = bench.chosen(rows, task, name)
            assert {row["seed"] for row in found} == set(range(state_labs.SEEDS))
            assert {row["steps"] for row in found} == {task.steps}
            assert len(bench.shares(rows, task, name)[0]) == len(task.tested)
            for row in found:
                for size, share in row["untrained"].items():
                    assert share < task.chance(int(size)) + 0.2


def test_every_rate_of_the_record_is_the_best_of_those_tried():
    rows = record()["rows"]
    for label in record()["tasks"]:
        for name in bench.NAMES:
            wanted = (label, name, tasks()[label].steps)
            mine = [
                row
                for row in rows
                if (row["task"], row["name"], row["steps"]) == wanted
            ]
            tried = {
                row["learning_rate"]: row["loss"] for row in mine if not row["seed"]
            }
            best = min(tried, key=tried.get)
            assert {row["learning_rate"] for row in mine if row["best"]} == {best}
            inside = min(tried) < best < max(tried)
            assert all(row["interior"] == inside for row in mine)
            assert inside or len(tried) == state_labs.MOST_RATES


@pytest.mark.parametrize(("label", "name"), state_labs.SHIPPED)
def test_what_is_shipped_does_what_its_record_says(label, name):
    path = bench.file_of(name, tasks()[label])
    network, task = bench.load(path)
    job = json.loads(checkpoint.metadata(path)["run"])
    (row,) = [
        row for row in record()["rows"] if job.items() <= row.items() and row["best"]
    ]
    for size in task.tested[:3]:
        found = bench.accuracy(network, task, size)
        assert found == pytest.approx(row["accuracy"][str(size)], abs=0.03)
