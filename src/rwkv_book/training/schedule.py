"""How far a step goes: the learning rate, and the optimizer that it is for."""

import math

import torch


def learning_rate(run, step):
    """Linear warm-up, then half a cosine down to the final rate at the last step."""
    if step < run.warm_up:
        return run.learning_rate * (step + 1) / run.warm_up
    progress = (step - run.warm_up) / max(1, run.steps - 1 - run.warm_up)
    height = run.learning_rate - run.final_learning_rate
    return run.final_learning_rate + height * (1 + math.cos(math.pi * progress)) / 2


def make_optimizer(model, run):
    """AdamW, with weight decay on matrices only: vectors are rates and scales.

    A model may have parameters that are `faster`, {end of a name: factor}: their
    learning rate is a multiple of the others'. In such a model a matrix is what is
    called weight; low ranks and what each head has do not decay.
    """
    faster = getattr(model, "faster", None)
    groups = {}
    for name, weights in model.named_parameters():
        matrix = weights.ndim >= 2 and (faster is None or name.endswith(".weight"))
        ends = [end for end in faster or {} if name.endswith(end)]
        rate = faster[ends[0]] if ends else 1.0
        groups.setdefault((not matrix, rate), []).append(weights)
    groups = [
        {
            "params": weights,
            "weight_decay": 0.0 if vectors else run.weight_decay,
            "rate": rate,
        }
        for (vectors, rate), weights in sorted(groups.items(), key=lambda item: item[0])
    ]
    return torch.optim.AdamW(groups, lr=run.learning_rate, betas=(0.9, 0.99))
