"""What waits for a GPU: every step names what is there, and none holds up the rest."""

from pathlib import Path

import on_a_gpu
import pytest
from on_a_gpu import Step, run


def printing(text, path):
    return ["-c", f"open({str(path)!r}, 'a').write({text!r})"]


def test_each_step_has_its_time_and_the_next_one_begins(tmp_path):
    path = tmp_path / "done.txt"
    wrong = run(
        [
            Step(60, printing("a", path)),
            Step(1, ["-c", "import time; time.sleep(50)"]),
            Step(60, ["-c", "raise SystemExit(3)"]),
            Step(60, printing("b", path)),
        ],
        60,
    )
    assert path.read_text() == "ab"
    late, failed = wrong
    assert late.startswith("step 2:") and "timed out after" in late
    assert failed.startswith("step 3:") and "exit status 3" in failed


def test_what_computes_wrong_is_not_timed(tmp_path):
    path = tmp_path / "done.txt"
    steps = [Step(60, ["-c", "1 / 0"], needed=True), Step(60, printing("a", path))]
    assert run(steps, 60)[-1] == "Nothing was timed."
    assert not path.exists()


def test_what_does_not_fit_into_the_time_is_named(tmp_path):
    path = tmp_path / "done.txt"
    steps = [Step(9, ["-c", "import time; time.sleep(9)"]), Step(9, printing("", path))]
    assert "no time was left of 1 seconds" in run(steps, 1)[1]
    assert not path.exists()


def test_what_must_run_takes_less_than_the_whole_time():
    *steps, the_rest = on_a_gpu.STEPS
    assert sum(step.seconds for step in steps) <= 60 * on_a_gpu.MINUTES - 30
    assert the_rest.arguments[:2] == ["-m", "pytest"]


@pytest.mark.parametrize("test", on_a_gpu.FEW)
def test_a_test_that_is_named_is_there(test):
    path, _, name = test.partition("::")
    source = (on_a_gpu.TESTS / path).read_text()
    assert "pytest.mark.cuda" in source or "needs_gpu" in source or "DEVICES" in source
    assert f"def {name}(" in source or not name


@pytest.mark.parametrize("step", on_a_gpu.STEPS, ids=lambda step: step.arguments[0])
def test_a_benchmark_knows_its_options(step):
    first, *options = step.arguments
    if first == "-m":
        return
    source = Path(first).read_text()
    for option in options:
        name, _, value = option.partition("=")
        assert f'"{name}"' in source and f'"{value}"' in source
