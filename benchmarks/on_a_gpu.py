"""Everything that waits for an NVIDIA GPU, in one command and under 8 minutes.

    python benchmarks/on_a_gpu.py

First the tests marked `cuda`; what fails there is not timed. Then the operator beside
its peers, the number of chunks, and a training step; each is given a limit.
"""

import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
TESTS = [
    "-m",
    "pytest",
    "-q",
    "-m",
    "cuda",
    str(HERE.parent / "tests" / "rwkv4" / "test_fused.py"),
]
STEPS = [
    (120, [str(HERE / "operator_forms.py"), "--device=cuda", "--dtype=bfloat16"]),
    (90, [str(HERE / "operator_forms.py"), "--device=cuda", "--dtype=float32"]),
    (60, [str(HERE / "chunks.py"), "--device=cuda", "--dtype=bfloat16"]),
    (60, [str(HERE / "training_step.py"), "--device=cuda"]),
]

if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("There is no NVIDIA GPU here, or PyTorch was built without CUDA.")
    print(torch.cuda.get_device_name(), torch.__version__, torch.version.cuda)
    subprocess.run([sys.executable, *TESTS], timeout=150, check=True)
    failed = []
    for limit, step in STEPS:
        print(f"\n$ python {' '.join(step)}", flush=True)
        try:
            subprocess.run([sys.executable, *step], timeout=limit, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            failed.append(str(error))
    sys.exit("\n".join(failed))
