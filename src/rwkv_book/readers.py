"""Many readers of one model: their states lie side by side, one row for each.

    fork        one state for many who go on from it
    read_each   texts of any lengths, each read to its own end and no further

A network is `forward(tokens, state) -> logits, state` with one tensor for a state, the
first axis of which counts texts: any RWKV of this book.
"""

import torch


def fork(state, count):
    """`count` copies of one text's state, (1,...) -> (count,...).

    Copies and not views: whoever writes into one leaves the others as they are.
    """
    return torch.cat([state] * count)


@torch.no_grad()
def read_each(network, texts, state=None, batch=64):
    """The logits after each text (n,V), and its state (n,...).

    `texts` are bytes or lists of tokens; `state` has one row, from which all go on, or
    one for each. Nothing is filled up: texts are read side by side as far as the
    shortest goes, it leaves, and the others read on. ValueError for an empty text.
    """
    if any(len(text) == 0 for text in texts):
        raise ValueError("a text is empty: nothing can be read to its end")
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    found = {}
    for start in range(0, len(texts), batch):
        group = order[start : start + batch]
        rows = network.initial_state() if state is None else state
        rows = fork(rows, len(group)) if len(rows) == 1 else rows[group]
        found |= read_group(network, group, texts, rows)
    logits, states = zip(*(found[n] for n in range(len(texts))), strict=True)
    return torch.stack(logits), torch.stack(states)


def read_group(network, group, texts, state):
    """{n: (logits, state)} of texts in the order of their lengths."""
    found, at = {}, 0
    while group:
        end = len(texts[group[0]])
        piece = torch.tensor([list(texts[n][at:end]) for n in group])
        logits, state = network(piece, state)
        done = sum(len(texts[n]) == end for n in group)
        for row in range(done):
            found[group[row]] = logits[row, -1].clone(), state[row].clone()
        group, state, at = group[done:], state[done:], end
    return found
