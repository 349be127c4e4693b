"""What can be typed after `python -m rwkv_book`: one file a command.

    train      train a model on a corpus; it is the only one that imports PyTorch
    generate   let a model write, on NumPy alone
    inspect    what a file of weights holds
    doctor     whether this machine can run the book, also on an old Python
    models     which file is meant by the name of a model

A command's module has `add_options(parser)`; `run(chosen)`, which gives the exit code
or None for 0; FAILURES, the errors that are not the fault of its arguments; and
SMALLER, what to do where memory runs out. Its docstring is what `--help` says. It is
imported when the command is asked for.
"""

SUMMARIES = {
    "train": "train a model on a corpus; run it again to go on after an interruption",
    "generate": "let a model go on writing from a beginning",
    "inspect": "say what a file of weights holds and what is wrong with it",
    "doctor": "say whether this machine can run the book, and what to do if not",
}
