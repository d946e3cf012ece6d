"""The task graph of a real pool: two lines in a notebook, then tasks."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

WORK = """
import pathlib, time, nbray

@nbray.remote
class Archive:
    "Gives out one day after the other, each behind a gate: the test sees every step and nothing depends on time."
    def day(self, number):
        while not pathlib.Path(f"step{number}.gate").exists():
            time.sleep(0.02)
        return list(range(number, number + 20))

@nbray.remote
def clean(rows):
    return [row for row in rows if row % 7]

@nbray.remote
def fit(rows, others):
    return sum(rows) + sum(others)

@nbray.remote
class Leaderboard:
    def __init__(self):
        self.best = []
    def add(self, day, score):
        self.best = sorted([*self.best, (score, day)], reverse=True)[:3]
        return self.best
"""
RUN = """
archive, board = Archive.remote(), Leaderboard.remote()
rows = [clean.remote(archive.day.remote(i)) for i in range(24)]
models = [fit.remote(r, rows[i - 1] if i else []) for i, r in enumerate(rows)]
best = nbray.get([board.add.remote(i, m) for i, m in enumerate(models)])[-1]
print("best day", best[0][1])
"""


def group(notebook, name: str, **counts: int):
    wanted = "".join(f'[data-{state}="{count}"]' for state, count in counts.items())
    return notebook.page.locator(f'.nbray-graph .nbray-group[data-name="{name}"]{wanted}')


def test_the_graph_of_a_pool_moves_while_its_tasks_run(opened, lab):
    for gate in lab.notebooks.glob("step*.gate"):
        gate.unlink()
    notebook = opened(
        "pool.ipynb",
        "%load_ext nbray\n%nbray init -n 2",
        "%nbray graph",
        WORK,
        RUN,
        "%nbray status",
        "%nbray shutdown",
    )
    page = notebook.page
    notebook.run(0)
    page.locator('.nbray-cluster[data-nodes="1"][data-cpus="2"]').wait_for()
    notebook.run(1)
    page.locator(".nbray-view.nbray-graph").wait_for()
    notebook.run(2)
    notebook.run(3)
    group(notebook, "Archive.day", done=0, running=24).wait_for()
    group(notebook, "clean", done=0, waiting=24).wait_for()
    for step in range(10):
        (lab.notebooks / f"step{step}.gate").touch()
    group(notebook, "clean", done=10).wait_for()
    group(notebook, "fit", done=10, waiting=14, failed=0).wait_for()
    group(notebook, "Leaderboard.add", done=10).wait_for()
    page.locator('.nbray-actor[data-name="Leaderboard"][data-alive="1"][data-queue="14"]').wait_for()
    notebook.shoot("pool-running", page.locator(".nbray-graph"))
    page.locator(".nbray-graph").scroll_into_view_if_needed()
    notebook.shoot("pool-notebook")
    for step in range(10, 24):
        (lab.notebooks / f"step{step}.gate").touch()
    notebook.ended(3)
    group(notebook, "Leaderboard.add", done=24, running=0).wait_for()
    notebook.run(4)
    page.locator(".nbray-cluster").nth(1).get_by_text("96 done").wait_for()
    notebook.run(5)
    page.locator(".nbray-graph .nbray-live").get_by_text("ended").wait_for()
    group(notebook, "clean", done=24).wait_for()
    assert notebook.errors == []


def test_the_quickstart_moves_in_jupyterlab_with_run_all(browser, lab, opened):
    notebook = opened("quickstart.ipynb", source=ROOT / "notebooks" / "01_quickstart.ipynb")
    page = notebook.page
    page.set_default_timeout(250_000)  # half a minute of work, on a machine that may have others to serve
    show = next(i for i, cell in enumerate(notebook.cells) if cell.source == "%nbray graph")
    notebook.run_all()
    page.locator('.nbray-group[data-name="evaluate"]:not([data-running="0"])').wait_for()
    for done in range(8, 40, 8):  # it does not jump from nothing to everything
        page.wait_for_function(
            "done => { const n = +document.querySelector('.nbray-group[data-name=evaluate]').dataset.done;"
            "          return n >= done && n < 80 }",
            arg=done,
        )
    notebook.top(show)
    notebook.shoot("quickstart")
    group(notebook, "evaluate", done=80, failed=0).wait_for()
    group(notebook, "Leaderboard.report", done=80).wait_for()
    notebook.ended(len(notebook.cells) - 2)
    page.locator(".nbray-graph .nbray-live").get_by_text("ended").wait_for()
    notebook.top(show)
    notebook.shoot("quickstart-ended")
    assert notebook.errors == []
