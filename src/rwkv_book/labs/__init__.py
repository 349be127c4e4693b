"""What the models are asked, and what they are compared with.

    contenders   what RWKV is compared with, at one size: to build, to load, to save
    evaluation   held-out text, read by rules that are the same for all
    swapping     cheaper attentions in the place of softmax in a trained layer
    recall       what a network still knows of a name that it read before

The records of long runs are in `results`.
"""
