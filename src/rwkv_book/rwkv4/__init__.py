"""RWKV-4, in the files that every version of RWKV has here.

names     what its tensors are called, here and in published files
minimal   entire, in NumPy, in 100 lines
wkv       its operator in four forms that give the same numbers
fused     that operator compiled from wkv.cu, at the speed of the hardware
model     the same network to train, parallel in time
"""
