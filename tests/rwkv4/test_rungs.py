"""The ladder of a GPU: every rung is wkv.cu with a few places as they were."""

from itertools import pairwise

import pytest
import torch
from helpers.kernels import needs_compiler

from rwkv_book import results
from rwkv_book.rwkv4 import rungs, wkv
from rwkv_book.rwkv4.fused import from_source
from rwkv_book.rwkv4.kernels import SOURCE

(RECORD,) = results.of("gpu-rungs")


def test_the_last_rung_is_the_text_as_it_is_and_no_two_are_alike():
    sources = [rungs.source(rung) for rung in rungs.RUNGS]
    assert sources[-1].whole_on_gpu == SOURCE.whole_on_gpu
    wholes = [source.whole_on_gpu for source in sources]
    one_text = [(rung.undone, rung.one_pass) for rung in rungs.RUNGS]
    assert len(set(wholes)) == len(set(one_text))


def test_each_rung_undoes_no_more_than_the_one_below():
    undone = [set(rung.undone) for rung in rungs.RUNGS]
    assert undone[0] == set(rungs.EDITS) and undone[-1] == set()
    for below, above in pairwise(undone):
        assert above <= below and len(below - above) <= 1


@needs_compiler
@pytest.mark.parametrize("rung", rungs.RUNGS[:3], ids=lambda rung: rung.name)
def test_every_rung_computes_the_same(rung):
    source = rungs.source(rung)
    form = from_source(source.text, source.hardware)
    torch.manual_seed(0)
    key, value = torch.randn(2, 2, 37, 5)
    tensors = torch.rand(5), torch.randn(5), key, value
    exact, _ = wkv.wkv_attention(*(x.double() for x in tensors))
    out, _ = form(*tensors, chunks=rung.chunks)
    assert torch.allclose(out.double(), exact, atol=1e-5)


def test_what_was_predicted_says_so_and_of_every_rung():
    assert RECORD["predicted"] and "predicted" in RECORD["device"]
    names = [rung.name for rung in rungs.RUNGS]
    assert list(dict.fromkeys(row["rung"] for row in RECORD["rows"])) == names


def test_the_two_faults_are_where_the_chapter_says():
    rows = {(row["rung"], row["kernel"]): row for row in RECORD["rows"]}
    first = rows["16 tokens at a time", "forward"]
    mended = rows["reads without a branch", "forward"]
    assert first["waits"] > 8 and first["on the way"] <= 4
    assert (mended["waits"], mended["on the way"]) == (1, 32)
    assert first["predicted, µs"] > 2 * mended["predicted, µs"]
    unbound = rows["time in 8 chunks", "sum_chunks"]
    bound = rows["launch bounds", "sum_chunks"]
    assert unbound["registers"] <= 32 < bound["registers"]
    assert unbound["on the way"] <= 2 and bound["on the way"] >= 16
    assert unbound["predicted, µs"] > 5 * bound["predicted, µs"]
