"""The tutorials in notebooks/ keep their rules: complete, linked, run, and saved as a reader needs them. nbval runs them."""

from __future__ import annotations

import base64
import getpass
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
VIEW = "application/vnd.jupyter.widget-view+json"
#: Of a machine or a person. What stands behind "src=" in data URIs is no path.
PRIVATE = re.compile(r"(?<![\w<./:])/(?:home|Users|root|work|tmp|var|private|opt|mnt)/[^\s\"'<>]*")
TAGS = {"nbval-ignore-output", "raises-exception", "result", "cover", "solution"}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def texts(cell):
    """Everything readable in a cell's outputs."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield output.evalue
            yield from (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output.traceback)
        else:
            yield from (data for kind, data in output.data.items() if kind.startswith("text/"))


each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def test_tutorials_are_numbered_without_a_gap():
    numbers = [int(path.stem[:2]) for path in PATHS]
    assert numbers == list(range(1, len(PATHS) + 1))
    assert len(PATHS) >= 10


def test_the_index_names_every_tutorial_in_order_with_a_picture():
    index = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    linked = [link for link in LINK.findall(index) if link.endswith(".ipynb")]
    assert list(dict.fromkeys(linked)) == [path.name for path in PATHS]
    for path in PATHS:
        assert re.search(rf"\.\./docs/tutorials/{path.stem}\.(png|svg)", index), f"no picture of {path.stem}"


@pytest.mark.parametrize("page", [ROOT / "README.md", NOTEBOOKS / "README.md"], ids=["README", "index"])
def test_pictures_and_files_of_a_page_are_there(page):
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text) + re.findall(r'src="([^"]+)"', text):
        if not link.startswith(("http", "#")):
            assert (page.parent / link.partition("#")[0]).exists(), link


@each_notebook
def test_a_tutorial_is_a_valid_notebook_with_a_title_first(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))


@each_notebook
def test_a_tutorial_starts_its_own_pool_and_ends_it_last(path):
    cells = code(read(path))
    assert "%load_ext nbray" in cells[0].source
    assert re.search(r"%nbray init -n 2|ray\.init\(num_cpus=2", cells[0].source)
    assert re.search(r"^(%nbray shutdown|ray\.shutdown\(\))$", cells[-1].source, re.MULTILINE)


@each_notebook
def test_a_tutorial_has_exercises_and_leads_to_the_next(path):
    notebook = read(path)
    assert re.search(r"^## Exercises$(.|\n)*^1\. ", prose(notebook), re.MULTILINE)
    last = notebook.cells[-1]
    assert last.cell_type == "markdown"
    number = PATHS.index(path)
    if number + 1 < len(PATHS):
        assert f"]({PATHS[number + 1].name})" in last.source
    assert "](README.md)" in last.source


@each_notebook
def test_links_of_a_tutorial_lead_somewhere(path):
    for link in LINK.findall(prose(read(path))):
        if not link.startswith(("http", "#")):
            assert (path.parent / link.partition("#")[0]).exists(), link


@each_notebook
def test_a_tutorial_was_saved_after_one_run_from_top_to_bottom(path):
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        last = cell.source.rstrip().splitlines()[-1]
        if last.startswith(("print(", "plt.show()", "%nbray ")):
            assert cell.outputs, f"cell {cell.id} prints or draws, and nothing is saved"


@each_notebook
def test_only_cells_that_say_so_raise(path):
    for cell in code(read(path)):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert not failed or "raises-exception" in cell.metadata.get("tags", ()), cell.id


@each_notebook
def test_tags_are_known_and_stand_in_metadata(path):
    for cell in read(path).cells:
        assert set(cell.metadata) <= {"tags", "jupyter"}, cell.id
        assert set(cell.metadata.get("tags", ())) <= TAGS, cell.id
        assert "NBVAL" not in cell.source
        if "solution" in cell.metadata.get("tags", ()):
            assert cell.metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}, cell.id


@each_notebook
def test_outputs_tell_nothing_about_the_machine_or_its_user(path):
    user = getpass.getuser()
    for cell in code(read(path)):
        for text in texts(cell):
            found = PRIVATE.search(text)
            assert found is None, f"cell {cell.id}: {found[0]}"
            assert user == "root" or not re.search(rf"\b{re.escape(user)}\b", text), cell.id
            assert str(ROOT) not in text, cell.id


@each_notebook
def test_what_is_saved_shows_without_a_kernel_and_on_github(path):
    notebook = read(path)
    widgets = notebook.metadata.get("widgets")
    if widgets is not None:  # GitHub refuses such a notebook if there is no state in it
        assert all("state" in part for part in widgets.values())
    assert path.stat().st_size < 1_500_000, "too heavy to be read on GitHub"
    for cell in code(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            assert VIEW not in data, f"cell {cell.id} saves a widget that nobody can draw"
            if "image/png" in data:
                assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
            assert "<script" not in data.get("text/html", "")


def test_figures_get_no_box_behind_them_in_either_theme():
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib_inline.backend_inline import _fetch_figure_metadata

    with style.context("nbray_widgets.figures"):
        figure = Figure()
        figure.add_subplot()
        assert figure.get_facecolor()[3] == 0
        assert not _fetch_figure_metadata(figure)
