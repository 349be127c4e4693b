"""A GPU's own instructions, on a machine without a GPU.

    nvrtc         what NVRTC makes of a source: PTX, and how many registers it takes
    instructions  what each instruction of PTX does, in a line of C++
    program       a text in PTX as lists of numbers
    machine       runs them thread by thread, and looks at every access to memory
    driver        a stand-in for NVIDIA's driver, whose GPU is that machine
    device        the operators of the book on that GPU

PTX is the last text before the machine code of one kind of GPU: memory, threads and
rounding are in it, registers and time are not.
"""
