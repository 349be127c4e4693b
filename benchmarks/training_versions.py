"""How fast do RWKV-4, 5.2, 6 and 7 train, beside a GPT, and how does time grow?

    python benchmarks/training_versions.py

Part one is a training step (forward, loss, backward) of the shape that the book trains,
with parameters made equal within 1 % by hidden channels. Every RWKV has its compiled
operator, and its chunked one in PyTorch; the GPT has PyTorch's attention. The floor is
6 operations per weight and token at the speed of a large product.

Part two is a step of a small model on one text of growing length. Time is proportional
to length to the power of `exponent`, fitted over all lengths that are as long as the
one of the row or shorter, from the shortest. The process keeps the memory that it has
freed, where the C library is Linux's: else every tensor above 32 MB would be cleared
page by page by the system, and long texts would seem to cost twice as much.
"""

import argparse
import ctypes
import math
import statistics
from functools import partial

import measure
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import transformer
from rwkv_book.compiled.roofline import peak_flops
from rwkv_book.family.equation import table_chunked
from rwkv_book.family.fused import table_fused
from rwkv_book.rwkv4 import model as rwkv4
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.rwkv5 import model as rwkv5
from rwkv_book.rwkv6 import model as rwkv6
from rwkv_book.rwkv7 import model as rwkv7
from rwkv_book.training import VOCABULARY, Run

MODELS = {"RWKV-4": rwkv4, "RWKV-5.2": rwkv5, "RWKV-6": rwkv6, "RWKV-7": rwkv7}
FORMS = {name: {"fused": table_fused, "chunked": table_chunked} for name in MODELS}
FORMS |= {"RWKV-4": {"fused": wkv_fused, "chunked": wkv_chunked}, "GPT": {"": None}}
RUN = Run()
GROWTH = Run(layers=2, width=128)
LENGTHS = (1024, 4096, 16_384, 65_536)
LONGEST_GPT = 16_384  # its time grows with the square


def network(name, run, hidden=0, wkv=None):
    """A model before its first step."""
    torch.manual_seed(0)
    shape = VOCABULARY, run.layers, run.width
    if name == "GPT":
        heads = run.width // run.head_size
        config = transformer.Config(*shape, heads, hidden=hidden)
        return transformer.GPT(config)
    module = MODELS[name]
    sizes = {} if name == "RWKV-4" else {"head_size": run.head_size}
    return module.RWKV(
        module.Config(*shape, hidden, **sizes), wkv or FORMS[name]["fused"]
    )


def parameters(model):
    return sum(weights.numel() for weights in model.parameters())


def hidden_of(name, run):
    """The hidden channels with which it comes nearest to RWKV-4's parameters."""
    with torch.device("meta"):
        wanted = parameters(network("RWKV-4", run))
        one, two = (parameters(network(name, run, hidden)) for hidden in (1, 2))
    return round((wanted - one) / (two - one)) + 1


def job_for(name, run, form, tokens):
    """A training step that returns its loss; all weights are drawn, so none is 0."""
    model = network(name, run, hidden_of(name, run), FORMS[name][form])
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                torch.nn.init.normal_(weights, std=0.02)

    def step():
        model.zero_grad()
        logits, _ = model(tokens[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        return loss.detach()

    return step


def some_tokens(batch, length):
    return torch.randint(VOCABULARY, (batch, length + 1))


def versions(rounds, rate):
    """One row for each model and form of its operator."""
    tokens = some_tokens(RUN.batch, RUN.length)
    jobs, sizes = {}, {}
    for name, forms in FORMS.items():
        with torch.device("meta"):
            model = network(name, RUN, hidden_of(name, RUN))
        sizes[name] = parameters(model), model.embedding.weight.numel()
        jobs |= {
            f"{name} {form}".strip(): job_for(name, RUN, form, tokens) for form in forms
        }
    for name in MODELS:
        losses = [jobs[f"{name} {form}"]() for form in ("fused", "chunked")]
        assert abs(losses[0] - losses[1]) < 1e-4, (name, losses)
    seconds = measure.time_in_rounds(jobs, rounds)
    found = []
    for job in jobs:
        count, embedding = sizes[job.split(" ")[0]]
        floor = 6 * (count - embedding) * RUN.batch * RUN.length / rate
        middle = statistics.median(seconds[job])
        found.append(
            {
                "model": job,
                "parameters": count,
                "ms": middle * 1e3,
                "tokens/s": RUN.batch * RUN.length / middle,
                "× RWKV-4": measure.median_ratio(seconds, job, "RWKV-4 fused"),
                "× floor": middle / floor,
            }
        )
    return found


def growth(rounds):
    """One row for each model and length; the last of a model is about all lengths."""
    seconds = {}
    for length in LENGTHS:
        tokens = some_tokens(1, length)
        jobs = {
            name: job_for(name, GROWTH, next(iter(forms)), tokens)
            for name, forms in FORMS.items()
            if name != "GPT" or length <= LONGEST_GPT
        }
        for name, times in measure.time_in_rounds(jobs, rounds).items():
            seconds.setdefault(name, {})[length] = statistics.median(times)
    return [
        {
            "model": name,
            "T": length,
            "ms": times[length] * 1e3,
            "µs/token": times[length] / length * 1e6,
            "exponent": exponent({n: s for n, s in times.items() if n <= length}),
        }
        for name, times in seconds.items()
        for length in times
    ]


def keep_freed_memory():
    """Glibc's mallopt: no memory of its own for a large array, and none given back."""
    trim_threshold, mmap_max = -1, -4
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def exponent(times):
    """{length: seconds} -> the slope of their logs, by least squares."""
    if len(times) < 2:
        return ""
    x, y = ([math.log(number) for number in some] for some in (times, times.values()))
    return statistics.linear_regression(x, y).slope


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    keep_freed_memory()
    rate = peak_flops(size=2048)
    print(f"matrices multiply at {rate / 1e9:.0f} GFLOP/s\n")
    found, grown = versions(chosen.rounds, rate), growth(chosen.rounds)
    measure.print_table(found)
    measure.print_table(grown)
    record = partial(measure.record, "training-versions", "cpu", found)
    record(multiplication_rate=rate, growth=grown)


if __name__ == "__main__":
    main()
