"""What no form of the recurrence can read, and the table that it begins with.

Shapes and types only: no number is looked at, so that nothing waits for a GPU.
"""


def checked(log_decay, receptance, key, value, remove, replace, state):
    """The state, or zeros in its place; ValueError names all that doesn't fit."""
    if key.ndim != 4 or key.shape[1] == 0:
        shape = tuple(key.shape)
        raise ValueError(f"key must be (B,T,H,N) with at least one token, got {shape}")
    batch, length, heads, size = key.shape
    if value.ndim != 4:
        raise ValueError(f"value must be (B,T,H,M), got {tuple(value.shape)}")
    if (remove is None) != (replace is None):
        raise ValueError("remove and replace come together, or not at all")
    expected = {
        "log_decay": (log_decay, tuple(key.shape)),
        "receptance": (receptance, tuple(key.shape)),
        "value": (value, (batch, length, heads, value.shape[-1])),
        "remove": (remove, tuple(key.shape)),
        "replace": (replace, tuple(key.shape)),
        "state": (state, (batch, heads, value.shape[-1], size)),
    }
    given = {name: pair for name, pair in expected.items() if pair[0] is not None}
    problems = [
        f"{name} must be {shape}, got {tuple(tensor.shape)}"
        for name, (tensor, shape) in given.items()
        if tuple(tensor.shape) != shape
    ]
    problems += [
        f"{name} must be floating point, got {tensor.dtype}"
        for name, (tensor, _) in given.items()
        if not tensor.is_floating_point()
    ]
    if problems:
        raise ValueError("; ".join(problems))
    if state is None:
        state = value.new_zeros(batch, heads, value.shape[-1], size)
    return state
