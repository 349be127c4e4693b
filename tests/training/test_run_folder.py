"""A run's folder: nothing is written in vain, and what is damaged is named."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_run import (
    RUN,
    TINY,
    assert_same_weights,
    checkpoint_of,
    export,
    train,
    weights,
)

from rwkv_book import checkpoint
from rwkv_book.text.corpora import Corpus, CorpusError
from rwkv_book.training import Run


@pytest.fixture
def begun(tmp_path):
    """A folder whose run has done 4 of its 12 steps."""
    train(RUN, tmp_path / "begun", evaluate=4, stop_after=4)
    return tmp_path / "begun"


# Before anything is written.


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({"length": 600_000}, {}, "has no window of 600001: lower length"),
        ({"width": 1}, {}, "width must be at least 2"),
        ({}, {"device": "quantum"}, r"the device quantum can't be used .*: use cpu"),
        ({}, {"corpus": replace(TINY, validation={})}, "no work is held out"),
        ({}, {"corpus": replace(TINY, training={})}, "1 bytes has no window of 17"),
        (
            {},
            {"corpus": replace(TINY, validation={"three": b""})},
            r"empty works are held out \(three\)",
        ),
    ],
)
def test_a_run_that_can_not_begin_leaves_no_folder(
    tmp_path, changes, options, sentence
):
    with pytest.raises(ValueError, match=sentence):
        train(replace(RUN, **changes), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_a_device_that_this_machine_has_not_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match=r"the device cuda can't be used"):
        train(RUN, tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


def test_a_corpus_that_there_is_not_leaves_no_folder(tmp_path):
    with pytest.raises(CorpusError):
        train(replace(RUN, corpus="no such corpus"), tmp_path / "run", corpus=None)
    assert not (tmp_path / "run").exists()


def test_a_run_that_kept_nothing_gives_way_to_another(tmp_path):
    with pytest.raises(FloatingPointError):
        train(replace(RUN, learning_rate=1e30), tmp_path)
    assert os.listdir(tmp_path) == ["run.json"]
    _, log = train(RUN, tmp_path)
    assert log[-1]["step"] == 12
    assert json.loads((tmp_path / "run.json").read_text())["learning_rate"] == 2e-3


def test_another_run_does_not_go_on_in_the_same_folder(begun):
    before = (begun / "run.json").read_text()
    other = replace(RUN, width=16, learning_rate=0.5)
    with pytest.raises(
        ValueError, match=r"holds a run with width 8, learning_rate 0\.0"
    ):
        train(other, begun)
    assert (begun / "run.json").read_text() == before
    train(RUN, begun, stop_after=1)


# A text that has changed.


def test_a_corpus_that_has_changed_is_not_gone_on_with(begun):
    other = replace(TINY, training=TINY.training | {"two": b"a rose is no rose. " * 9})
    sentence = "the corpus tiny has changed since the run in .* began: bring the old"
    with pytest.raises(ValueError, match=sentence):
        train(RUN, begun, corpus=other)
    assert train(RUN, begun)[1][-1]["step"] == 12
    with pytest.raises(ValueError, match=sentence):  # nor is another loss measured
        train(RUN, begun, corpus=replace(TINY, validation={"three": b"a cat"}))


def test_a_folder_from_before_corpora_had_digests_goes_on(begun):
    saved = json.loads((begun / "run.json").read_text())
    del saved["corpus_digest"]
    (begun / "run.json").write_text(json.dumps(saved))
    old = checkpoint_of(begun)
    for name in ("losses", "seconds"):
        del old[name]
    torch.save(old, begun / "checkpoint.pt")
    resumed, _ = train(RUN, begun)
    whole, _ = train(RUN, begun.parent / "whole")
    assert_same_weights(weights(whole), weights(resumed))


def test_a_checkpoint_of_more_steps_is_that_of_a_longer_run(begun):
    train(RUN, begun, stop_after=2)
    (begun / "run.json").unlink()
    with pytest.raises(ValueError, match=r"keeps step 6 of a longer run: ask for as"):
        train(replace(RUN, steps=5), begun)


# What is damaged.


@pytest.mark.parametrize(
    "content", [b"", b'{"corpus": "ti', b"[1, 2]", b"\xff\xfe", b"[" * 10**5]
)
def test_a_damaged_run_json_is_named(begun, content):
    (begun / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json is damaged \(.*\): delete it"):
        train(RUN, begun)
    (begun / "run.json").unlink()
    assert train(RUN, begun)[1][-1]["step"] == 12


def empty(path):
    path.write_bytes(b"")


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zip_of_something_else(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("letter.txt", "not a tensor")


def text(path):
    path.write_text("not a tensor")


def object_of_another_kind(path):
    torch.save({"path": Path("of no tensor")}, path)


def only_a_tensor(path):
    torch.save(torch.ones(3), path)


def only_weights(path):
    saved = torch.load(path, weights_only=True)
    torch.save(saved["model"], path)


def other_shape(path):
    saved = torch.load(path, weights_only=True)
    saved["model"]["head.weight"] = torch.ones(256, 16)
    torch.save(saved, path)


def missing_tensor(path):
    saved = torch.load(path, weights_only=True)
    del saved["model"]["head.weight"]
    torch.save(saved, path)


def other_moments(path):
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["state"][0]["exp_avg"] = torch.ones(2, 2)
    torch.save(saved, path)


def other_optimizer(path):
    saved = torch.load(path, weights_only=True)
    saved["optimizer"] = torch.optim.SGD([torch.ones(1)]).state_dict()
    torch.save(saved, path)


def weights_of_another_kind(path):
    saved = torch.load(path, weights_only=True)
    saved["model"]["head.weight"] = "a name"
    torch.save(saved, path)


def moments_in_a_list(path):
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["state"] = []
    torch.save(saved, path)


def groups_of_another_kind(path):
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["param_groups"] = [1]
    torch.save(saved, path)


def losses_in_a_list(path):
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {"losses": [1.0]}, path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (empty, "damaged, or no checkpoint"),
        (half, "damaged, or no checkpoint"),
        (zip_of_something_else, "damaged, or no checkpoint"),
        (text, "damaged, or no checkpoint"),
        (object_of_another_kind, "damaged, or no checkpoint"),
        (only_a_tensor, "it has no model, optimizer, step, log"),
        (only_weights, "it has no model, optimizer, step, log"),
        (other_shape, r"head.weight is \(256, 16\), not \(256, 8\)"),
        (missing_tensor, "head.weight is missing"),
        (other_moments, r"exp_avg of parameter 0 is \(2, 2\)"),
        (other_optimizer, "its optimizer is another one"),
        (weights_of_another_kind, "something in it is of another kind"),
        (moments_in_a_list, "something in it is of another kind"),
        (groups_of_another_kind, "something in it is of another kind"),
        (losses_in_a_list, "something in it is of another kind"),
    ],
)
def test_a_damaged_checkpoint_is_named(begun, damage, sentence):
    damage(begun / "checkpoint.pt")
    with pytest.raises(ValueError, match=rf"checkpoint\.pt is .*{sentence}") as error:
        train(RUN, begun)
    assert "delete it to begin the run again from step 0" in str(error.value)
    (begun / "checkpoint.pt").unlink()
    resumed, _ = train(RUN, begun, evaluate=4)
    whole, _ = train(RUN, begun.parent / "whole", evaluate=4)
    assert_same_weights(weights(whole), weights(resumed))


def test_a_log_that_was_lost_is_written_again(begun):
    before = json.loads((begun / "log.json").read_text())
    (begun / "log.json").unlink()
    train(RUN, begun, evaluate=100, stop_after=0)
    assert json.loads((begun / "log.json").read_text()) == before


# Places and names.


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file is a file: name a folder for the run"):
        train(RUN, tmp_path / "file")
    sentence = r"run can't be written \(Not a directory\): name another one"
    with pytest.raises(OSError, match=sentence):
        train(RUN, tmp_path / "file" / "run")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_can_not_be_written_is_refused():
    with pytest.raises(OSError, match=r"the folder /proc/run can't be written"):
        train(RUN, "/proc/run")


def test_files_have_the_permissions_that_the_umask_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        train(RUN, tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["run.json", "log.json", "checkpoint.pt"], 0o640)


def odd_folder(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("the file system takes no such name")
    return folder


def test_a_run_goes_on_in_a_folder_whose_name_is_not_utf_8(tmp_path):
    folder = odd_folder(tmp_path)
    train(RUN, folder, evaluate=4, stop_after=5)
    resumed, log = train(RUN, folder, evaluate=4)
    whole, _ = train(RUN, tmp_path / "whole", evaluate=4)
    assert_same_weights(weights(whole), weights(resumed))
    path = folder / "model.safetensors"
    loss = export(resumed, RUN, path, f"train --folder {folder}")
    assert loss == pytest.approx(log[-1]["held_out_loss"], abs=0.01)
    assert checkpoint.metadata(path)["command"].endswith(r"caf\udce9")


def test_the_corpus_of_a_run_may_be_a_path_with_any_name(tmp_path):
    odd = os.fsdecode(b"caf\xe9 noir.txt")
    run = replace(RUN, corpus=tmp_path / odd)
    assert run.corpus == str(tmp_path / odd)
    works = {os.fsdecode(b"th\xe9"): b"the rose sat on a cat. "}
    corpus = Corpus(odd, TINY.training, works)
    train(run, tmp_path / "run", evaluate=4, stop_after=4, corpus=corpus)
    model, _ = train(run, tmp_path / "run", evaluate=4, corpus=corpus)
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    del saved["corpus_digest"]
    assert Run(**saved) == run
    path = tmp_path / "model.safetensors"
    export(model, run, path, f"train --corpus {odd}", corpus=corpus)
    metadata = checkpoint.metadata(path)
    assert metadata["corpus"].endswith(r"caf\udce9 noir.txt")
    assert metadata["held-out works"] == r"th\udce9"
    assert metadata["command"] == r"train --corpus caf\udce9 noir.txt"
    assert Run(**json.loads(metadata["run"])) == run
