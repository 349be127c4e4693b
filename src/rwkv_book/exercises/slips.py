"""A likely wrong answer to each exercise that only Python can check.

`slip_04_3` answers exercise 04.3 as a reader in a hurry would. A page without a kernel
shows its source beside what the check says of it, which is worked out when the page is
built: nothing here says what is wrong.
"""

import ast
import math
import shutil
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from rwkv_book import attention
from rwkv_book.exercises import diagnose
from rwkv_book.rwkv4 import minimal
from rwkv_book.rwkv4.kernels import SOURCE

NEEDS = {"10.4": "g++", "10.6": "g++"}  # what a check can't do without


def name_of(number):
    """ "04.3" -> "slip_04_3" """
    return f"slip_{number.replace('.', '_')}"


@cache
def sources():
    """{name: the lines of the statement that makes it} of all slips."""
    text = Path(__file__).read_text(encoding="utf-8")
    lines, found = text.splitlines(), {}
    for statement in ast.parse(text).body:
        named = statement.targets[0] if isinstance(statement, ast.Assign) else statement
        name = getattr(named, "id", getattr(named, "name", ""))
        if name.startswith("slip_"):
            found[name] = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
    return found


def can_be_checked(number):
    """Whether an exercise has a slip, and this machine what its check needs."""
    needed = NEEDS.get(number)
    return name_of(number) in sources() and (not needed or bool(shutil.which(needed)))


def source(number):
    """The slip of an exercise as it is written; KeyError for one without a slip."""
    return sources()[name_of(number)]


@cache
def diagnosis(number):
    """What the check of an exercise says of its slip: "Not yet. ..."."""
    return diagnose(number, globals()[name_of(number)])


# --- chapter 1 ------------------------------------------------------------------------


def slip_01_3(x, hidden, cell, input_weight, state_weight, bias):
    gates = x @ input_weight.T + hidden @ state_weight.T + bias
    keep, write, candidate, show_it = gates.chunk(4, dim=1)
    cell = keep.sigmoid() * cell + write.sigmoid() * candidate.tanh()
    return show_it.sigmoid() * cell.tanh(), cell


def slip_01_4(first_right, second_right):
    middle = first_right.mean() - second_right.mean()
    variance = (first_right.var() + second_right.var()) / len(first_right)
    return middle - 1.96 * variance**0.5, middle + 1.96 * variance**0.5


def slip_01_5(network):
    with torch.no_grad():
        network.trunk.lstm.bias_ih_l0[32:64] = -20
    return network


def slip_01_6(outputs, lengths):
    return outputs.mean(1)


# --- chapter 2 ------------------------------------------------------------------------


def slip_02_3(query, key, value):
    length, size = query.shape
    products = query @ key.T / math.sqrt(size)  # (T,T)
    seen = torch.ones(length, length).tril()
    return (products * seen).softmax(1) @ value


def slip_02_4(query, key, value, cache):
    keys, values = key[None], value[None]
    if cache is not None:
        keys = torch.cat([cache[0], keys])
        values = torch.cat([cache[1], values])
    weights = (keys @ query / math.sqrt(len(keys))).softmax(0)
    return weights @ values, (keys, values)


def slip_02_5(query, key, value, causal):
    length = query.shape[2]
    seen = torch.ones(length, length, dtype=torch.bool).tril(-1)
    products = attention.scores(query, key).masked_fill(~seen, -torch.inf)
    return products.softmax(-1) @ value


# --- chapter 3 ------------------------------------------------------------------------


def slip_03_3(query, key, value):
    query, key = attention.features(query), attention.features(key)
    num, den, out = 0 * torch.outer(key[0], value[0]), 0 * key[0], []
    for q, k, v in zip(query, key, value):
        out.append(q @ num / (q @ den))
        num, den = num + torch.outer(k, v), den + k
    return torch.stack(out)


def slip_03_4(query, key, value, decay_rate):
    query, key = attention.features(query), attention.features(key)
    num, den, out = 0, 0, []
    for q, k, v in zip(query, key, value):
        num = math.exp(-decay_rate) * num + torch.outer(k, v)
        den = den + k
        out.append(q @ num / (q @ den))
    return torch.stack(out)


slip_03_5 = torch.eye(16)


# --- chapter 4 ------------------------------------------------------------------------


def slip_04_3(decay_rate, bonus, key, value):
    num, den = np.zeros_like(value[0]), np.zeros_like(value[0])
    log_scale, out = np.full_like(value[0], -np.inf), []
    for k, v in zip(key, value):
        log_scale = log_scale - decay_rate
        top = np.maximum(log_scale, k + bonus)
        past, now = np.exp(log_scale - top), np.exp(k + bonus - top)
        out.append((past * num + now * v) / (past * den + now))
        top = np.maximum(log_scale, k)
        past, now = np.exp(log_scale - top), np.exp(k - top)
        num, den, log_scale = past * num + now * v, past * den + now, top
    return np.array(out)


def slip_04_4(first, second, length, decay_rate):
    older, newer = first[2] - decay_rate, second[2]
    top = np.maximum(older, newer)
    past, now = np.exp(older - top), np.exp(newer - top)
    return past * first[0] + now * second[0], past * first[1] + now * second[1], top


# --- chapter 5 ------------------------------------------------------------------------


def slip_05_3(text, endings, params):
    state, costs = minimal.initial_state(params), []
    for token in [0, *text.encode()]:
        logits, state = minimal.step(token, state, params)
    for ending in endings:
        costs.append(0.0)
        for token in ending.encode():
            costs[-1] += np.logaddexp.reduce(logits.astype(float)) - logits[token]
            logits, state = minimal.step(token, state, params)
    return costs


def slip_05_5(logits, temperature, least):
    weights = np.exp((logits - np.max(logits)) / temperature)
    probabilities = weights / weights.sum()
    probabilities[probabilities < least] = 0
    return probabilities / probabilities.sum()


# --- chapter 6 ------------------------------------------------------------------------


def slip_06_3(tokens, network, piece):
    nats = []
    for start in range(0, len(tokens) - 1, piece):
        read = tokens[start : start + piece + 1]
        logits, _ = network(read[None, :-1])
        nats.append(cross_entropy(logits[0], read[1:], reduction="none"))
    return torch.cat(nats)


def slip_06_5(parts, lengths, decay_rate):
    total = parts[0]
    for part, length in zip(parts[1:], lengths[:-1]):
        total = total.decay(length * decay_rate).merge(part)
    return total


# --- chapter 7 ------------------------------------------------------------------------


def slip_07_2(model, inputs, targets, through):
    state = None
    for start in range(0, inputs.shape[1], through):
        piece = slice(start, start + through)
        logits, state = model(inputs[:, piece], state)
        loss = cross_entropy(logits.flatten(0, 1), targets[:, piece].flatten())
        loss.backward()
        state = state.detach()


def slip_07_3(run, step):
    if step < run.warm_up:
        return run.learning_rate * (step + 1) / run.warm_up
    flat = run.warm_up + (run.steps - run.warm_up) * 4 // 5
    down = max(0, step - flat) / (run.steps - 1 - flat)
    return run.learning_rate + (run.final_learning_rate - run.learning_rate) * down


# --- chapter 8 ------------------------------------------------------------------------

slip_08_1 = 2.8  # where the best run ended


def slip_08_3(ours, theirs):
    gaps = [a - b for a, b in zip(ours.values(), theirs.values())]
    half = 3.18 * stdev(gaps) / math.sqrt(len(gaps))
    return mean(gaps) - half, mean(gaps) + half


slip_08_4 = 0.25


# --- chapter 9 ------------------------------------------------------------------------


def slip_09_3(network, pieces):
    network.zero_grad()
    for inputs, targets in pieces:
        logits, _ = network(inputs)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        (loss / len(pieces)).backward()


# --- chapter 10 -----------------------------------------------------------------------

slip_10_3 = ("carried", "decayed")

slip_10_4 = SOURCE.text.replace(
    SOURCE.part("merge"),
    """DEVICE Sums merge(Sums x, Sums y, real w) {
  real of_x = exponential(x.log_scale - x.age * w);
  real of_y = exponential(y.log_scale - y.age * w);
  return {of_x * x.num + of_y * y.num, of_x * x.den + of_y * y.den,
          y.log_scale, y.age};
}""",
)

slip_10_5 = 0.5  # half a number for each key

slip_10_6 = """
__global__ void shift(const float* x, const float* mix, float* out,
                      int B, int T, int C) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= B * T * C) return;
  float before = i >= C ? x[i - C] : 0, share = mix[i % C];
  out[i] = share * x[i] + (1 - share) * before;
}"""


# --- chapter 11 -----------------------------------------------------------------------


def slip_11_3(budget, parameters, price, peak, utilisation):
    return budget / price * peak * utilisation / (6 * parameters)


slip_11_4 = [2.10, 3.22, 3.15, 3.50]  # zero block 0, measure, go on to block 1


# --- chapter 12 -----------------------------------------------------------------------


def slip_12_3(decay, bonus, receptance, key, value, table):
    table = table * decay + np.outer(value, key)
    return table @ receptance, table


def slip_12_4(first, second, log_decay):
    return (first + second) * np.exp(log_decay.sum(axis=0))


# --- chapter 13 -----------------------------------------------------------------------


def slip_13_3(table, decay, key, value, removed, rate):
    table = table * decay
    found = table @ removed
    return table - np.outer(found, removed * rate) + np.outer(value, key)


def slip_13_4(removed, rate, key, value):
    return np.tril(removed @ key.T, -1) @ value


slip_13_5 = (1, 0), (1, 1), (0, 1), (1, 1)


# --- chapter 14 -----------------------------------------------------------------------


def slip_14_3(size, first, second):
    along = np.zeros(size)
    along[first], along[second] = 1, -1
    return np.eye(size) - 2 * np.outer(along, along)


slip_14_4 = (1, 3**0.5), (1, 0)


# --- chapter 15 -----------------------------------------------------------------------


def slip_15_3(x, other):
    return tuple(
        (each - each.mean(0)) / np.maximum(each.std(0), 1e-9) for each in (x, other)
    )


def slip_15_4(network, state, questions):
    answers = []
    for question in questions:
        logits, state = network(torch.tensor([question]), state)
        answers.append(logits[0, -1])
    return torch.stack(answers)


# --- chapter 16 -----------------------------------------------------------------------


def slip_16_3(log_decay, key, value, rate):
    return -key, rate * key, rate * value


def slip_16_4(text):
    at = text.rfind(text[-1], 0, -1)
    return text[at + 1] if at >= 0 else None


slip_16_5 = 15 * "ab"
