"""A run that is stopped, killed or out of space goes on where it was, bit for bit."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch
from helpers.commands import TEXT
from helpers.signals import signalling
from helpers.tiny_run import (
    RUN,
    TINY,
    assert_same_weights,
    checkpoint_of,
    losses,
    train,
    weights,
)

from rwkv_book.folders import DiskFull

pytestmark = pytest.mark.usefixtures("ctrl_c")
STOPS = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: SystemExit,
    getattr(signal, "SIGHUP", signal.SIGTERM): SystemExit,  # not there on Windows
}


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize("step", [1, 7])
def test_a_run_that_is_stopped_keeps_its_last_step(tmp_path, number, step, capfd):
    whole, log = train(RUN, tmp_path / "whole", report=5, evaluate=6)
    folder = tmp_path / "stopped"
    with pytest.raises(STOPS[number]):
        train(RUN, folder, signalling(number, step), report=5, evaluate=6)
    assert checkpoint_of(folder)["step"] == step
    said = f"stopped after step {step} of 12: {folder} keeps step {step}, and the same"
    assert said in capfd.readouterr().err
    resumed, log_of_resumed = train(RUN, folder, report=5, evaluate=6)
    assert_same_weights(weights(whole), weights(resumed))
    assert losses(log) == losses(log_of_resumed)


def test_a_run_that_is_stopped_in_its_first_step_says_that_nothing_was_kept(
    tmp_path, capfd
):
    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path, signalling(signal.SIGINT, 0))
    said = "stopped after step 0 of 12: nothing of it was kept"
    assert said in capfd.readouterr().err
    assert os.listdir(tmp_path) == ["run.json"]


def test_an_evaluation_that_was_stopped_is_made_again(tmp_path):
    whole, log = train(RUN, tmp_path / "whole", report=5, evaluate=6)
    wkv = signalling(signal.SIGINT, 6, training=False)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path / "stopped", wkv, report=5, evaluate=6)
    assert checkpoint_of(tmp_path / "stopped")["step"] == 12
    resumed, log_of_resumed = train(RUN, tmp_path / "stopped", report=5, evaluate=6)
    assert_same_weights(weights(whole), weights(resumed))
    for one, other in zip(log, log_of_resumed, strict=True):
        del one["bytes_per_second"], other["bytes_per_second"]
        assert one == other


def test_a_signal_in_an_update_of_the_weights_waits_for_its_end(tmp_path, monkeypatch):
    whole, _ = train(RUN, tmp_path / "whole")
    update, updates = torch.optim.AdamW.step.__wrapped__, 0

    def stopped_halfway(optimizer, *arguments):
        nonlocal updates
        updates += 1
        if updates == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return update(optimizer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", stopped_halfway)
        with pytest.raises(KeyboardInterrupt):
            train(RUN, tmp_path / "stopped")
    assert checkpoint_of(tmp_path / "stopped")["step"] == 5
    resumed, _ = train(RUN, tmp_path / "stopped")
    assert_same_weights(weights(whole), weights(resumed))


class Interrupting(str):
    """The name of a work, at whose saving Ctrl-C is pressed.

    PyTorch makes an error of its own of what is raised while it writes.
    """

    def __reduce_ex__(self, protocol):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("enforce fail at inline_container.cc") from error
        return str, (str(self),)


def test_a_signal_in_a_save_waits_for_its_end(tmp_path, capfd):
    texts = {Interrupting(name): text for name, text in TINY.validation.items()}
    corpus = replace(TINY, validation=texts)
    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path, corpus=corpus, evaluate=4)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=False)
    assert kept["step"] == 4
    assert f"{tmp_path} keeps step 4" in capfd.readouterr().err


def test_the_clock_keeps_a_run_between_evaluations(tmp_path):
    class Killed(Exception):
        """As bad as SIGKILL: nothing is done about it."""

    def killed(number, frame):
        raise Killed

    before = signal.signal(signal.SIGTERM, killed)
    try:
        for seconds, kept in ((0, True), (300, False)):
            folder = tmp_path / str(seconds)
            with pytest.raises(Killed):
                wkv = signalling(signal.SIGTERM, 7)
                train(RUN, folder, wkv, keep_every=seconds)
            assert (folder / "checkpoint.pt").exists() is kept
    finally:
        signal.signal(signal.SIGTERM, before)
    assert checkpoint_of(tmp_path / "0")["step"] == 7
    whole, log = train(RUN, tmp_path / "whole", report=5)
    resumed, log_of_resumed = train(RUN, tmp_path / "0", report=5)
    assert_same_weights(weights(whole), weights(resumed))
    assert losses(log)[12] == losses(log_of_resumed)[12]


def test_the_handlers_of_signals_are_what_they_were(tmp_path):
    def own(number, frame):
        """Another program's."""

    before = [signal.signal(number, own) for number in STOPS]
    try:
        train(RUN, tmp_path / "own", signalling(signal.SIGTERM, 3))
        assert [signal.getsignal(number) for number in STOPS] == [own] * len(STOPS)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _, log = train(RUN, tmp_path / "ignored", signalling(signal.SIGINT, 3))
        assert log[-1]["step"] == 12
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in zip(STOPS, before, strict=True):
            signal.signal(number, handler)


def test_a_run_in_another_thread_trains_too(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(RUN, tmp_path)[1]))
    thread.start()
    thread.join()
    assert found[0][-1]["step"] == 12


@pytest.mark.parametrize("moment", [(torch, "save"), (os, "replace")])
def test_a_run_that_is_killed_while_saving_keeps_a_whole_checkpoint(
    tmp_path, monkeypatch, moment
):
    whole, _ = train(RUN, tmp_path / "whole", evaluate=4)
    train(RUN, tmp_path / "killed", evaluate=4, stop_after=4)

    def killed(*arguments):
        if moment[1] == "save":
            arguments[1].write(b"half a checkp")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*moment, killed)
        with pytest.raises(KeyboardInterrupt):
            train(RUN, tmp_path / "killed", evaluate=4)
    assert checkpoint_of(tmp_path / "killed")["step"] == 4
    found = sorted(os.listdir(tmp_path / "killed"))
    assert found == ["checkpoint.pt", "log.json", "run.json"]
    (tmp_path / "killed" / "checkpoint.pt.1.part").write_bytes(b"half a checkp")
    resumed, _ = train(RUN, tmp_path / "killed", evaluate=4)
    assert_same_weights(weights(whole), weights(resumed))


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
    try:
        refused = subprocess.run(mount, capture_output=True).returncode
    except FileNotFoundError:
        refused = True
    if refused:
        pytest.skip("only root on Linux can make a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_a_run_and_the_last_checkpoint_stays(tmp_path, small_disk):
    whole, _ = train(RUN, tmp_path / "whole", evaluate=4)
    folder = small_disk / "run"
    train(RUN, folder, evaluate=4, stop_after=4)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb") as file:
        for _ in range(256):
            file.write(bytes(1024))
            file.flush()
    with pytest.raises(DiskFull, match=r"no space left for .*checkpoint.pt"):
        train(RUN, folder, evaluate=4)
    assert checkpoint_of(folder)["step"] == 4
    ballast.unlink()
    resumed, _ = train(RUN, folder, evaluate=4)
    assert_same_weights(weights(whole), weights(resumed))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for a process")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_command_that_is_stopped_says_how_it_goes_on(tmp_path, number, code):
    command = [
        *(sys.executable, "-m", "rwkv_book", "train", "--corpus", str(TEXT)),
        *("--device", "cpu", "--layers", "1", "--width", "8", "--steps", "9000"),
        *("--batch", "1", "--length", "16", "--folder", str(tmp_path / "run")),
    ]
    errors = tmp_path / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen(
            command, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        while not re.search(r" [1-9]\d*/9000 ", errors.read_text()):
            assert process.poll() is None, errors.read_text()
            time.sleep(0.05)  # looking all the time would slow it down
        process.send_signal(number)
        assert process.wait(60) == code
    kept = re.search(
        r"stopped after step (\d+) of 9000: .*run keeps step \1, and the same run",
        errors.read_text(),
    )
    assert checkpoint_of(tmp_path / "run")["step"] == int(kept[1])


def test_a_run_that_was_stopped_refuses_to_be_another_one(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path, signalling(signal.SIGINT, 2))
    with pytest.raises(ValueError, match="holds a run with seed 5"):
        train(replace(RUN, seed=6), tmp_path)
