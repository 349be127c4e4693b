"""Limits that a system sets to a process, as `ulimit` does: real ones."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

has_limits = pytest.mark.skipif(
    sys.platform != "linux", reason="sets limits as Linux has them"
)


@contextmanager
def limited(name, most):
    """Within it this process has no more of something than `most`."""
    import resource  # not there on Windows

    which = getattr(resource, name)
    before = resource.getrlimit(which)
    resource.setrlimit(which, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


def files_of_at_most(size):
    """Within it no file can grow beyond so many bytes."""
    return limited("RLIMIT_FSIZE", size)


def memory_for(more):
    """Within it this process can have so many bytes of memory more than it has."""
    size = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return limited("RLIMIT_AS", int(size[1]) * 1024 + more)
