"""What a training step keeps in memory: in closed form, and counted.

A parameter that is trained needs more than itself: its gradient, and Adam's two
averages. Who shares which of these among n ranks is the stage of ZeRO: 1 the averages,
2 the gradients too, 3 also the weights (FSDP). What is kept of the forward pass for the
backward pass, the activations, comes on top and grows with the batch.
Source: Rajbhandari et al. 2020, arXiv 1910.02054.
"""

import torch
from torch.nn.functional import cross_entropy

OPTIMIZER_BYTES = 12  # a weight in float32 and Adam's two averages of its gradient


def zero_bytes(parameters, ranks, stage, weight=2, gradient=2, rest=OPTIMIZER_BYTES):
    """Bytes on each rank with a stage of ZeRO, 0 to 3; without activations.

    Weights and gradients in bfloat16, beside a float32 copy and the averages, unless
    told otherwise. ValueError for a stage that there isn't.
    """
    if stage not in range(4):
        raise ValueError(f"stage must be 0, 1, 2 or 3, got {stage!r}")
    shares = [ranks if stage >= first else 1 for first in (3, 2, 1)]
    sizes = (weight, gradient, rest)
    return parameters * sum(size / n for size, n in zip(sizes, shares, strict=True))


def activation_bytes(model, tokens, bfloat16=False):
    """What a forward pass of tokens (B,T+1) keeps for the backward pass, in bytes.

    Every tensor counts once, with all that it keeps alive; the weights don't count.
    """
    weights = {own.untyped_storage().data_ptr() for own in model.parameters()}
    kept = {}  # the storages too: a place that is freed could be another's

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), storage
        return tensor.detach()  # the tensor itself would keep its own graph alive

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(tokens.device.type, torch.bfloat16, enabled=bfloat16),
    ):
        logits, _ = model(tokens[:, :-1])
        loss = cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
    del loss
    return sum(size for size, _ in kept.values())
