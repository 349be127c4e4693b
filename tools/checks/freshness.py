"""Which recorded results are older than the code that they measure?

    python -m tools.checks.freshness

A record is a file of benchmarks/results, a model that ships with its log, or a row of
the table of notebooks. It belongs to a program: the benchmark whose question it
answers, what trained the model, the notebook. What the program imports, and what those
files import, is the code that was measured. A record is stale when that code, apart
from comments, docstrings and layout, is no longer what it was at the record's commit.

This is a report, not a test: whether a change can have moved the numbers is for a
person to say, and measuring again for a quiet machine.
"""

import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from rwkv_book import checkpoint


@dataclass(frozen=True)
class Record:
    """A result, the program that made it, and the commit at which it was made."""

    name: str
    program: str  # path from the root
    commit: str
    date: str = ""


class Tree:
    """A git repository: its files as they are, and as they were at a commit."""

    def __init__(self, root):
        self.root = Path(root)

    def git(self, *arguments):
        """What git prints, or None where it fails."""
        command = ["git", "-C", str(self.root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def now(self, path):
        return (self.root / path).read_text("utf-8", errors="replace")

    def at(self, commit, path):
        """The file at that commit; None if it was not there."""
        return self.git("show", f"{commit}:{path}")

    def knows(self, commit):
        return self.git("rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}")

    def last_change(self, *paths):
        """(commit, date) of the newest change to any of these files."""
        found = self.git("log", "-1", "--format=%h %cs", "--", *map(str, paths))
        return tuple(found.split()) if found else ("", "")

    @cached_property
    def modules(self):
        """{name as imported: path from the root} of every module that is ours."""
        found = {}
        for folder in ("src", "benchmarks", "tests"):
            for path in (self.root / folder).rglob("*.py"):
                parts = path.relative_to(self.root / folder).with_suffix("").parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                found.setdefault(".".join(parts), str(path.relative_to(self.root)))
        return found

    def measured_by(self, program):
        """The program and, sorted, every file of ours that it imports, step by step.

        What lies in a package beside its modules, a kernel's source for instance, is
        taken to be read by it.
        """
        found, todo = set(), [program]
        while todo:
            path = todo.pop()
            if path in found:
                continue
            found.add(path)
            for module in self.imports(path):
                todo.append(self.modules[module])
                if todo[-1].endswith("__init__.py"):
                    folder = (self.root / todo[-1]).parent
                    found |= {
                        str(file.relative_to(self.root))
                        for file in folder.iterdir()
                        if file.is_file() and file.suffix != ".py"
                    }
        return sorted(found)

    def imports(self, path):
        """Names of our own modules that a script, module or notebook imports."""
        if Path(path).suffix not in (".py", ".ipynb"):
            return set()
        names = set()
        for node in ast.walk(ast.parse(python(path, self.now(path)))):
            if isinstance(node, ast.Import):
                names |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = self.absolute(path, node)
                names |= {base, *(f"{base}.{name.name}" for name in node.names)}
        with_packages = {
            name.rsplit(".", drop)[0] if drop else name
            for name in names
            for drop in range(name.count(".") + 1)
        }
        return with_packages & set(self.modules)

    def absolute(self, path, node):
        """The module that `from ... import` names, also after dots."""
        if not node.level:
            return node.module
        parts = Path(path).with_suffix("").parts[1 : -node.level]
        return ".".join([*parts, *(node.module or "").split(".")]).rstrip(".")

    def changed(self, record):
        """The measured files whose code is another one now; None: it can't be told."""
        if not self.knows(record.commit):
            return None
        files = self.measured_by(record.program)
        return [path for path in files if self.differs(path, record.commit)]

    @cache  # noqa: B019  # the tree lives as long as the report
    def differs(self, path, commit):
        return meaning(path, self.at(commit, path)) != meaning(path, self.now(path))


def python(path, text):
    """A notebook's code cells as one program; other files as they are.

    The cell that installs the package, which the pages leave out, measures nothing.
    """
    if not path.endswith(".ipynb"):
        return text
    code = [
        "".join(cell["source"])
        for cell in json.loads(text)["cells"]
        if cell["cell_type"] == "code"
        and "remove-cell" not in cell.get("metadata", {}).get("tags", [])
    ]
    return re.sub(r"^(\s*)[%!].*", r"\1pass", "\n".join(code), flags=re.MULTILINE)


def meaning(path, text):
    """What of a file's text can change a result: code without its explanations."""
    if text is None or not path.endswith((".py", ".ipynb")):
        return text and text.strip()
    tree = ast.parse(python(path, text))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        node.body = [line for line in body if not is_text(line)] or [ast.Pass()]
    return ast.dump(tree)


def is_text(node):
    """A docstring, or a string that stands alone."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def records(tree):
    """Every recorded result of the book: benchmarks, notebooks, models."""
    scripts = [path.stem for path in (tree.root / "benchmarks").glob("*.py")]
    for path in sorted((tree.root / "benchmarks" / "results").glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        name = str(path.relative_to(tree.root))
        if content["question"] == "notebooks":
            for row in content["rows"]:
                title = f"{name}: {row['notebook']}"
                yield Record(title, row["notebook"], *made(row))
            continue
        question = content["question"].replace("-", "_")
        asked = [
            stem
            for stem in scripts
            if question.startswith(stem) or question.endswith(f"_{stem}")
        ]
        if not asked:
            raise ValueError(f"{name}: no script in benchmarks/ asks {question}")
        yield Record(name, f"benchmarks/{max(asked, key=len)}.py", *made(content))
    models = tree.root / "src" / "rwkv_book" / "models"
    for path in sorted(models.glob("*.safetensors")):
        name = str(path.relative_to(tree.root))
        # A model holds no commit: it is as old as its last change here.
        yield Record(name, trained_by(path), *tree.last_change(name))


def made(content):
    """(commit, date); the + of a commit says that files had changed since."""
    return content["commit"].removesuffix("+"), content["date"]


def trained_by(path):
    """The program that the model's own command names; `train` is the room training."""
    command = checkpoint.metadata(path).get("command", "")
    script = re.search(r"\S+\.py\b", command)
    return script[0] if script else "src/rwkv_book/training/__init__.py"


def report(tree):
    """Lines for people, one record after the other."""
    fresh = 0
    for record in records(tree):
        changed = tree.changed(record)
        if changed is None:
            yield f"? {record.name}: this history has no commit {record.commit}"
        elif changed:
            commit, date = tree.last_change(*changed)
            yield f"! {record.name} ({record.date}, {record.commit}) is older than"
            yield f"    {', '.join(changed)} (changed until {date}, {commit})"
        else:
            fresh += 1
    yield f"{fresh} records are as new as their code"


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    print("\n".join(report(Tree(root))))
