"""Several processes: every step, checkpoint and loss is that of one process."""

import contextlib
import json
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers.commands import TEXT
from helpers.signals import signalling
from helpers.tiny_run import RUN, checkpoint_of, export, losses, train

from rwkv_book import __main__, checkpoint, cost, parallel
from rwkv_book.labs import one_process
from rwkv_book.parallel import (
    LostRank,
    Ranks,
    payload_bytes,
    run_on_ranks,
    sent_bytes,
    shift_across_ranks,
    stretch,
    wkv_across_ranks,
)
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import FORMS, WkvState, wkv_attention, wkv_chunked

CONFIG = Config(66, 2, 12)  # each axis can be cut in 2 and in 3


def ranks_here(way="data"):
    """The ranks as a process that `run_on_ranks` has started sees them."""
    rank, count = dist.get_rank(), dist.get_world_size()
    return Ranks(rank, count, "shard" in way, "time" in way)


# A step.


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("way", one_process.WAYS)
def test_a_step_of_several_processes_is_that_of_one(way, ranks):
    found = one_process.compare(way, CONFIG, batch=6, length=17, ranks=ranks)
    assert abs(found.loss - found.loss_of_one) < 1e-10
    assert found.output_difference < 1e-10
    assert found.gradient_difference < 1e-10 and found.largest_gradient > 0.01
    assert found.payload_bytes == payload_bytes(way, CONFIG, 6, ranks, 8)


def test_weights_that_can_not_be_cut_equally_are_filled_up():
    config = Config(50, 1, 8)
    found = one_process.compare("shard", config, batch=3, length=5, ranks=3)
    assert found.gradient_difference < 1e-10 and found.largest_gradient > 0.01
    (expected, *_), (counted, *_) = (
        payload_bytes("shard", config, 3, 3, 8),
        found.payload_bytes,
    )
    assert all(size < counted[kind] < 1.2 * size for kind, size in expected.items())


def test_what_crosses_a_border_is_the_state_however_long_the_text():
    short, long = (
        one_process.compare("time", CONFIG, batch=2, length=length)
        for length in (2, 65)
    )
    assert long.gradient_difference < 1e-10
    assert short.payload_bytes == long.payload_bytes
    assert short.payload_bytes[0]["send"] == 2 * cost.rwkv_state_bytes(CONFIG, 8)


# A sequence that no process holds whole.


def operator_inputs(length, scale, seed=0, fastest=1.0):
    """Arguments of the operator in double precision, the state after other tokens.

    One channel fades `fastest` times as fast as it would.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rates, bonus = normal(5).exp(), normal(5)
    rates[0] *= fastest
    key, value = scale * normal(2, length, 5), normal(2, length, 5)
    _, state = wkv_attention(rates, bonus, scale * normal(2, 4, 5), normal(2, 4, 5))
    return [rates, bonus, key, value, *state], normal(2, length, 5), normal(3, 2, 5)


def operator_gradients(wkv, inputs, weights, state_weights, cut=lambda x: x, last=True):
    """Outputs, states and the gradients of all arguments, for a loss of them."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    rates, bonus, key, value, *state = leaves
    out, after = wkv(rates, bonus, cut(key), cut(value), WkvState(*state))
    loss = (out * cut(weights)).sum()
    if last:
        loss = loss + (torch.stack(after) * state_weights).sum()
    loss.backward()
    zeros = [
        torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves
    ]
    return out.detach(), torch.stack(after).detach(), zeros


def operator_differences(cases):
    """For each case the largest difference between all ranks and one process."""
    last = dist.get_rank() == dist.get_world_size() - 1
    differences = []
    for length, scale, form, fastest in cases:
        arguments = operator_inputs(length, scale, fastest=fastest)
        wkv = partial(wkv_across_ranks, inside=FORMS[form])
        out, after, gradients = operator_gradients(wkv, *arguments, stretch, last)
        for gradient in gradients:
            dist.all_reduce(gradient)
        one_out, one_after, one_gradients = operator_gradients(
            wkv_attention, *arguments
        )
        pairs = [(out, stretch(one_out)), *zip(gradients, one_gradients, strict=True)]
        if last:
            pairs.append((after, one_after))
        differences.append(max((a - b).abs().max().item() for a, b in pairs))
    return differences


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_operator_across_ranks_is_that_of_the_whole_text(ranks):
    cases = [
        (length, scale, form, fastest)
        for length in (3, 4, 17, 64)
        for scale in (1, 300)
        for form in ("attention", "recurrent", "chunked")
        for fastest in (1.0, math.inf)
    ]
    for found in run_on_ranks(operator_differences, cases, ranks=ranks):
        assert all(difference < 1e-10 for difference in found)


def continued(way):
    """Logits, state and gradients, also that of the state before, of a text's rest."""
    torch.manual_seed(3)
    model = RWKV(CONFIG).double()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    tokens, rest = torch.randint(66, (2, 30)).split([7, 23], dim=1)
    state = model(tokens)[1].detach().requires_grad_()
    weights = torch.randn(2, 23, 66, dtype=torch.float64)
    state_weights = torch.randn_like(state)
    first, last = True, True
    if way == "time":
        first, last = dist.get_rank() == 0, dist.get_rank() == dist.get_world_size() - 1
        split = RWKV(CONFIG, wkv_across_ranks, shift_across_ranks).double()
        split.load_state_dict(model.state_dict())
        model, rest, weights = split, stretch(rest), stretch(weights)
    logits, after = model(rest, state if first else None)
    loss = (logits * weights).sum()
    loss = loss + (after * state_weights).sum() if last else loss
    loss.backward()
    if way == "time":
        parallel.sum_gradients(model)
    gradients = [parameter.grad for parameter in model.parameters()]
    return logits.detach(), after.detach(), gradients, state.grad


def test_a_text_can_go_on_across_ranks_from_a_state():
    logits, state, gradients, state_gradient = continued("alone")
    found = run_on_ranks(continued, "time", ranks=3)
    pairs = [
        (torch.cat([rank[0] for rank in found], dim=1), logits),
        (found[-1][1], state),
        (found[0][3], state_gradient),
        *zip(found[0][2], gradients, strict=True),
        *zip(found[2][2], gradients, strict=True),
    ]
    assert state_gradient.abs().amax((0, 1, 3)).min() > 1e-3
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def stretches(length):
    if length < dist.get_world_size():
        with pytest.raises(
            ValueError, match="1 tokens can't be split over 2 processes"
        ):
            stretch(torch.zeros(1, length))
        return []
    return stretch(torch.arange(length)[None])[0].tolist()


def test_a_text_is_cut_into_stretches_of_at_least_a_token():
    assert run_on_ranks(stretches, 5) == [[0, 1, 2], [3, 4]]
    assert run_on_ranks(stretches, 1) == [[], []]


# What is sent.


def bytes_sent_by_sockets():
    """What TCP has sent for this process, as Linux counts it."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            number = os.dup(int(name))
        except OSError:  # the folder itself, which is closed by now
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=number) as one:
            info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216)
            # tcpi_bytes_sent, tcpi_bytes_retrans: a busy machine sends some bytes twice
            sent, again = struct.unpack_from("QQ", info, 200)
            total += sent - again
    return total


def messages_on_the_wire(count):
    """{kind: (bytes that Messages counts, that TCP sends)} for `count` numbers."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    whole, part = torch.ones(count), torch.ones(count // ranks)

    def send_on():
        parallel.pass_along(whole, 1, whole)

    found = {}
    for kind, message in {
        "all_reduce": lambda: dist.all_reduce(whole),
        "all_gather": lambda: dist.all_gather_single(whole, part),
        "reduce_scatter": lambda: dist.reduce_scatter_single(part, whole),
        "send": send_on,
    }.items():
        dist.barrier()
        before = bytes_sent_by_sockets()
        with parallel.Messages() as messages:
            message()
        dist.barrier()  # all of it has arrived
        found[kind] = messages.payload_bytes, bytes_sent_by_sockets() - before
    assert rank < ranks - 1 or not found["send"][0]
    return found


@pytest.mark.skipif(
    not hasattr(socket, "TCP_INFO") or not Path("/proc/self/fd").exists(),
    reason="only Linux counts the bytes of a connection",
)
@pytest.mark.parametrize("ranks", [2, 3])
def test_what_leaves_a_process_is_what_the_formula_says(ranks):
    for found in run_on_ranks(messages_on_the_wire, 6 * 10**5, ranks=ranks):
        for kind, (payload, on_the_wire) in found.items():
            expected = sent_bytes(payload, ranks)
            if kind == "reduce_scatter":  # by way of an all-reduce
                expected *= 2
            # headers and the barrier take some bytes too
            assert 0.98 * expected - 2000 < on_the_wire < 1.05 * expected + 4000


def test_the_closed_forms_of_what_is_sent():
    shape = cost.Shape(256, 2, 32, 128)
    parameters = sum(p.numel() for p in RWKV(Config(*shape)).parameters())
    assert payload_bytes("data", shape, 8, 2) == [{"all_reduce": 4 * parameters}] * 2
    assert sent_bytes({"all_reduce": 64.0}, 64) == 126
    assert sent_bytes({"all_gather": 64.0, "reduce_scatter": 64.0, "send": 5}, 2) == 69
    assert [found["send"] for found in payload_bytes("time", shape, 3, 4)] == [
        count * 3 * 5 * 32 * 2 * 4 for count in (1, 2, 2, 1)
    ]
    outside = parameters - sum(
        p.numel() for p in RWKV(Config(*shape)).blocks.parameters()
    )
    (sharded, _) = payload_bytes("shard", shape, 8, 2)
    assert sharded["all_gather"] == 4 * (2 * parameters - outside)


def test_computing_and_sending_take_equally_long_at_the_break_even():
    tokens = parallel.tokens_to_hide_sending(64, 4e14, 5e10)
    for parameters in (1e6, 14e9):
        computing = parallel.compute_seconds(parameters, 64 * tokens, 64, 4e14)
        sending = parallel.all_reduce_seconds(parameters, 64, 5e10)
        assert computing == pytest.approx(sending)
    assert tokens == pytest.approx(4 / 3 * 63 / 64 * 4e14 / 5e10)
    assert parallel.all_reduce_seconds(1e9, 1, 1e9) == 0
    assert parallel.pipeline_idle(12, 1) == 0
    assert parallel.pipeline_idle(layers=2, ranks=3) == 0.5
    # three ranks, two layers: rank 0 works in slots 0 and 1, rank 2 in slots 2 and 3


# Training.


def only_rank_0_writes(folder):
    """In a process of `run_on_ranks`: a file that another rank writes is an error."""

    def refuse(event, arguments):
        if event == "os.rename":
            written = arguments[1]
        elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            written = arguments[0]
        else:
            return
        if str(written).startswith(folder):
            raise AssertionError(f"rank {dist.get_rank()} writes {written}")

    if dist.get_rank():
        sys.addaudithook(refuse)


def train_here(run, folder, parts):
    """Train in parts of (steps, way): the log, the weights at the end, their loss."""
    only_rank_0_writes(str(folder))
    for steps, way in parts:
        ranks = ranks_here(way)
        model, log = train(
            run, folder, report=1, evaluate=4, stop_after=steps, ranks=ranks
        )
    weights = ranks.whole(model.state_dict())
    loss = export(model, run, Path(folder, "model.safetensors"), "", ranks)
    return log, weights, loss


def assert_same_losses(found, wanted, tolerance=1e-5):
    """Training losses by step and held-out losses, up to the order of sums."""
    assert losses(found) == pytest.approx(losses(wanted), abs=tolerance)
    pairs = zip(found, wanted, strict=True)
    for one, other in pairs:
        assert one.get("held_out_loss") == pytest.approx(
            other.get("held_out_loss"), abs=tolerance
        )


@pytest.fixture(scope="module")
def of_one(tmp_path_factory):
    """The folder and log of RUN on one process that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("one")
    model, log = train(RUN, folder, report=1, evaluate=4)
    loss = export(model, RUN, folder / "model.safetensors", "")
    return folder, log, loss


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """The same of two processes, the weights whole on each."""
    folder = tmp_path_factory.mktemp("two")
    return folder, *run_on_ranks(train_here, RUN, folder, [(None, "data")])[0]


def assert_same_form(one, other):
    """Two trees of dicts, lists, tensors and numbers that differ in values alone."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same_form(one[name], other[name])
    elif isinstance(one, torch.Tensor):
        assert (one.shape, one.dtype, one.device) == (
            other.shape,
            other.dtype,
            other.device,
        )


def test_two_processes_train_the_model_of_one(of_one, of_two):
    folder, log, loss = of_one
    _, found, weights, found_loss = of_two
    assert_same_losses(found, log)
    assert found_loss == pytest.approx(loss, abs=1e-4)
    for name, tensor in checkpoint_of(folder)["model"].items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "parts",
    [
        [(None, "shard")],
        [(None, "time")],
        [(4, "shard"), (4, "data"), (None, "shard, time")],
    ],
)
def test_every_way_trains_the_same_model(of_one, of_two, tmp_path, parts):
    """In one go, or stopped and gone on with in another way."""
    found, weights, loss = run_on_ranks(train_here, RUN, tmp_path, parts)[0]
    assert_same_losses(found, of_one[1])
    assert loss == pytest.approx(of_one[2], abs=1e-4)
    for name, tensor in of_two[2].items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=0)
    assert_same_form(checkpoint_of(tmp_path), checkpoint_of(of_one[0]))
    report = checkpoint.inspect(tmp_path / "model.safetensors")
    assert report.deviations == ()
    assert report.metadata["held-out works"] == "three, four"


def test_two_processes_that_were_stopped_end_in_the_same_numbers(of_two, tmp_path):
    _, log, weights, loss = of_two
    parts = [(5, "data"), (None, "data")]
    found, same, again = run_on_ranks(train_here, RUN, tmp_path, parts)[0]
    assert losses(found) == losses(log) and loss == again
    assert all(torch.equal(tensor, weights[name]) for name, tensor in same.items())


def test_one_process_begins_and_two_go_on_and_the_other_way_round(of_one, tmp_path):
    train(RUN, tmp_path, report=1, evaluate=4, stop_after=3)
    run_on_ranks(train_here, RUN, tmp_path, [(5, "shard")])
    _, log = train(RUN, tmp_path, report=1, evaluate=4)
    assert losses(log) == pytest.approx(losses(of_one[1]), abs=1e-5)


# What goes wrong.


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def trained_until(
    rank, folder, port, number, to, shard=False, patience=parallel.PATIENCE
):
    """A process of a run as torchrun starts it; `to` get a signal at step 7."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    wkv = signalling(number, 7) if rank in to else wkv_chunked
    with (
        Path(folder, f"{rank}.txt").open("w") as file,
        contextlib.redirect_stderr(file),
    ):
        try:
            with parallel.started(shard=shard, patience=patience) as ranks:
                train(RUN, folder, wkv, report=1, evaluate=4, ranks=ranks)
        except LostRank as error:
            print(error, file=file)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)


def test_a_killed_process_ends_the_others_and_the_run_goes_on(of_one, of_two, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    processes = parallel.start(
        trained_until, tmp_path / "one", free_port(), signal.SIGKILL, [1], ranks=2
    )
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [1, -signal.SIGKILL]
    told = (tmp_path / "one" / "0.txt").read_text().splitlines()[-1]
    assert re.match(r"another process was lost \(.*go on from the last", told)
    assert checkpoint_of(tmp_path / "one")["step"] == 7
    for name in ("run.json", "log.json", "checkpoint.pt"):
        (tmp_path / "two" / name).write_bytes((tmp_path / "one" / name).read_bytes())

    _, log = train(RUN, tmp_path / "one", report=1, evaluate=4)
    assert losses(log) == pytest.approx(losses(of_one[1]), abs=1e-5)
    log, weights, _ = run_on_ranks(train_here, RUN, tmp_path / "two", [(None, "data")])[
        0
    ]
    assert losses(log) == losses(of_two[1])
    assert all(torch.equal(weights[name], of_two[2][name]) for name in weights)


def test_a_process_that_no_longer_answers_is_not_waited_for_forever(tmp_path):
    seconds = timedelta(seconds=3)
    arguments = tmp_path, free_port(), signal.SIGSTOP, [1], False, seconds
    processes = parallel.start(trained_until, *arguments, ranks=2)
    processes[0].join(200)
    processes[1].kill()
    processes[1].join()
    assert processes[0].exitcode == 1
    assert "another process was lost" in (tmp_path / "0.txt").read_text()


@pytest.mark.parametrize(
    ("number", "to", "shard"),
    [
        (signal.SIGINT, [0, 1], False),
        (signal.SIGTERM, [1], False),
        (signal.SIGINT, [0], True),
        (signal.SIGTERM, [0, 1], True),
    ],
)
def test_processes_that_are_stopped_wait_for_nobody(tmp_path, number, to, shard):
    """What rank 0 has whole it keeps alone; of shards the last checkpoint stays."""
    arguments = tmp_path, free_port(), number, to, shard
    processes = parallel.start(trained_until, *arguments, ranks=2)
    for process in processes:
        process.join(60)
    codes = {process.exitcode for process in processes}
    assert codes <= {1, 130} and (number == signal.SIGINT or codes == {1})
    kept = 4 if shard else 7
    told = (tmp_path / "0.txt").read_text()
    assert f"of 12: {tmp_path} keeps step {kept}, and the same run goes on" in told
    assert "stopped" not in (tmp_path / "1.txt").read_text()
    assert checkpoint_of(tmp_path)["step"] == kept
    assert train(RUN, tmp_path, report=1, evaluate=4)[1][-1]["step"] == 12


def fail(number, frame):
    """An error that has nothing to do with training."""
    raise ZeroDivisionError


def kept_until_it_failed(folder, way):
    """Every process fails at step 7, and the clock is always due."""
    signal.signal(signal.SIGUSR1, fail)
    wkv = signalling(signal.SIGUSR1, 7)
    options = {"report": 3, "ranks": ranks_here(way), "keep_every": 0}
    with pytest.raises(ZeroDivisionError):
        train(RUN, folder, wkv, **options)


@pytest.mark.parametrize(
    ("way", "step"), [("data", 7), ("time", 7), ("shard", 6), ("shard, time", 6)]
)
def test_the_clock_keeps_what_several_processes_do(of_two, tmp_path, way, step):
    """What rank 0 has whole at any step, shards after a line of the log."""
    run_on_ranks(kept_until_it_failed, tmp_path, way)
    assert checkpoint_of(tmp_path)["step"] == step
    found, weights, _ = run_on_ranks(train_here, RUN, tmp_path, [(None, way)])[0]
    assert losses(found)[12] == pytest.approx(losses(of_two[1])[12], abs=1e-5)
    for name, tensor in of_two[2].items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=0)


def test_a_process_that_torchrun_stops_says_why(monkeypatch):
    environment = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1"}
    for name, value in (environment | {"MASTER_PORT": free_port()}).items():
        monkeypatch.setenv(name, str(value))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with (
            pytest.raises(LostRank, match=r"asked to stop.*from the last checkpoint"),
            parallel.started() as ranks,
        ):
            assert ranks == Ranks(0, 1)
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
    finally:
        dist.destroy_process_group()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_an_error_that_is_not_about_messages_stays_what_it_is(monkeypatch):
    environment = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1"}
    for name, value in (environment | {"MASTER_PORT": free_port()}).items():
        monkeypatch.setenv(name, str(value))
    try:
        with pytest.raises(RuntimeError, match="out of memory"), parallel.started():
            raise RuntimeError("out of memory")
    finally:
        dist.destroy_process_group()


def test_what_can_not_be_shared_equally_is_refused(tmp_path):
    for ranks, sentence in (
        (Ranks(0, 3), "a batch of 4 .* 3 processes: make batch a multiple of 3"),
        (Ranks(0, 3, split=True), "a length of 16 .* make length a multiple of 3"),
    ):
        with pytest.raises(ValueError, match=sentence):
            train(RUN, tmp_path / "run", ranks=ranks)
    assert not (tmp_path / "run").exists()
    texts = torch.arange(12).view(6, 2)
    rows = [Ranks(rank, 3).share(texts) for rank in range(3)]
    columns = [Ranks(rank, 2, split=True).share(texts) for rank in range(2)]
    assert torch.equal(torch.cat(rows), texts) and rows[0].shape == (2, 2)
    assert torch.equal(torch.cat(columns, 1), texts) and columns[0].shape == (6, 1)


@pytest.mark.parametrize("option", ["--shard", "--split-text"])
def test_one_process_has_nobody_to_share_with(option, capsys, tmp_path):
    command = ["train", option, "--device", "cpu", "--folder", str(tmp_path / "run")]
    assert __main__.main(command) == 2
    assert "nobody to share with: use torchrun" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_more_processes_than_devices_are_refused(monkeypatch):
    devices = str(torch.cuda.device_count())
    monkeypatch.setenv("RANK", devices)
    monkeypatch.setenv("LOCAL_RANK", devices)
    sentence = f"process {devices} of this machine, which has {devices}"
    with (
        pytest.raises(ValueError, match=sentence),
        parallel.started("cuda"),
    ):
        pass


def in_folders_of_their_own(folder):
    """Rank 0 finds a checkpoint where rank 1 finds none; what each of them says."""
    ranks = ranks_here()
    with pytest.raises(ValueError, match=r"steps, 4, 0: the folder must be one"):
        train(RUN, Path(folder, str(ranks.rank)), ranks=ranks)
    return ranks.rank


def test_processes_that_see_different_checkpoints_do_not_begin(tmp_path):
    train(RUN, tmp_path / "0", evaluate=4, stop_after=4)
    train(RUN, tmp_path / "1", evaluate=4, stop_after=4)
    (tmp_path / "1" / "checkpoint.pt").unlink()
    assert run_on_ranks(in_folders_of_their_own, tmp_path) == [0, 1]


def test_another_run_in_the_folder_is_an_error_of_every_process(tmp_path):
    train(RUN, tmp_path, stop_after=2)
    with pytest.raises(RuntimeError, match=r"ended with \[1, 1\]"):
        run_on_ranks(train_here, replace(RUN, seed=6), tmp_path, [(None, "data")])


def sleep_if(rank):
    if dist.get_rank() == rank:
        signal.pause()


def test_processes_that_take_too_long_are_ended():
    with pytest.raises(RuntimeError, match=r"ended with \[.*-9\].*after 3 seconds"):
        run_on_ranks(sleep_if, 1, seconds=3)


def test_a_way_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="one of data, shard, time, got 'space'"):
        one_process.compare("space", CONFIG, 2, 4)


# All of it from a terminal.


def test_torchrun_trains_as_one_process_does(tmp_path, capsys):
    command = [
        *("train", "--corpus", str(TEXT), "--device", "cpu", "--layers", "1"),
        *("--width", "8", "--steps", "3", "--warm-up", "1", "--batch", "2"),
        *("--length", "16", "--folder"),
    ]
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node=2", "-m", "rwkv_book"),
    ]
    result = subprocess.run(
        [*torchrun, *command, tmp_path / "two"],
        capture_output=True,
        encoding="utf-8",
        timeout=400,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert __main__.main([*command, str(tmp_path / "one")]) == 0
    one, two = tmp_path / "one", tmp_path / "two"
    logs = [json.loads((folder / "log.json").read_text()) for folder in (one, two)]
    assert_same_losses(*logs)
    assert sorted(os.listdir(one)) == sorted(os.listdir(two))
    said = capsys.readouterr().out.splitlines()[-1].partition(" bytes")[0]
    assert result.stdout.splitlines()[-1].startswith(said.replace(str(one), str(two)))
