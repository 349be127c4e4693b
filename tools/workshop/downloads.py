"""What a teacher downloads from the site: `make book` puts both zips there.

    python -m tools.workshop.downloads

writes the box of the participants and the slides below `_build/downloads`, whose
contents land at the site's root, as `downloads/rwkv-workshop.zip` and
`downloads/rwkv-slides.zip`. The guide links to them.
"""

import shutil
import tempfile
from pathlib import Path

from tools.contents import ROOT, chapters
from tools.workshop import participant, slides

TARGET = ROOT / "_build" / "downloads"
SLIDES = "rwkv-slides"


def main():
    for path in make(TARGET):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.0f} MB")


def make(target):
    """Both zips, in `target`/downloads, which is made anew; the paths of the two."""
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / SLIDES
        slides.make(folder, chapters())
        return [
            archive(participant.make(Path(work) / "box"), target / "downloads"),
            archive(folder, target / "downloads"),
        ]


def archive(folder, target):
    """A folder as a zip of its name in `target`."""
    target.mkdir(parents=True, exist_ok=True)
    made = shutil.make_archive(target / folder.name, "zip", folder.parent, folder.name)
    return Path(made)


if __name__ == "__main__":
    main()
