"""The WKV operator at the speed of the hardware: `wkv.cu`, compiled when first called.

`wkv_fused` takes the arguments of the forms in `wkv.py` and gives their results:
`RWKV(config, wkv=wkv_fused)`. One source is compiled by g++ for a CPU (`cpu.py`) and by
NVRTC for an NVIDIA GPU (`gpu.py`); `operator.py` makes it an operator of PyTorch with
gradients. Nothing is compiled at import; what was compiled is kept in a folder
(`cache.py`).
"""

from rwkv_book.fused.operator import wkv_fused

__all__ = ["wkv_fused"]
