"""What RWKV-5, 6, 7 and their relatives have in common: a state that is a table.

equation  one recurrence for such a state, in four forms that give the same numbers
"""
