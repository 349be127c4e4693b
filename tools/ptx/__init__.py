"""A GPU's own instructions, on a machine without a GPU.

instructions.py   what each instruction of PTX does, in a line of C++
program.py        a text in PTX as lists of numbers
machine.py        runs them thread by thread, and looks at every access to memory
kernel.py         a `__global__` function on it, with arrays of NumPy
__main__.py       exercise 10.6 on it: `python -m tools.ptx my_kernel.cu`

PTX is the last text before the machine code of one kind of GPU: memory, threads and
rounding are in it, registers and time are not. It takes NVRTC to make it and g++ to
build the machine.
"""
