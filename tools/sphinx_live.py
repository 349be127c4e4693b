"""A Sphinx extension: the modules of the live figures become one script of the site.

A page opened from a file may load a script but no modules, so they are bundled.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENTRY = ROOT / "book" / "_static" / "live" / "live.js"
ESBUILD = ROOT / ".vendor" / "node_modules" / "esbuild" / "bin" / "esbuild"


def bundle(entry, script):
    """Write `entry` and all that it imports as one classic script."""
    node = Path(sys.executable).with_name("node")
    options = ["--bundle", "--format=iife", "--target=es2022", "--log-level=warning"]
    command = [node, ESBUILD, entry, *options, f"--outfile={script}"]
    subprocess.run(command, check=True)


def write_script(app, error):
    if error is None and app.builder.format == "html":
        bundle(ENTRY, Path(app.outdir) / "_static" / "live.js")


def setup(app):
    app.connect("build-finished", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
