"""Which RWKV a run trains, and which one a file of it holds."""

from rwkv_book import checkpoint
from rwkv_book.parallel import ALONE
from rwkv_book.parallel.sequence import table_across_ranks, wkv_across_ranks
from rwkv_book.rwkv4 import model as rwkv4
from rwkv_book.rwkv4.wkv import wkv_chunked
from rwkv_book.rwkv5 import model as rwkv5
from rwkv_book.rwkv6 import model as rwkv6
from rwkv_book.rwkv7 import model as rwkv7
from rwkv_book.training.run import VOCABULARY

LATER = {"5.2": rwkv5.RWKV, "6": rwkv6.RWKV, "7": rwkv7.RWKV}
MODELS = {"4": rwkv4.RWKV, **LATER}


def new_model(run, wkv=None, ranks=ALONE):
    """The model of a run before its first step, with the operator that `ranks` need.

    `wkv` is any form of the version's operator; None is the one that needs no compiler.
    """
    shape = VOCABULARY, run.layers, run.width
    if run.version in LATER:
        network = LATER[run.version]
        config = network.Config(*shape, head_size=run.head_size)
        operator = ranks.operators(wkv or network.usual_wkv, table_across_ranks)
        return network(config, *operator)
    operator = ranks.operators(wkv or wkv_chunked, wkv_across_ranks)
    return rwkv4.RWKV(rwkv4.Config(*shape), *operator)


def read_model(path, wkv=None, device="cpu"):
    """A published checkpoint of any version as a model to train; CheckpointError."""
    params = checkpoint.load(path)
    network = MODELS[checkpoint.version_of(params)]
    usual = wkv_chunked if network is rwkv4.RWKV else network.usual_wkv
    return network.of(params, wkv or usual, device)
