"""A file that holds no weights is called by its name, with what to do."""

import zipfile

import numpy as np
import pytest
import torch
from helpers.files import SUFFIXES, problem_of, problems_of, write
from helpers.published import our_name, random_tensors

from rwkv_book import checkpoint


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_there_is_named(tmp_path, suffix):
    (problem,) = problems_of(tmp_path / f"none{suffix}")
    assert "No such file" in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.touch()
    (problem,) = problems_of(path)
    assert "empty" in problem and "download it again" in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "data", [b"a text file\n" * 20, b"\xff" * 300, b"PK\x03\x04" * 9]
)
def test_a_file_of_something_else_is_refused(tmp_path, suffix, data):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    (problem,) = problems_of(path)
    assert "not a" in problem


OTHERS = {
    b"GGUF\x03\x00\x00\x00": "GGUF, the format of llama.cpp",
    b"fmgg\x64\x00\x00\x00": "rwkv.cpp",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "`git lfs pull`",
    b"\n <!DOCTYPE html><html lang=en>": "a web page, saved in place of the file",
    b"<html><body>404</body></html>": "a web page",
    b"<!-- a page --><html>": "a web page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>': "what a server said",
    b"<Error><Code>NoSuchKey</Code></Error>": "what a server said in place of the file",
    b"Entry not found": "what a server said",
    b"%PDF-1.7": "a document or a picture",
    b"\x89PNG\r\n\x1a\n": "a document or a picture",
    b"emb.weight".ljust(257, b"\0") + b"ustar\0": "a tar archive: unpack it",
    b"\x1f\x8b\x08\x00": "packed with gzip: unpack it",
    b"7z\xbc\xaf\x27\x1c": "a packed file: unpack it",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x93NUMPY\x01\x00": "one NumPy array",
    b"\x08\x08\x12\x07pytorch\x1a\x052.0.0": "this is ONNX",
    b'{"architectures": ["Rwkv"]}': "JSON, not weights",
    b"[1, 2]": "begins neither like a .safetensors file nor like one of PyTorch",
}


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bin", ".gguf", ""])
@pytest.mark.parametrize("beginning", OTHERS)
def test_what_holds_no_weights_is_called_by_its_name(tmp_path, beginning, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(beginning.ljust(400, b" "))
    problem = problem_of(path)
    assert OTHERS[beginning] in problem and "\n" not in problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_zip_that_is_no_pytorch_file_says_what_is_in_it(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    assert "a zip with notes.txt in it, not a PyTorch file" in problem_of(path)
    np.savez(tmp_path / "model.npz", head=np.ones(3))
    (tmp_path / "model.npz").rename(path)
    assert "an .npz, NumPy's arrays in a zip: save them as" in problem_of(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), str(path))
    assert "a TorchScript archive" in problem_of(path)


def test_a_program_of_torch_export_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "model.pt2"
    exported = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(exported, path)
    assert "a program that torch.export wrote" in problem_of(path)


@pytest.mark.parametrize(
    "name", ["model", "model.bin", "MODEL.PTH", "model.v2", "m.pt"]
)
@pytest.mark.parametrize("format", ["safetensors", "pytorch", "old pytorch"])
def test_a_name_does_not_matter(tmp_path, name, format):
    tensors, path = random_tensors(), tmp_path / name
    if format == "safetensors":
        write(tensors, tmp_path / "written.safetensors").rename(path)
    else:
        zipped = format == "pytorch"
        torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    params = checkpoint.load(path)
    assert set(params) == set(map(our_name, tensors))
    assert checkpoint.inspect(path).deviations == ()


@pytest.mark.parametrize(
    "beginning", [b"PK", b"\x1f\x8b", b" \n\x01", b"<a\x01", b"BZh"]
)
def test_a_header_as_long_as_another_kind_begins_is_a_header(tmp_path, beginning):
    """The first bytes of a .safetensors file are a number, and may be any."""
    path = write(random_tensors(), tmp_path / "model.safetensors")
    data, length = path.read_bytes(), int.from_bytes(beginning, "little")
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].ljust(length)
    assert len(header) == length
    path.write_bytes(length.to_bytes(8, "little") + header + data[end:])
    assert checkpoint.inspect(path).loads
