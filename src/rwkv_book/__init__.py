"""The package behind the RWKV book: each idea once, short enough to print in a chapter.

Rooms, in reading order:

    folders       where files are kept, and how one is written whole
    out_of_memory whether it was memory that was missing, whoever says so
    language      what figures and checks say, in the reader's language
    layers        what the networks to train share: checks, shift, initial values
    rnn           Elman's network and the LSTM: a state that reads one token at a time
    attention     softmax attention, and the ways to make it cheaper
    transformer   a small GPT, which keeps all that it has read
    rwkv4         RWKV-4: entire in 100 lines, its operator in all forms, to train
    family        one recurrence in all forms, of which RWKV-5, 6 and 7 are cases
    rwkv5         RWKV-5: entire in 100 lines, its operator
    rwkv6         RWKV-6: entire in 100 lines, its operator
    rwkv7         RWKV-7: entire in 100 lines, its operator
    compiled      what compiled kernels need: hardware, cache, an emulator, the floor
    checkpoint    published files of weights: names, checks, downloads
    states        what a model has read, as a file: to go on from, to put together
    first_states  what a model begins a text with, in the files people exchange
    readers       many who go on from states, side by side, none hearing another
    text          tokens and back, the texts that the book reads
    training      batches, schedule, loop, held-out loss; each part left out once
    parallel      several processes train one model, in three ways
    labs          what the models are asked, and what they are compared with
    results       what was measured of all that, with device, versions and date
    cost          parameters, FLOPs, bytes, hours and money, in closed form
    show          source code, figures and sliders in the chapters
    exercises     what is wrong with an answer
    doctor        whether this machine can run all that, and what to do if not
    commands      what `python -m rwkv_book` can be asked, one file a command

Importing this package imports none of them: the NumPy chapters never load PyTorch.
"""
