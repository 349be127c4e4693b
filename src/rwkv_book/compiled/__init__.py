"""What compiled kernels need, whatever they compute.

    hardware.h  types, vectors, loads and stores: put before the text of every kernel
    source      that text: to read in parts, to change, to compile
    cpu         a source compiled by g++, called through ctypes
    gpu         the same source compiled by NVRTC, launched by cuda.core
    cache       what was compiled, kept between runs
    nvrtc       what that compiler makes of a text, as a text: PTX
    emulator    threads, step by step, on a machine small enough to watch
    warps       a `__global__` function, thread by thread, every access seen
    derivatives which derivatives a compiled operator has, and what is refused
    narrow      matrices that stay in 16 bits when they multiply (product.cpp, on a CPU)
    roofline    what is launched, moved and computed, and the floor

Nothing is compiled at import or at installation.
"""
