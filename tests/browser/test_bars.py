"""Progress bars in JupyterLab: under their cell, moving, and as lines in the saved notebook."""

from __future__ import annotations

BEGIN = """
import pathlib, time, nbray
from nbray.bars import waits
from nbray.owner import waiting
waiting.LONG = 0.3
nbray.init(num_cpus=2)

@nbray.remote
def load(number):
    while not pathlib.Path("bars.gate").exists() and number >= 8:
        time.sleep(0.02)
    if number == 3:
        raise ValueError("no such file")
    return number

@nbray.remote
def clean(rows):
    return rows

@nbray.remote
def train(name, gate):
    for epoch in nbray.util.tqdm(range(10), desc=name):
        while epoch == 7 and not pathlib.Path(gate).exists():
            time.sleep(0.02)
    return name
"""


def bars(notebook, cell: int, **figures: str):
    wanted = "".join(f'[data-{name}="{value}"]' for name, value in figures.items())
    return notebook.cell(cell).locator(f".nbray-progress{wanted}")


def test_bars_stand_under_their_cells_and_stay_as_lines(opened, lab):
    for gate in ("bars.gate", "train.gate"):
        (lab.notebooks / gate).unlink(missing_ok=True)
    notebook = opened(
        "bars.ipynb",
        BEGIN,
        "refs = [load.remote(n) for n in range(12)] + [clean.remote(n) for n in range(6)]\n"
        "nbray.progress(refs, desc='load & <b>clean</b>')",
        "names = nbray.get([train.remote(name, 'train.gate') for name in ('left', 'right')])",
        "waits.STUCK = 0.5\nx = nbray.get(load.remote(20))",
        "nbray.shutdown()",
    )
    notebook.run(0)
    notebook.ended(0)

    notebook.run(1)
    bars(notebook, 1, state="running", failed="1", total="18").wait_for()
    notebook.cell(1).get_by_text("running: load on pid").first.wait_for()
    notebook.cell(1).get_by_text("load & <b>clean</b>", exact=True).wait_for()
    notebook.shoot("bars-progress")
    (lab.notebooks / "bars.gate").touch()
    notebook.ended(1)
    bars(notebook, 1, state="done", done="18").wait_for()
    (lab.notebooks / "bars.gate").unlink()

    notebook.run(2)
    notebook.page.wait_for_function(
        "n => document.querySelectorAll('.jp-Notebook .jp-Cell')[n].querySelectorAll("
        "'.nbray-progress[data-done=\"7\"]').length === 2",
        arg=2,
    )
    notebook.shoot("bars-tasks", notebook.cell(2))
    (lab.notebooks / "train.gate").touch()
    notebook.ended(2)
    notebook.page.wait_for_function(
        "n => document.querySelectorAll('.jp-Notebook .jp-Cell')[n].querySelectorAll("
        "'.nbray-progress[data-state=\"done\"]').length === 3",
        arg=2,
    )

    notebook.run(3)
    notebook.cell(3).get_by_text("(running on pid").wait_for()
    notebook.top(3)
    notebook.shoot("bars-why")
    notebook.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    notebook.page.locator(".lm-Menu-item[data-command='kernelmenu:interrupt']").click()
    notebook.ended(3)
    bars(notebook, 3, state="interrupted").wait_for()
    notebook.theme("JupyterLab Dark")
    notebook.page.wait_for_function(
        "document.body.dataset.jpThemeLight === 'false' && !document.querySelector('#jupyterlab-splash')"
    )
    notebook.top(1)
    notebook.shoot("bars-dark")

    notebook.run(4)
    notebook.ended(4)
    saved = notebook.save()
    last = [output["data"] for output in saved.cells[1].outputs if output.output_type == "display_data"]
    assert len(last) == 1
    assert "18/18 · 1 failed" in last[0]["text/plain"]
    assert "<script" not in last[0]["text/html"]
    assert not notebook.errors
