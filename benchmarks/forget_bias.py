"""From which initial forget bias does an LSTM learn to keep one bit?

    python benchmarks/forget_bias.py [--tiny]

The task of chapter 1: read random bits, then say what the first one was. An LSTM of
width 16 is trained from each of several initial biases of its forget gate, Elman's
network as PyTorch starts it and with U = 1 (the state is kept until something changes
it), all with the same batches. Each gets a search of its own for the learning rate,
from seeds that are not used again; then it is trained from other seeds at the best one.
A row has the probability that the network gives to the truth, on new bits: 0.5 is a
coin. `cell` is what sigmoid(bias) leaves after all the steps. It takes about eight
minutes of one core, and records what it has after each network.
"""

import argparse
import math
from statistics import mean

import measure
import torch
from torch import nn

from rwkv_book.text import reviews

WIDTH, STEPS, BATCH = 16, 200, 64
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BIASES = (0, 1, 2, 3, 4, 5, 6, 8)


def recall(bias, gap, rate, seed, steps=STEPS):
    """What a trained network gives to the truth; `bias` may be a start of Elman's."""
    torch.manual_seed(seed)
    kind = nn.RNN if isinstance(bias, str) else nn.LSTM
    network = kind(2, WIDTH, batch_first=True)
    if bias == "U = 1":
        nn.init.eye_(network.weight_hh_l0)
    elif bias != "as it is":
        nn.init.constant_(network.bias_hh_l0.data[WIDTH : 2 * WIDTH], 0.0)
        nn.init.constant_(network.bias_ih_l0.data[WIDTH : 2 * WIDTH], bias)
    both = nn.ModuleList([network, nn.Linear(WIDTH, 2)])
    batches = [(torch.randint(2, (BATCH, gap)),) for _ in range(steps)]
    reviews.train(both, loss_of, batches, rate)
    with torch.no_grad():
        return math.exp(-loss_of(both, torch.randint(2, (1000, gap))).item())


def loss_of(parts, bits):
    """Nats per text: how surprising its first bit is after its last."""
    network, head = parts
    logits = head(network(torch.eye(2)[bits])[0][:, -1])
    return nn.functional.cross_entropy(logits, bits[:, 0])


def row_of(bias, gap, seeds, steps=STEPS, rates=RATES):
    searched = {
        rate: mean(recall(bias, gap, rate, seed, steps) for seed in (1000, 1001))
        for rate in rates
    }
    rate = max(searched, key=searched.get)
    found = [round(recall(bias, gap, rate, seed, steps), 3) for seed in range(seeds)]
    network = "Elman" if isinstance(bias, str) else "LSTM"
    row = {"network": network, "bias": bias, "gap": gap, "rate": rate, "found": found}
    row["searched"] = {str(rate): round(p, 3) for rate, p in searched.items()}
    if network == "LSTM":
        row["cell"] = (1 / (1 + math.exp(-bias))) ** (gap - 1)
    return row


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="seconds, not recorded")
    tiny = parser.parse_args(arguments).tiny
    torch.set_num_threads(1)
    rows = []
    for bias in ("as it is", "U = 1", *BIASES):
        rows.append(row_of(bias, 5, 2, 3) if tiny else row_of(bias, 40, 10))
        print(rows[-1], flush=True)
        if not tiny:
            measure.record("forget-bias", "cpu", rows, width=WIDTH, steps=STEPS)


if __name__ == "__main__":
    main()
