"""What accelerators can do, by their data sheets, and what their hours cost."""

from typing import NamedTuple


class Accelerator(NamedTuple):
    """Peak 16-bit FLOP/s of dense matrix products, bytes/s from memory, its bytes."""

    flops_per_second: float
    bytes_per_second: float
    memory_bytes: float


# NVIDIA's data sheets: the SXM versions, the A100 with 80 GB. The sheets of the newer
# two print twice these FLOP/s, for matrices of which half is zeros.
ACCELERATORS = {
    "A100": Accelerator(312e12, 2.039e12, 80e9),
    "H100": Accelerator(989e12, 3.35e12, 80e9),
    "H200": Accelerator(989e12, 4.8e12, 141e9),
}


def dollars(hours, dollars_per_hour):
    """What accelerator hours cost."""
    return hours * dollars_per_hour
