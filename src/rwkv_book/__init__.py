"""The package behind the RWKV book: each idea once, short enough to print in a chapter.

In reading order:

    rnn          Elman's network and the LSTM: a state that reads one token at a time
    reviews      film reviews with a verdict, and a loop that learns them
    attention    softmax attention, and the ways to make it cheaper
    transformer  a small GPT, which keeps all that it has read
    minimal      RWKV-4 entire, in NumPy, in 100 lines
    wkv          its operator in four forms that give the same numbers
    fused        that operator compiled, at the speed of the hardware
    kernels      its source as a text: to read in parts, to change, to try
    emulator     its threads, token by token, on a machine to watch
    roofline     what it launches, moves and computes, and the floor
    model        the same network to train, parallel in time
    tokenizer    text to tokens and back
    checkpoint   published files of weights: names, checks, downloads
    states       what a model has read, as a file: to go on from, to put together
    corpora      the texts that the book trains on
    distributed  several processes train one model, in three ways
    training     batches, schedule, loop, held-out loss
    ablations    what each part of training is for: without it, once
    contenders   what RWKV is compared with, at one size: to build, to load, to measure
    memory       what a network still knows of a name that it read before
    results      what was measured of all that, with device, versions and date
    cost         parameters, FLOPs, bytes, hours and money, in closed form
    show         source code, figures and sliders in the chapters
    live         figures that compute in the reader's page, and in a kernel
    calculator   what training costs, with sliders
    exercises    what is wrong with an answer
    doctor       whether this machine can run all that, and what to do if not

Importing this package imports none of them: the NumPy chapters never load PyTorch.
"""
