"""Build the environment that environment.yml names, as far as pip alone can.

    python -m tools.checks.environment .environment

Binder makes it with conda. Here a virtual environment takes conda's place, and the rest
is the same: the packages below `pip:` and nothing else, then postBuild.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tools.contents import ROOT


def python_and_packages():
    """('3.11', the lines for pip) from environment.yml."""
    named = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    (version,) = (
        entry.removeprefix("python=")
        for entry in named["dependencies"]
        if str(entry).startswith("python=")
    )
    return version, named["dependencies"][-1]["pip"]


def build(folder):
    version, packages = python_and_packages()
    running = "{}.{}".format(*sys.version_info)
    if running != version:
        raise SystemExit(
            f"environment.yml names Python {version}, and this is {running}: remove "
            f".venv, and make it anew with `make PYTHON=python{version} env`"
        )
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join(packages) + "\n", "utf-8")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--timeout", "15"]
    subprocess.run([*pip, "--retries", "0", "-r", wanted], check=True)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", ROOT / "postBuild"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "COPIES": str(folder / "notebooks")},
        check=True,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
