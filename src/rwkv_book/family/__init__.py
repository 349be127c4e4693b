"""What RWKV-5, 6, 7 and their relatives have in common: a state that is a table.

equation     one recurrence for such a state, in four forms that give the same numbers
chunks       the form that training uses: pairs inside a chunk, a table between chunks
fused        that recurrence compiled, for CPUs and NVIDIA GPUs, with its gradient
kernels      what is compiled, from `table.cu`, as operators of PyTorch
derivatives  their gradients
members      eighteen published operators as cases of it, a few lines each
portraits    what is found out about a member by trying it
suffixes     what RWKV-8 is about: an automaton that knows every piece of a text
arguments    what no form can read
model        the skeleton of their trainable models
"""
