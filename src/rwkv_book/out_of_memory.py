"""Whether it was memory that was missing, which every library says in its own way."""

import errno

# PyTorch on a CPU and on a GPU; it and NumPy where the bytes are too many to count.
SAYINGS = (
    "can't allocate memory",
    "out of memory",
    "calculation overflowed",
    "array is too big",
    "allowed dimension exceeded",
    "can't start new thread",  # each takes memory for its stack
)


def ran_out(error):
    """Whether an error says that there is not enough memory, whoever raised it."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (RuntimeError, ValueError)):
        return any(each in str(error) for each in SAYINGS)
    return False
