"""What this process really sends: a counter beside the closed forms."""

from typing import ClassVar

from torch.utils._python_dispatch import TorchDispatchMode


class Messages(TorchDispatchMode):
    """Counts what this rank puts into each kind of message, in `payload_bytes`.

    That is the whole tensor that is summed, gathered or scattered, and what is sent to
    one other rank. `sent_bytes` says how much of it leaves the rank.
    """

    KINDS: ClassVar = {  # the operator's name: our name, and its argument that is whole
        "allreduce_": ("all_reduce", 0),
        "_allgather_base_": ("all_gather", 0),
        "_reduce_scatter_base_": ("reduce_scatter", 1),
        "send": ("send", 0),
    }

    def __init__(self):
        super().__init__()
        self.payload_bytes = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.name().removeprefix("c10d::")
        if name in self.KINDS:
            kind, position = self.KINDS[name]
            tensors = args[position]
            tensors = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            size = sum(tensor.nbytes for tensor in tensors)
            self.payload_bytes[kind] = self.payload_bytes.get(kind, 0) + size
        return operator(*args, **(kwargs or {}))
