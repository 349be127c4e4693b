"""What a file is, by its first bytes: a name says little, and is often wrong.

Files that hold no weights, or hold them packed in another way, are told apart here, so
that the error says what one has and what to do with it.
"""

import zipfile

from rwkv_book.checkpoint.formats import CheckpointError

SAFETENSORS, PYTORCH, INDEX = "safetensors", "PyTorch", "index"
HEAD = 512  # bytes that tell what a file is

WEB_PAGE = (
    "a web page, saved in place of the file: download the file itself (on the "
    "Hugging Face hub its address has /resolve/ where the page has /blob/)"
)
# Beginnings, and what to say of a file that has one.
OTHERS = (
    (
        (b"GGUF",),
        "GGUF, the format of llama.cpp, whose numbers are packed: get the .pth or "
        ".safetensors file that it was made from",
    ),
    (
        (b"fmgg", b"lmgg", b"tjgg"),
        "a file of GGML or rwkv.cpp, whose numbers are packed: get the .pth or "
        ".safetensors file that it was made from",
    ),
    (
        (b"version https://git-lfs",),
        "a Git LFS pointer, which stands for the file and is not it: run `git lfs pull`"
        " in the repository, or download the file itself",
    ),
    ((b"<!doctype html", b"<html"), WEB_PAGE),
    (
        (b"<?xml", b"<error>", b"entry not found", b"repository not found"),
        "what a server said in place of the file: look at it, and download the file "
        "itself, from another address",
    ),
    ((b"%PDF", b"\x89PNG"), "a document or a picture: name the file of the weights"),
    ((b"\x1f\x8b",), "a file packed with gzip: unpack it"),
    (
        (b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"),
        "a packed file: unpack it",
    ),
    ((b"\x93NUMPY",), "one NumPy array, not tensors with names"),
    (
        (b"\x89HDF",),
        "an HDF5 file: save the weights as .safetensors, or with torch.save",
    ),
)


def kind_of(path):
    """SAFETENSORS, PYTORCH or INDEX; CheckpointError says what else a file is."""
    head = first_bytes(path)
    if is_safetensors(head):
        return SAFETENSORS
    if problem := what_else(path, head):
        raise CheckpointError(path, [problem])
    return INDEX if head.lstrip().startswith(b"{") else PYTORCH


def first_bytes(path):
    """The beginning of a file; CheckpointError where there is no file, or nothing."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError) as error:  # a ValueError: no name of a file
        reason = getattr(error, "strerror", None) or error
        problem = f"can't be read, {reason}: check the path"
        raise CheckpointError(path, [problem]) from error
    if not head:
        raise CheckpointError(path, ["the file is empty: copy or download it again"])
    return head


def is_safetensors(head):
    """Eight bytes that are the length of a header, which is JSON.

    To be asked first: some of them may be those with which a zip begins.
    """
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= 100_000_000


def what_else(path, head):
    """What is wrong with a file that is no kind of checkpoint; "" if it may be one."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginnings, problem in OTHERS:
        if head.startswith(beginnings) or start.startswith(beginnings):
            return f"this is {problem}"
    if start.startswith(b"<!--") and b"<html" in start:
        return f"this is {WEB_PAGE}"
    if head[257:262] == b"ustar":
        return "this is a tar archive: unpack it"
    if head.startswith(b"PK"):
        return what_zip(path)
    pickled = head[:1] == b"\x80" and head[1:2] <= b"\x05"
    if pickled or start.startswith(b"{"):
        return ""
    if head[:1] == b"\x08" and (path.suffix.lower() == ".onnx" or b"pytorch" in head):
        return (
            "this is ONNX, a program with weights in it: get the .pth or .safetensors "
            "file that it was made from"
        )
    return (
        "truncated, or not a checkpoint: it begins neither like a .safetensors file "
        "nor like one of PyTorch; get it again"
    )


def what_zip(path):
    """What is wrong with a zip: PyTorch's is one, with a pickle in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # a damaged zip can raise anything
        return f"truncated, or not a PyTorch file ({error}): get it again"
    parts = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in parts:
        return (
            "this is a TorchScript archive, a program with weights in it: save the "
            "weights alone, torch.save(torch.jit.load(path).state_dict(), ...)"
        )
    if "data.pkl" in parts:
        return ""
    if parts and all(part.endswith(".npy") for part in parts):
        return (
            "this is an .npz, NumPy's arrays in a zip: save them as .safetensors, with "
            "safetensors.numpy.save_file"
        )
    if "archive_format" in parts or "archive_version" in parts:
        return (
            "this is a program that torch.export wrote, with weights in it: save the "
            "weights alone, torch.save(model.state_dict(), ...)"
        )
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (
        f"this is a zip with {shown or 'nothing'} in it, not a PyTorch file: unpack it"
    )
