"""What the models are asked, and what they are compared with.

    contenders   what RWKV is compared with, at one size: to build, to load, to save
    evaluation   held-out text, read by rules that are the same for all
    context      the same bytes, predicted after more and after less
    recall       what a network still knows of a name that it read before

The records of long runs are in `results`.
"""
