"""RWKV-4, in the files that every version of RWKV has here.

    names        what its tensors are called, here and in published files
    minimal      entire, in NumPy, in 100 lines
    wkv          its operator in four forms that give the same numbers
    fused        that operator compiled from wkv.cu, at the speed of the hardware, and
                 on a GPU from one_pass.cu, which reads every key once
    kernels      what is launched for it, forward and backward
    derivatives  its gradients
    threads      the threads of these kernels, token by token, on a machine to watch
    rungs        wkv.cu as it was, edit by edit, until it was fast on a GPU
    trial        what a changed wkv.cu computes, in a process of its own
    bounds       the FLOPs and bytes that no kernel for it can do without
    model        the same network to train, parallel in time

Every version of RWKV has files of these names in a room of its own.
"""
