"""RWKV-6: the decay, and how far to look back, depend on the token.

    names    what its tensors are called, here and in published files
    minimal  entire, in NumPy
    wkv      its operator, a case of family.equation
    model    the same network to train

What did not change since RWKV-5 is taken from its room.
"""
