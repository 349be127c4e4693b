"""Disks that are full, and folders that can only be read: real ones, where one may."""

import os
import subprocess
from contextlib import contextmanager

import pytest


def mount(*arguments):
    """Run mount, or skip the test: it takes root, on Linux."""
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"run it as root on Linux, which may mount a disk: {error}")


@contextmanager
def small_disk(folder, kibibytes=64):
    """A folder that is a disk of a few KiB."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def read_only(folder):
    """A folder in which nothing can be written, not even by root."""
    if os.geteuid():
        mode = folder.stat().st_mode
        folder.chmod(0o500)
        yield folder
        folder.chmod(mode)
        return
    mount("--bind", str(folder), str(folder))
    try:
        mount("-o", "remount,ro,bind", str(folder))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
