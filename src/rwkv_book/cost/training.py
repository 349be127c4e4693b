"""What training takes: FLOPs a token and in all, and hours of an accelerator."""


def training_flops_per_token(forward_flops_per_token):
    """Forward once, and backward twice: for the inputs and for the weights."""
    return 3 * forward_flops_per_token


def training_flops(parameters, tokens):
    """The rule of thumb, 6ND: all parameters count as if they were in matrices."""
    return 6 * parameters * tokens


def gpu_hours(flops, flops_per_second, utilisation=1.0):
    """Hours of one accelerator; `utilisation` is the part of its peak that is used."""
    return flops / (flops_per_second * utilisation) / 3600


def utilisation(flops, flops_per_second, hours):
    """The part of the peak that a run used, from the accelerator hours that it took."""
    return gpu_hours(flops, flops_per_second) / hours
