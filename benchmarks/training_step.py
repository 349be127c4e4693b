"""How much of a training step does the operator take?

    python benchmarks/training_step.py [--device cuda]

A step is forward, loss and backward of the same network with another form of the
operator. Its floor is 6 operations per weight and token, at the speed of a large
product of matrices.
"""

import argparse
import statistics

import measure
import torch
from torch.nn.functional import cross_entropy

from rwkv_book.compiled.roofline import peak_flops
from rwkv_book.rwkv4.fused import wkv_fused
from rwkv_book.rwkv4.model import RWKV, Config
from rwkv_book.rwkv4.wkv import wkv_chunked, wkv_scan

FORMS = {"fused": wkv_fused, "chunked": wkv_chunked, "scan": wkv_scan}
SIZES = {  # vocabulary, layers, width; batch, tokens
    "cpu": [((256, 4, 256), (8, 512)), ((256, 6, 384), (4, 1024))],
    "cuda": [((256, 4, 256), (8, 512)), ((50_277, 12, 768), (8, 1024))],
}


def job_for(config, wkv, tokens, device):
    """A step that returns its loss and every gradient in one row."""
    torch.manual_seed(0)
    model = RWKV(config, wkv).to(device)
    for layer in model.blocks:  # the initial zeros would hide the operator
        torch.nn.init.normal_(layer.time_mix.output.weight, std=0.02)
        torch.nn.init.normal_(layer.time_mix.key.weight, std=0.02)

    def step():
        model.zero_grad()
        logits, _ = model(tokens[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        return loss.detach(), [parameter.grad for parameter in model.parameters()]

    return step


def assert_same(jobs):
    first, *others = (job() for job in jobs.values())
    for name, (loss, gradients) in zip(list(jobs)[1:], others, strict=True):
        assert abs(loss - first[0]) < 1e-4, name
        for found, wanted in zip(gradients, first[1], strict=True):
            error = (found - wanted).abs().max()
            assert error <= 1e-3 * wanted.abs().max() + 1e-7, (name, error)


def rows_for(size, shape, device, rounds, rate):
    config, (batch, length) = Config(*size), shape
    tokens = torch.randint(size[0], (batch, length + 1), device=device)
    jobs = {name: job_for(config, wkv, tokens, device) for name, wkv in FORMS.items()}
    assert_same(jobs)
    with torch.device("meta"):
        model = RWKV(config)
    weights = (
        sum(p.numel() for p in model.parameters()) - model.embedding.weight.numel()
    )
    floor = 6 * weights * batch * length / rate
    seconds = measure.time_in_rounds(jobs, rounds, device)
    return [
        {
            "operator": name,
            "V,L,C": ",".join(map(str, size)),
            "B,T": ",".join(map(str, shape)),
            "ms": statistics.median(seconds[name]) * 1e3,
            "tokens/s": batch * length / statistics.median(seconds[name]),
            "× fused": measure.median_ratio(seconds, name, "fused"),
            "× floor": statistics.median(seconds[name]) / floor,
        }
        for name in jobs
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=SIZES, default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = 8192 if options.device == "cuda" else 2048
    rate, rows = peak_flops(options.device, size), []
    print(f"matrices multiply at {rate / 1e9:.0f} GFLOP/s\n")
    for size, shape in SIZES[options.device]:
        new = rows_for(size, shape, options.device, options.rounds, rate)
        measure.print_table(new)
        rows += new
    measure.record("training-step", options.device, rows, multiplication_rate=rate)
