"""What a class needs, reckoned from what every notebook takes; the tables of the pages.

    python -m tools.checks.tables

writes the pages from the record that `limits.py` keeps. The tables are the parts of
pages between `<!-- measured: name -->` and `<!-- end -->`.
"""

import json
import math
import re
import statistics
from pathlib import Path

from rwkv_book import folders
from tools.contents import ROOT

RECORD = ROOT / "benchmarks" / "results" / "notebooks.json"
PAGES = ("book/appendix/notebooks.md", "book/workshop/jupyterhub.md")
PEOPLE = 30


def half_gib(mib):
    """Rounded up to half a GiB, in MiB."""
    return math.ceil(mib / 512) * 512


def needs(content, people=PEOPLE):
    """What a hub needs for so many people, from the record of the notebooks.

    Everybody may hold JupyterLab, the largest notebook and, because people forget to
    shut a kernel down, a middling second one. 2 GiB are for the system and the hub.
    """
    peaks = [row["peak_mib"] for row in content["rows"]]
    middle = statistics.median(peaks)
    limit = half_gib(content["server_mib"] + max(peaks) + middle)
    usual = people * (content["server_mib"] + middle) / 1024 + 2
    return {
        "limit_mib": limit,
        "usual_gib": math.ceil(usual),
        "most_gib": math.ceil(people * limit / 1024 + 2),
        "middle_core_seconds": statistics.median(
            row["core_seconds"] for row in content["rows"]
        ),
        "most_core_seconds": max(row["core_seconds"] for row in content["rows"]),
    }


def tables(content):
    """{name: Markdown} of what the pages show."""
    versions = ", ".join(f"{name} {one}" for name, one in content["versions"].items())
    notebooks = [
        "| notebook | seconds | core-seconds | peak, MiB |",
        "|---|--:|--:|--:|",
        *(
            f"| [{Path(row['notebook']).stem}](/{row['notebook']}) "
            f"| {row['seconds']:.0f} | {row['core_seconds']:.0f} | {row['peak_mib']} |"
            for row in content["rows"]
        ),
        "",
        f"{content['cores']} cores ({content['device']}), {content['date']}, commit "
        f"`{content['commit']}`, Python {content['python']}, {versions}; the limit was "
        f"{content['limit_mib']} MiB. JupyterLab itself holds "
        f"{content['server_mib']} MiB, and the environment takes "
        f"{content['environment_mb'] / 1000:.1f} GB on disk.",
    ]
    need = needs(content)
    hub = [
        f"| for {PEOPLE} people | sum | |",
        "|---|---|--:|",
        f"| memory, everybody in a middling notebook | {PEOPLE} × (JupyterLab + median "
        f"peak) + 2 GiB | {need['usual_gib']} GiB |",
        f"| memory, everybody at the limit | {PEOPLE} × {need['limit_mib']} MiB + "
        f"2 GiB | {need['most_gib']} GiB |",
        *(
            f"| all run the {name} notebook at once, on {cores} cores | {PEOPLE} × "
            f"{need[key]:.0f} core-seconds / {cores} | "
            f"{PEOPLE * need[key] / cores:.0f} s |"
            for name, key in (
                ("middling", "middle_core_seconds"),
                ("longest", "most_core_seconds"),
            )
            for cores in (8, 16)
        ),
        f"| disk | the environment once + {PEOPLE} × 0.1 GB + 10 GB for the system | "
        f"{content['environment_mb'] / 1000 + PEOPLE * 0.1 + 10:.0f} GB |",
    ]
    limits = [
        "```bash",
        f"sudo tljh-config set limits.memory {need['limit_mib']}M",
        f"sudo tljh-config set limits.cpu {content['cores']}",
        "sudo tljh-config set services.cull.timeout 3600",
        "sudo tljh-config set user_environment.default_app jupyterlab",
        "sudo tljh-config reload",
        "```",
    ]
    blocks = {"notebooks": notebooks, "hub": hub, "limits": limits}
    return {name: "\n".join(lines) for name, lines in blocks.items()}


def with_tables(text, content):
    """A page with its measured parts as the record has them now."""
    found = tables(content)
    return re.sub(
        r"(<!-- measured: (\w+) -->\n).*?(\n<!-- end -->)",
        lambda match: match[1] + "\n" + found[match[2]] + "\n" + match[3],
        text,
        flags=re.DOTALL,
    )


def write():
    content = json.loads(RECORD.read_text("utf-8"))
    for page in PAGES:
        path = ROOT / page
        folders.write_text(path, with_tables(path.read_text("utf-8"), content))


if __name__ == "__main__":
    write()
