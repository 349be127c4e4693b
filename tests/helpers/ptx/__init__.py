"""A GPU that runs PTX, for operators that know nothing of it.

nvrtc   what NVRTC makes of a source: PTX, and how many registers it takes
driver  a stand-in for NVIDIA's driver, whose GPU is the machine of tools/ptx
device  the operators of the book on that GPU
"""
