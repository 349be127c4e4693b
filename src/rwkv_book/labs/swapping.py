"""Cheaper attentions in the place of softmax in a trained layer, on equal terms.

Every method gets the same lessons: three matrices a head, through which it receives the
layer's queries, keys and values, and what it has to learn of its own. `errors` says how
far its output is from that of softmax before and after them.
"""

from functools import partial

import torch

from rwkv_book import attention

TEXTS = 4  # in a step of the lessons


def average(query, key, value, causal=False):
    """All tokens alike: what is left of attention when nothing is compared."""
    return attention.softmax_attention(0 * query, key, value, causal)


def methods(lessons, budget, seed=0):
    """{name: (method, what it learns of its own, masked)}, each keeping `budget`.

    `lessons` are a query, key and value (B,H,T,N). Linformer's sums begin as means of
    stretches, AFT's table as the mean scores of the lessons.
    """
    query, key, _ = lessons
    generator = torch.Generator().manual_seed(seed)
    features = attention.orthogonal_projection(budget, key.shape[-1], generator)
    sums = attention.segment_means(torch.eye(key.shape[2]), budget).T.contiguous()
    masked = {
        "longformer": (partial(attention.longformer, window=budget - 1), []),
        "linear": (attention.linear_attention_pairs, []),
        "performer": (partial(attention.performer_pairs, projection=features), []),
        "aft full": (attention.aft_full_products, [attention.mean_scores(query, key)]),
        "average": (average, []),
    }
    unmasked = {
        "linformer": (attention.linformer, [sums, sums]),
        "nystromformer": (partial(attention.nystromformer, landmarks=budget), []),
    }
    masked = {name: (partial(f, causal=True), own) for name, (f, own) in masked.items()}
    both = masked | unmasked
    return {name: (*parts, name in masked) for name, parts in both.items()}


def errors(name, rate, seed, lessons, judged, budget=16):
    """The errors on each of the layers' inputs in `judged`, before and after lessons.

    Adam changes the matrices at a learning rate, with a step for every four texts of
    the lessons, in an order of the seed. An error is the length of the difference to
    the output of softmax, as a fraction of that output.
    """
    method, own, masked = methods(lessons, budget, seed)[name]
    heads, size = lessons[0].shape[1], lessons[0].shape[-1]
    one = torch.eye(size).repeat(heads, 1, 1)
    params = [x.clone().requires_grad_() for x in (one, one, one, *own)]

    def error(texts):
        exact = attention.softmax_attention(*texts, causal=masked)
        asked = [x @ matrix for x, matrix in zip(texts, params[:3], strict=True)]
        out = method(*asked, *params[3:])
        return (out - exact).norm() / exact.norm()

    def errors_now():
        with torch.no_grad():
            return [error(texts).item() for texts in judged]

    before, optimizer = errors_now(), torch.optim.Adam(params, rate)
    generator = torch.Generator().manual_seed(seed)
    for few in torch.randperm(len(lessons[0]), generator=generator).split(TEXTS):
        optimizer.zero_grad()
        error([x[few] for x in lessons]).backward()
        optimizer.step()
    return before, errors_now()
