"""Everything that waits for an NVIDIA GPU, in one command and within 8 minutes.

    python benchmarks/on_a_gpu.py

Each kernel first, on a few texts: where one computes wrong nothing is timed. Then what
decides between designs, the most important first, then all tests that are marked
`cuda`. A step that is not done in its time is stopped and named, and the next begins;
what does not fit into the eight minutes is named as well.
"""

import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import torch

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
MINUTES = 8
FEW = (  # of every kernel and stored type
    "compiled/test_gpu.py",
    "rwkv4/test_fused.py::test_half_types_are_rounded_once",
    "rwkv4/test_fused.py::test_nothing_overflows",
    "family/test_table_fused.py::test_half_types_are_rounded_once",
    "family/test_table_fused.py::test_a_text_may_be_cut_anywhere",
)


class Step(NamedTuple):
    """What Python is asked to run, and for how many seconds at most."""

    seconds: int
    arguments: list
    needed: bool = False  # for all that follows


def tests(*which):
    paths = [str(TESTS / each) for each in which]
    return ["-m", "pytest", "-q", "-x", "-m", "cuda", *paths]


def benchmark(name, *options):
    return [str(HERE / f"{name}.py"), "--device=cuda", *options]


STEPS = [
    Step(90, tests(*FEW), needed=True),
    Step(60, benchmark("chunks", "--dtype=bfloat16")),
    Step(90, benchmark("operator_forms", "--dtype=bfloat16")),
    Step(60, benchmark("table_forms")),
    Step(60, benchmark("training_step")),
    Step(60, benchmark("operator_forms", "--dtype=float32")),
    Step(480, tests("compiled", "rwkv4", "family")),
]


def run(steps, seconds):
    """What went wrong, a line each: every step in its time, all within `seconds`."""
    end, wrong = monotonic() + seconds, []
    for number, step in enumerate(steps):
        limit = min(step.seconds, end - monotonic())
        print(f"\n$ python {' '.join(step.arguments)}", flush=True)
        try:
            if limit <= 0:
                raise TimeoutError(f"no time was left of {seconds} seconds")
            subprocess.run([sys.executable, *step.arguments], timeout=limit, check=True)
        except (subprocess.SubprocessError, TimeoutError) as error:
            wrong.append(f"step {number + 1}: {error}")
            if step.needed:
                return [*wrong, "Nothing was timed."]
    return wrong


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("There is no NVIDIA GPU here, or PyTorch was built without CUDA.")
    print(torch.cuda.get_device_name(), torch.__version__, torch.version.cuda)
    sys.exit("\n".join(run(STEPS, 60 * MINUTES)))
