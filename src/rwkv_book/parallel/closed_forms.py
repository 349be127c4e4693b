"""What several processes send in a step, in closed form, and how long that takes."""

from rwkv_book import cost


def payload_bytes(way, shape, batch, ranks, bytes_per_number=4):
    """What each rank puts into each kind of message of a step: [{kind: bytes}].

    `shape` is a model's, `batch` counts all sequences. FSDP2 gathers the weights of a
    block forward and again backward, and those outside of blocks once; it adds zeros to
    tensors whose first axis `ranks` does not divide, which are not counted here.
    """
    weights = cost.rwkv_parameters(shape) * bytes_per_number
    outside = 2 * (shape.vocabulary + 2) * shape.width * bytes_per_number
    state = cost.rwkv_state_bytes(shape, bytes_per_number) * batch
    if way == "data":
        return [{"all_reduce": weights}] * ranks
    if way == "shard":
        gathered = 2 * weights - outside
        return [{"all_gather": gathered, "reduce_scatter": weights}] * ranks
    borders = [(rank > 0) + (rank < ranks - 1) for rank in range(ranks)]
    return [{"send": state * count, "all_reduce": weights} for count in borders]


def sent_bytes(payload, ranks):
    """What of {kind: bytes} leaves a rank when the ranks pass pieces on in a ring.

    Gloo, on CPUs, scatters by way of an all-reduce, and sends twice as much for that.
    """
    once = (ranks - 1) / ranks
    leaves = {"all_reduce": 2 * once, "all_gather": once, "reduce_scatter": once}
    return sum(leaves.get(kind, 1) * size for kind, size in payload.items())


def compute_seconds(parameters, tokens, ranks, flops_per_second):
    """6ND shared by all ranks; `flops_per_second` is what one of them reaches."""
    return cost.training_flops(parameters, tokens) / (ranks * flops_per_second)


def all_reduce_seconds(parameters, ranks, bytes_per_second, bytes_per_number=4):
    """2(n-1)/n of the gradients, over what leaves a rank in a second."""
    payload = {"all_reduce": parameters * bytes_per_number}
    return sent_bytes(payload, ranks) / bytes_per_second


def tokens_to_hide_sending(
    ranks, flops_per_second, bytes_per_second, bytes_per_number=4
):
    """The tokens of a rank in a step that take as long to compute as to send for.

    The size of the model cancels: each parameter is sent once and used by each token.
    """
    sending = all_reduce_seconds(1, ranks, bytes_per_second, bytes_per_number)
    return sending / compute_seconds(1, 1, 1, flops_per_second)


def pipeline_idle(layers, ranks):
    """(n-1) / (L+n-1): the part of the time that ranks wait if they pass states late.

    That is, if a rank begins a layer when the one before has ended it. With sums that
    are passed on first, as in `wkv_across_ranks`, only n-1 short messages are waited
    for in each layer.
    """
    return (ranks - 1) / (layers + ranks - 1)
