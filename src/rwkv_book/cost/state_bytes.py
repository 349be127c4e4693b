"""What is kept of the tokens that were read, in bytes: a state, or a growing cache."""


def rwkv_state_bytes(shape, bytes_per_number=4):
    """5CL numbers for a sequence of any length, in float32 unless told otherwise."""
    return 5 * shape.width * shape.layers * bytes_per_number


def table_state_bytes(shape, bytes_per_number=4):
    """(2 + N)CL numbers in RWKV-5, 6 and 7: two rows of C, and C/N tables of N by N."""
    rows = 2 + shape.head_size
    return rows * shape.width * shape.layers * bytes_per_number


def kv_cache_bytes(shape, tokens, bytes_per_number=2):
    """2CL numbers for every token that was read, a key and a value in each layer."""
    return 2 * shape.width * shape.layers * tokens * bytes_per_number


def lstm_state_bytes(shape, bytes_per_number=4):
    """2CL numbers, hidden and cell of each layer, for a sequence of any length."""
    return 2 * shape.width * shape.layers * bytes_per_number


def break_even_tokens(shape, state_bytes_per_number=4, cache_bytes_per_number=2):
    """After how many tokens a transformer's cache is as large as RWKV-4's state.

    5CL·s / 2CL·c = 5s / 2c, whatever L and C: 5 tokens for s = 4 and c = 2.
    """
    state = rwkv_state_bytes(shape, state_bytes_per_number)
    return state / kv_cache_bytes(shape, 1, cache_bytes_per_number)


def table_break_even_tokens(shape, state_bytes_per_number=4, cache_bytes_per_number=2):
    """The same for RWKV-5, 6 and 7: (2 + N)s / 2c, 66 tokens for heads of 64."""
    state = table_state_bytes(shape, state_bytes_per_number)
    return state / kv_cache_bytes(shape, 1, cache_bytes_per_number)
