"""RWKV-7: a token first takes out what stands under a key, then writes.

    names    what its tensors are called, here and in published files
    minimal  entire, in NumPy
    wkv      its operator, a case of family.equation
    model    the same network to train

What did not change since RWKV-5 and 6 is taken from their rooms.
"""
