"""RWKV-5 (5.2): a table for each head in place of two sums for each channel.

    names    what its tensors are called, here and in published files
    minimal  entire, in NumPy
    wkv      its operator, a case of family.equation
    model    the same network to train

What did not change since RWKV-4 is taken from its room.
"""
