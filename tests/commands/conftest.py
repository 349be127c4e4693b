"""A random model of bytes, as a file."""

import pytest
import torch
from helpers.published import random_tensors

from rwkv_book import checkpoint


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pth"
    torch.save(random_tensors(layers=2, width=8, hidden=32, vocabulary=256), path)
    params = checkpoint.load(path)
    checkpoint.save(params, path.with_suffix(".safetensors"), "float32")
    return path.with_suffix(".safetensors")
