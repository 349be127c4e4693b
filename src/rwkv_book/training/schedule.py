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
    """AdamW, with weight decay on matrices only: vectors are rates and scales."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": run.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.learning_rate, betas=(0.9, 0.99))
