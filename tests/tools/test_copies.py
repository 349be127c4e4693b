"""The copies of the notebooks that people run: plain, unrun, with folded solutions."""

import re

import nbformat
import pytest

from tools import contents
from tools.contents import ROOT
from tools.notebooks import copies

NOTEBOOKS = contents.notebooks()
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "notebooks"
    copies.main([str(folder)])
    return folder


def read(folder, path):
    return nbformat.read(folder / path.relative_to(ROOT / "book"), as_version=4)


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@every_notebook
def test_a_copy_has_all_code_and_nothing_of_a_run(folder, path):
    copy = read(folder, path)
    nbformat.validate(copy)
    assert len({cell.id for cell in copy.cells}) == len(copy.cells)
    assert code_of(copy) == code_of(nbformat.read(path, as_version=4))
    assert "widgets" not in copy.metadata
    for cell in copy.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@every_notebook
def test_nothing_is_left_that_only_the_pages_understand(folder, path):
    text = [c.source for c in read(folder, path).cells if c.cell_type == "markdown"]
    assert not re.search(r"\{[a-z-]+\}`|^:::|^```\{", "\n".join(text), re.MULTILINE)


@every_notebook
def test_a_link_leads_to_a_copy_or_to_a_page_of_the_site(folder, path):
    here = (folder / path.relative_to(ROOT / "book")).parent
    cells = [c for c in read(folder, path).cells if c.cell_type == "markdown"]
    text = re.sub(r"(?ms)^```.*?^```$", "", "\n\n".join(c.source for c in cells))
    text = re.sub(r"`[^`\n]+`", "", text)
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    assert all((here / link).exists() for link in links), links
    pages = re.findall(rf"\({re.escape(contents.SITE)}/([^)#]+)\.html", text)
    for page in pages:
        assert list(ROOT.glob(f"{page}.md")) + list(ROOT.glob(f"{page}.ipynb")), page
    own = nbformat.read(path, as_version=4).cells
    assert len(links) + len(pages) >= sum(c.source.count("{doc}`") for c in own)


def test_make_and_binder_write_to_the_folder_that_the_buttons_open():
    for name, line in (
        ("Makefile", f"tools.notebooks.copies {copies.IN_BINDER}\n"),
        ("postBuild", f'tools.notebooks.copies "${{COPIES:-{copies.IN_BINDER}}}"\n'),
        (".gitignore", f"\n/{copies.IN_BINDER}/\n"),
    ):
        assert line in (ROOT / name).read_text("utf-8"), name


@every_notebook
def test_a_solution_is_folded_as_a_whole_and_nothing_else_with_it(folder, path):
    """What a closed heading hides ends at a heading of its rank or above."""
    own = nbformat.read(path, as_version=4).cells
    written = "\n".join(cell.source for cell in own)
    closed, solution = 0, False
    for cell in read(folder, path).cells:
        if cell.metadata == copies.CLOSED:
            assert re.fullmatch(r"#### Solution of exercise \d\d\.\d", cell.source)
            closed, solution = closed + 1, True
        elif re.match(r"#{1,4} ", cell.source) and cell.cell_type == "markdown":
            solution = False
        elif cell.cell_type == "code" and "solution_" in cell.source:
            assert solution and cell.metadata == copies.FOLDED, cell.source
    assert closed == len(re.findall(r"^:::\{solution-start\}", written, re.MULTILINE))


def test_what_somebody_has_worked_on_stays(tmp_path, capsys):
    mine = tmp_path / "n" / "04_wkv_operator.ipynb"
    mine.parent.mkdir()
    mine.write_text("my work")
    copies.main([str(mine.parent)])
    assert mine.read_text() == "my work"
    said = capsys.readouterr().out
    assert f"{len(NOTEBOOKS) - 1} notebooks made" in said
    assert "1 were there and stay as they are" in said
    for folder in (ROOT, ROOT / "book", ROOT / "book" / "appendix"):
        with pytest.raises(SystemExit):
            copies.main([str(folder)])
        assert "is the book itself" in capsys.readouterr().err


def markdown(*texts):
    return [nbformat.v4.new_markdown_cell(text) for text in texts]


START, END = (
    ":::{solution-start} ex-04-1\n:class: dropdown\n:::",
    ":::{solution-end}\n:::",
)


def test_cells_in_which_a_solution_begins_or_ends_are_cut():
    cells = markdown(f"Before.\n\n{START}\n\nSo.", f"Thus.\n\n{END}\n\n## Behind")
    told = [(c.source, label) for c, label in copies.with_what_they_solve(cells)]
    assert told == [
        ("Before.", None),
        ("So.", "ex-04-1"),
        ("Thus.", "ex-04-1"),
        ("## Behind", None),
    ]
    assert [c.source for c in copies.without_solutions(cells)] == [
        "Before.",
        "## Behind",
    ]
    assert cells[0].source.startswith("Before.\n\n:::")  # the original stays


def test_a_solution_without_an_end_is_refused():
    with pytest.raises(ValueError, match="solution of ex-04-1 does not end"):
        copies.without_solutions(markdown(START, "So."))


@pytest.mark.parametrize("behind", ["And more.", "##### Too low a heading"])
def test_what_would_be_folded_with_a_solution_is_refused(behind, tmp_path):
    cells = markdown("# Title", START, "So.", f"{END}\n\n{behind}")
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(ValueError, match=f"there must be a heading.*'{behind}'"):
        copies.copy_of(path, copies.beside(path))
