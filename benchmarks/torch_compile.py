"""What does `torch.compile` make of the loop of WKV, and how long does it think?

    python benchmarks/torch_compile.py

One thread, forward, (1,T,768). `torch.compile` unrolls a loop of Python, so what it
gets is the loop over so many tokens, or one token alone, which Python then calls for
each; or the scan, which has no loop over tokens. Beside them `wkv_fused`, one chunk.
Results are compared before anything is timed; the time to compile is that of the first
call with empty caches.
"""

import statistics
from functools import partial
from time import perf_counter

import measure
import torch
import torch._inductor.config

from rwkv_book.rwkv4 import wkv
from rwkv_book.rwkv4.fused import wkv_fused

CHANNELS, TOLERANCE = 768, 1e-5
WHOLE = (8, 16, 32)  # tokens of a loop that is compiled as a whole
LONG = 256


def one_step(decay_rate, bonus, k, v, state):
    """A token of the recurrent form: its average, and the state after it."""
    average = state.merge(wkv.one_token(bonus + k, v)).average()
    return average, state.decay(decay_rate).merge(wkv.one_token(k, v))


def step_by_step(step, decay_rate, bonus, key, value):
    """The recurrent form with a `step` for each token."""
    state, out = wkv.empty_state(key[:, 0]), []
    for k, v in zip(key.unbind(1), value.unbind(1), strict=True):
        average, state = step(decay_rate, bonus, k, v, state)
        out.append(average)
    return torch.stack(out, dim=1), state


def inputs(length):
    torch.manual_seed(0)
    key, value = torch.randn(2, 1, length, CHANNELS)
    return torch.rand(CHANNELS), torch.randn(CHANNELS), key, value


def compiled(form, length):
    """The form as torch.compile has it, and the seconds of its first call."""
    torch._dynamo.reset()
    function = torch.compile(form, dynamic=False)
    start = perf_counter()
    function(*inputs(length))
    return function, perf_counter() - start


def rows_for(length, forms, seconds, rounds=20):
    """A row for each form, with its time beside that of wkv_fused, one of them."""
    arguments = inputs(length)
    exact, _ = wkv.wkv_attention(*(x.double() for x in arguments))
    for name, form in forms.items():
        error = (form(*arguments)[0] - exact).abs().max().item()
        assert error < TOLERANCE, (name, error)
    jobs = {name: partial(form, *arguments) for name, form in forms.items()}
    times = measure.time_in_rounds(jobs, rounds)
    return [
        {
            "tokens": length,
            "form": name,
            "s to compile": seconds.get(name, 0.0),
            "µs a token": 1e6 * statistics.median(times[name]) / length,
            "× wkv_fused": measure.median_ratio(times, name, "wkv_fused"),
        }
        for name in forms
    ]


def main():
    torch.set_num_threads(1)
    rows, fused = [], partial(wkv_fused, chunks=1)
    with torch.no_grad():
        for length in WHOLE:
            loop, seconds = compiled(wkv.wkv_recurrent, length)
            forms = {"loop": wkv.wkv_recurrent, "loop, compiled": loop}
            forms["wkv_fused"] = fused
            rows += rows_for(length, forms, {"loop, compiled": seconds})
        arguments = inputs(LONG)
        state = wkv.empty_state(arguments[2][:, 0])
        torch._dynamo.reset()
        step, start = torch.compile(one_step, dynamic=False), perf_counter()
        step(*arguments[:2], arguments[2][:, 0], arguments[3][:, 0], state)
        seconds = {"one token, compiled": perf_counter() - start}
        scan, seconds["scan, compiled"] = compiled(wkv.wkv_scan, LONG)
        forms = {
            "loop": wkv.wkv_recurrent,
            "one token, compiled": partial(step_by_step, step),
            "scan": wkv.wkv_scan,
            "scan, compiled": scan,
            "wkv_fused": fused,
        }
        rows += rows_for(LONG, forms, seconds)
    measure.print_table(rows)
    measure.record("torch-compile", "cpu", rows, channels=CHANNELS)


if __name__ == "__main__":
    with torch._inductor.config.patch(force_disable_caches=True):
        main()
