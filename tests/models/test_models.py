"""The models that come with the book: what they are and what they are worth."""

import json
import re
import shutil
from importlib.resources import files

import pytest

from rwkv_book import checkpoint
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.text import corpora
from rwkv_book.training import Run, held_out_loss

FOLDER = files("rwkv_book") / "models"
PATH = checkpoint.shipped("shakespeare")
METADATA = checkpoint.metadata(PATH)
LOG = json.loads((FOLDER / "shakespeare.json").read_text(encoding="utf-8"))


def logged_loss():
    return LOG[-1]["held_out_loss"]


def test_the_file_is_small_and_in_the_published_layout():
    report = checkpoint.inspect(PATH)
    assert report.file_bytes <= 12e6
    assert 2e6 <= report.parameters <= 6e6
    assert (report.version, report.dtypes, report.deviations) == ("4", ("float16",), ())


def test_the_file_names_its_run_which_the_log_shows_to_the_end():
    run = Run(**json.loads(METADATA["run"]))
    assert LOG[-1]["step"] == run.steps
    steps = [entry["step"] for entry in LOG]
    assert steps == sorted(set(steps))
    assert METADATA["command"].startswith("python -m rwkv_book train")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert METADATA["command"] in readme


def test_the_file_the_log_and_the_readme_state_one_loss():
    stated = float(re.match(r"([\d.]+) nats per byte", METADATA["held-out loss"])[1])
    assert stated == pytest.approx(logged_loss(), abs=2e-3)  # rounded to float16
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert METADATA["held-out loss"] in readme
    assert stated <= 1.40


def test_whole_works_are_held_out_and_named():
    assert METADATA["held-out works"] == ", ".join(corpora.HELD_OUT)
    assert set(LOG[-1]["held_out_works"]) == set(corpora.HELD_OUT)


def test_the_stated_loss_is_that_of_a_work_that_it_never_saw():
    """Macbeth, from its first byte to its last. Needs the corpus: a network, once."""
    try:
        corpus = corpora.load("shakespeare")
    except corpora.CorpusError as error:
        pytest.skip(f"the corpus can't be had here: {error}")
    assert sum(map(len, corpus.validation.values())) >= 300_000
    macbeth = {"macbeth": corpus.validation["macbeth"]}
    wkv = wkv_fused if shutil.which("g++") else wkv_chunked  # the same, but faster
    loss, _ = held_out_loss(RWKV.load(PATH, wkv), macbeth)
    assert loss == pytest.approx(LOG[-1]["held_out_works"]["macbeth"], abs=2e-3)
