"""What no kernel for the operator can go below: its FLOPs and its arrays."""

# A merge takes 11 FLOPs, an exponential counted as one. Forward: two of them, a decay,
# the bonus and a division. Backward: three and the products of a state and a gradient.
FORWARD_FLOPS, BACKWARD_FLOPS = 25, 67  # for each key
FORWARD_ARRAYS = 3  # (B,T,C): key and value are read, out is written
BACKWARD_ARRAYS = 5  # with its gradient; the gradients of key and value are written
