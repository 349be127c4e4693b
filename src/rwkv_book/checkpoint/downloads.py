"""Official files of weights, fetched once, checked and kept: the one use of a network.

Whatever goes wrong on the way is one CheckpointError, which says how to do without.
"""

import errno
import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from rwkv_book import folders
from rwkv_book.checkpoint.formats import CheckpointError

PATIENCE = 30  # seconds to wait for the hub to answer

# What `download` fetches: repository, file, SHA-256. The digests pin the content. Those
# of RWKV-4 are also what the project codekansas/ml-pretrained compares with, the later
# ones what the hub's pages print; none of the later files was fetched to check it.
PUBLISHED = {
    "RWKV-4-Pile-169M": (
        "BlinkDL/rwkv-4-pile-169m",
        "RWKV-4-Pile-169M-20220807-8023.pth",
        "713c6f6137a08d3a86ab57df4f09ea03563329beb3bbabc23509d6c57aa0f9e2",
    ),
    "RWKV-4-Pile-430M": (
        "BlinkDL/rwkv-4-pile-430m",
        "RWKV-4-Pile-430M-20220808-8066.pth",
        "261e6b8fef1c7c9e08a4dde31bf5caf8e79c4da38126d77977a4707de82a7f64",
    ),
    "RWKV-5-World-0.4B": (
        "BlinkDL/rwkv-5-world",
        "RWKV-5-World-0.4B-v2-20231113-ctx4096.pth",
        "5a288c54c7f30b0e2d4af23991133fad2af2d5e59ec7ad850ffe78054a5e4f92",
    ),
    "RWKV-7-World-0.1B": (
        "BlinkDL/rwkv-7-world",
        "RWKV-x070-World-0.1B-v2.8-20241210-ctx4096.pth",
        "60c98129b9529963bff2c164b8ab4bd17c19332ae06dc2dcae32aa3a3739295a",
    ),
    "RWKV-7-World-0.4B": (
        "BlinkDL/rwkv-7-world",
        "RWKV-x070-World-0.4B-v2.9-20250107-ctx4096.pth",
        "c08cf602b33e59a5717b8f0cafaf7f04c50c1c67166e477aa2f47c5ca180da4a",
    ),
    "RWKV-7-G1-0.1B": (
        "BlinkDL/rwkv7-g1",
        "rwkv7-g1-0.1b-20250307-ctx4096.pth",
        "854230983f1015407c44274a7a27196ed72007618995b7a7efba3c4a15f69a45",
    ),
}


def download(name="RWKV-4-Pile-169M", cache=None):
    """Fetch an official checkpoint once and give its path.

    The first download asks the hub for the current revision, and notes it in
    source.json beside the file; an interrupted one goes on where it stopped, with that
    revision. Whatever the revision, the hub's own metadata and then the file must have
    the SHA-256 in PUBLISHED. `cache` is the folder to keep it in; a file that is there
    already need not be writable. CheckpointError where it can't be fetched or kept, and
    where a digest differs: then nothing is kept.
    """
    if name not in PUBLISHED:
        raise CheckpointError(name, [f"not known; there are {', '.join(PUBLISHED)}"])
    repository, file, digest = PUBLISHED[name]
    path = Path(cache, name, file) if cache else folders.kept(name, file)
    if not path.exists():
        fetch(repository, path, digest)
    try:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(path, [f"can't be read, {reason(error)}"]) from error
    if found != digest:
        discard(path, found, digest)
    return path


def discard(path, found, digest):
    """Remove a file that is not what it should be, and say so: CheckpointError."""
    problem = f"SHA-256 is {found}, not {digest}: "
    try:
        path.unlink()
        source_of(path).unlink(missing_ok=True)
        problem += "deleted, download it again"
    except OSError as error:
        problem += f"delete it ({reason(error)}) and download it again"
    raise CheckpointError(path, [problem])


def fetch(repository, path, digest):
    """Let huggingface_hub put a file where it is to be, with its progress bar."""
    import huggingface_hub

    hub = huggingface_hub.HfApi()
    address = f"{hub.endpoint}/{repository}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        info = hub.model_info(
            repository,
            revision=known_revision(source_of(path)),
            files_metadata=True,
            timeout=PATIENCE,
        )
        offered = {s.rfilename: s.lfs.sha256 for s in info.siblings if s.lfs}
        if offered.get(path.name) != digest:
            problem = (
                f"the hub offers SHA-256 {offered.get(path.name)}, not {digest}: "
                "not downloaded"
            )
            raise CheckpointError(f"{repository}/{path.name}", [problem])
        note = {"repository": repository, "file": path.name, "revision": info.sha}
        text = json.dumps(note | {"sha256": digest}, indent=2)
        folders.write_text(source_of(path), f"{text}\n")
        hub.hf_hub_download(
            repository, path.name, revision=info.sha, local_dir=path.parent
        )
    except CheckpointError:
        raise
    except Exception as error:  # the hub's library raises its own and its client's
        raise CheckpointError(path.name, [failure(address, path, error)]) from error


def failure(address, path, error):
    """Why there is no file, and what to do, in a sentence."""
    if isinstance(error, folders.DiskFull) or folders.is_full(error, path.parent):
        # what there is of the file would keep the disk full
        shutil.rmtree(path.parent / ".cache", ignore_errors=True)
        return (
            f"no space left for it in {path.parent}: nothing of it was kept. Make room "
            "on that disk, or name a folder on another one: download(name, cache)"
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return (
            f"{path.parent} can't be written ({reason(error)}): name a folder that "
            "can, download(name, cache)"
        )
    return (
        f"could not be fetched from {address} "
        f"({reason(error)}). Without a network use the model that comes with the book, "
        "checkpoint.load(checkpoint.shipped()), or bring the file from elsewhere and "
        "give its path to checkpoint.load"
    )


def reason(error):
    """What an error says, in one line of bearable length."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = " ".join(said.split())
    return line if len(line) <= 200 else f"{line[:200]} ..."


def source_of(path):
    """The note beside a file that says from where it comes."""
    return path.with_name("source.json")


def known_revision(source):
    """The revision that a download began with; None where no note tells it."""
    with suppress(OSError, ValueError, AttributeError):
        revision = json.loads(source.read_text(encoding="utf-8")).get("revision")
        return revision if isinstance(revision, str) and revision else None
    return None
