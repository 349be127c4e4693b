"""What compiled kernels need, whatever they compute.

cpu        a source compiled by g++, called through ctypes
gpu        the same source compiled by NVRTC, launched by cuda.core
cache      what was compiled, kept between runs
source     that source as a text: to read in parts, to change, to try
emulator   its threads, token by token, on a machine to watch
roofline   what is launched, moved and computed, and the floor
"""
