"""Beyond one machine: several processes train one model as one process would.

Each of n processes, called ranks, holds a part of the work:

    way     a rank holds                      it sends in a step
    data    all weights, B/n sequences        2(n-1)/n of the gradients
    shard   1/n of weights, B/n sequences     (n-1)/n of weights, twice, and gradients
    time    all weights, T/n tokens of each   the state, its gradient, then as data

The first is PyTorch's DistributedDataParallel and the second its fully_shard (FSDP2).
The third is here.

    ranks         who takes part and holds what; how they come together, and get lost
    sequence      the third way: a text that no rank holds whole, in stretches
    closed_forms  what is sent in each way, and how long that takes
    messages      a counter of what is really sent
    memory        what a step keeps, shared in the stages of ZeRO, and activations
    recompute     activations that are computed again, in place of being kept
    losing        what a rank hears when another one dies or hangs
    processes     several processes of this machine, without torchrun
"""

from rwkv_book.parallel.closed_forms import (
    all_reduce_seconds,
    compute_seconds,
    payload_bytes,
    pipeline_idle,
    sent_bytes,
    tokens_to_hide_sending,
)
from rwkv_book.parallel.losing import lose_a_rank
from rwkv_book.parallel.memory import activation_bytes, zero_bytes
from rwkv_book.parallel.messages import Messages
from rwkv_book.parallel.processes import finish, run_on_ranks, start
from rwkv_book.parallel.ranks import (
    ALONE,
    PATIENCE,
    LostRank,
    Ranks,
    is_lost,
    part,
    started,
)
from rwkv_book.parallel.recompute import Recompute, Recomputed
from rwkv_book.parallel.sequence import (
    Receive,
    Send,
    pass_along,
    shift_across_ranks,
    stretch,
    sum_gradients,
    table_across_ranks,
    wkv_across_ranks,
)

__all__ = [
    "ALONE",
    "PATIENCE",
    "LostRank",
    "Messages",
    "Ranks",
    "Receive",
    "Recompute",
    "Recomputed",
    "Send",
    "activation_bytes",
    "all_reduce_seconds",
    "compute_seconds",
    "finish",
    "is_lost",
    "lose_a_rank",
    "part",
    "pass_along",
    "payload_bytes",
    "pipeline_idle",
    "run_on_ranks",
    "sent_bytes",
    "shift_across_ranks",
    "start",
    "started",
    "stretch",
    "sum_gradients",
    "table_across_ranks",
    "tokens_to_hide_sending",
    "wkv_across_ranks",
    "zero_bytes",
]
