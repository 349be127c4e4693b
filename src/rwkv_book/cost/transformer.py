"""A transformer, `transformer.GPT`: how many parameters, and how many FLOPs a token."""


def gpt_parameters(shape, positions=0):
    """VC + (4C² + 2CF)L + (9C + F)L + 2C, and C for each of the learned positions.

    `transformer.GPT`, which is GPT-2: C² each for query, key, value and output, biases,
    and a head that is the embedding once more.
    """
    vectors = (9 * shape.width + shape.hidden) * shape.layers + 2 * shape.width
    return gpt_matrix_parameters(shape) + vectors + positions * shape.width


def gpt_matrix_parameters(shape):
    """VC + (4C² + 2CF)L, where VC is the head."""
    width, hidden = shape.width, shape.hidden
    layer = 4 * width**2 + 2 * width * hidden
    return shape.vocabulary * width + layer * shape.layers


def gpt_forward_flops_per_token(shape, context):
    """2 a matrix parameter, and 4CL for every token that this one is compared with.

    `context` is the length T for a program that computes all pairs and hides half of
    them, and (T + 1) / 2 on average for one that leaves the hidden half out.
    """
    attention = 4 * shape.width * shape.layers * context
    return 2 * gpt_matrix_parameters(shape) + attention
