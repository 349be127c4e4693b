"""Implementations that nobody here wrote, where they run without a GPU."""

import importlib.util
import inspect


def naive(path):
    """A file of fla's ops, loaded by itself: its package needs triton."""
    folder = importlib.util.find_spec("fla").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("naive", f"{folder}/ops/{path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_transformers(model, name):
    """A function of a model's code, and not the kernel that may stand in for it."""
    module = importlib.import_module(f"transformers.models.{model}.modeling_{model}")
    return inspect.unwrap(getattr(module, name))


def turned(*tensors):
    """(B,T,H,...) -> (B,H,T,...), and back."""
    return [tensor.transpose(1, 2).contiguous() for tensor in tensors]
