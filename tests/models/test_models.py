"""The models that come with the book: what they are and what they are worth."""

import json
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import pytest

from rwkv_book import checkpoint
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.text import corpora
from rwkv_book.training import Run, fast_wkv, held_out_loss, read_model

FOLDER = files("rwkv_book") / "models"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Model:
    """A model of the book: its name, its version, the loss that it stays below."""

    name: str
    version: str
    bound: float

    @cached_property
    def path(self):
        return checkpoint.shipped(self.name)

    @cached_property
    def metadata(self):
        return checkpoint.metadata(self.path)

    @cached_property
    def log(self):
        return json.loads((FOLDER / f"{self.name}.json").read_text(encoding="utf-8"))


MODELS = [Model("shakespeare", "4", 1.40), Model("shakespeare7", "7", 1.40)]
each = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@each
def test_the_file_is_small_and_in_the_published_layout(model):
    report = checkpoint.inspect(model.path)
    assert report.file_bytes <= 8e6
    assert 2e6 <= report.parameters <= 6e6
    assert (report.version, report.dtypes) == (model.version, ("float16",))
    assert report.deviations == ()


@each
def test_the_file_names_its_run_which_the_log_shows_to_the_end(model):
    run = Run(**json.loads(model.metadata["run"]))
    assert (run.version, model.log[-1]["step"]) == (model.version, run.steps)
    steps = [entry["step"] for entry in model.log]
    assert steps == sorted(set(steps))
    assert model.metadata["command"].startswith("python -m rwkv_book train")
    assert f"\n{model.metadata['command']}\n" in README


@each
def test_the_file_the_log_and_the_readme_state_one_loss(model):
    said = model.metadata["held-out loss"]
    stated = float(re.match(r"([\d.]+) nats per byte", said)[1])
    logged = model.log[-1]["held_out_loss"]
    assert stated == pytest.approx(logged, abs=2e-3)  # rounded to float16
    assert said in README
    assert stated <= model.bound


@each
def test_whole_works_are_held_out_and_named(model):
    assert model.metadata["held-out works"] == ", ".join(corpora.HELD_OUT)
    assert set(model.log[-1]["held_out_works"]) == set(corpora.HELD_OUT)


@each
def test_the_stated_loss_is_that_of_a_work_that_it_never_saw(model):
    """Macbeth, from its first byte to its last. Needs the corpus: a network, once."""
    try:
        corpus = corpora.load("shakespeare")
    except corpora.CorpusError as error:
        pytest.skip(f"the corpus can't be had here: {error}")
    assert sum(map(len, corpus.validation.values())) >= 300_000
    macbeth = {"macbeth": corpus.validation["macbeth"]}
    fast = wkv_fused if model.version == "4" else fast_wkv(model.version)
    wkv = fast if shutil.which("g++") else None  # the same, but faster
    loss, _ = held_out_loss(read_model(model.path, wkv), macbeth)
    assert loss == pytest.approx(model.log[-1]["held_out_works"]["macbeth"], abs=2e-3)
