"""Train an RWKV on bytes: batches, schedule, loop, held-out loss, and resuming.

A run's folder holds `run.json` (what was asked for), `log.json` (what was seen),
`checkpoint.pt` (all that is needed to go on) and, after the last step,
`model.safetensors` in the published layout. The windows of a step depend on the seed
and the step's number alone, so a run that was interrupted and resumed reads the same
bytes and ends in the same weights as one that was not.

    run         all that decides how a run ends
    versions    which RWKV it trains
    batches     what a step reads
    schedule    the learning rate of a step, and the optimizer
    loop        a step, and step after step: behind all that is trained here
    held_out    the loss on works that were held out
    carry_out   a run in its folder: train, export
    keeping     when a checkpoint is written
    folder      the folder of a run, and run.json in it
    resume      checkpoint.pt: written, checked, read again
    stopping    signals, which wait for the end of a step
    quick       a small GPT, trained while a chapter runs
    ablations   what each part of training is for: leave it out and compare
    tuning      another manner, by a first state, low ranks or all weights
"""

from rwkv_book.training.batches import join, windows
from rwkv_book.training.carry_out import export, fast_wkv, train
from rwkv_book.training.held_out import held_out_loss
from rwkv_book.training.loop import check_loss, fit, training_step
from rwkv_book.training.quick import QUICK_GPT, quick_gpt
from rwkv_book.training.run import VOCABULARY, Run
from rwkv_book.training.schedule import learning_rate, make_optimizer
from rwkv_book.training.versions import new_model, read_model

__all__ = [
    "QUICK_GPT",
    "VOCABULARY",
    "Run",
    "check_loss",
    "export",
    "fast_wkv",
    "fit",
    "held_out_loss",
    "join",
    "learning_rate",
    "make_optimizer",
    "new_model",
    "quick_gpt",
    "read_model",
    "train",
    "training_step",
    "windows",
]
