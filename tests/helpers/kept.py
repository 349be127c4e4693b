"""What a folder holds, to see whether a second run leaves it as the first one did."""


def all_in(folder):
    """{path: content} of its files."""
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
