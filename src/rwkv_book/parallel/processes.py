"""Processes of this machine that talk to each other, started without torchrun."""

import multiprocessing
import tempfile
import time
from multiprocessing import connection

import torch
import torch.distributed as dist


def run_on_ranks(function, *arguments, ranks=2, seconds=300):
    """What function(*arguments) returns in each of `ranks` new processes, as a list.

    They run on the CPU of this machine, one thread each, and can talk to each other.
    `function` is one that a new process can import, and returns tensors or numbers.
    RuntimeError where a process fails, or takes longer than `seconds`.
    """
    with tempfile.TemporaryDirectory() as folder:
        processes = start(member, function, arguments, ranks, folder, ranks=ranks)
        codes = finish(processes, seconds)
        if any(codes):
            raise RuntimeError(
                f"{ranks} processes ended with {codes}, where 0 is well and below 0 "
                f"was ended after {seconds} seconds: the first error is on stderr"
            )
        return [torch.load(f"{folder}/{rank}") for rank in range(ranks)]


def start(function, *arguments, ranks):
    """Processes that call function(rank, *arguments)."""
    methods = multiprocessing.get_all_start_methods()
    # a server imports all of PyTorch that is needed once, and each process is a copy
    method = "forkserver" if "forkserver" in methods else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    processes = [
        context.Process(target=function, args=(rank, *arguments), daemon=True)
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes, seconds):
    """Their exit codes; after one has failed, or after `seconds`, the rest is ended."""
    deadline = time.monotonic() + seconds
    running = {process.sentinel: process for process in processes}
    while running and time.monotonic() < deadline:
        for sentinel in connection.wait(running, deadline - time.monotonic()):
            if running.pop(sentinel).exitcode:
                deadline = min(deadline, time.monotonic() + 5)
    for process in running.values():
        process.kill()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def member(rank, function, arguments, ranks, folder):
    """One of the processes of `run_on_ranks`."""
    torch.set_num_threads(1)
    where = f"file://{folder}/meeting"
    dist.init_process_group("gloo", where, rank=rank, world_size=ranks)
    dist.barrier()  # all have met: whoever is done first may now leave
    torch.save(function(*arguments), f"{folder}/{rank}")
    dist.destroy_process_group()
