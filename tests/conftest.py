"""One thread a worker, and a loud last word where the browser check did not run."""

import gc
import signal

import pytest
import torch

from rwkv_book import checkpoint

# The tensors of tests are small and `make test` runs a worker a core: threads that wait
# for each other's turn cost more than they compute.
torch.set_num_threads(1)

# A shell that starts `make test &` lets it ignore Ctrl-C, and so would the processes
# that some tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Thousands of tests stay until the end, and no collection need look at them.

    The package `rwkv` collects for every model that it loads.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def poisoned_memory():
    """Memory that nobody wrote to reads as NaN, so that it can't pass for a result."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def params():
    """The weights of the model that comes with the book."""
    return checkpoint.load(checkpoint.shipped())


@pytest.fixture
def seed():
    """The same random numbers whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture
def ctrl_c():
    """As in a terminal: what a shell runs in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_terminal_summary(terminalreporter):
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "tests/pages/" in report.nodeid
    ]
    if skipped:
        terminalreporter.section("THE BROWSER CHECK DID NOT RUN", "!", bold=True)
        terminalreporter.write_line(
            f"{len(skipped)} checks of the built pages were skipped: "
            "Chromium was not found.\n"
            "Install it (on Debian: apt-get install chromium), then: make check-site"
        )
        terminalreporter.section("", "!")
