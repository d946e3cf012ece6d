"""The timeline in JupyterLab: over a feed that the test fills, and over a real pool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SETUP = """
import random, time, pathlib
from nbray.events import Feed
from nbray_widgets import Timeline

OWNER, LANES = b"driver-1", [b"executo%d" % i for i in range(3)]
NAMES = ["load_fold", "train_model", "<img src=x onerror=alert(1)>", "مرحبا 🚀"]
feed = Feed()
t0 = 1_700_000_000.0
for i, lane in enumerate(LANES):
    feed.append((3, t0, lane, "up", "actor" if i == 2 else "lane", 4000 + i, b"node-id1", ""))
feed.append((4, t0, OWNER + bytes(8), "Leaderboard", "best", "alive", 1, LANES[2], ""))

def work(first, count, took):
    for n in range(first, first + count):
        start = t0 + (n // 3) * took
        failed = n % 50 == 7
        feed.append((0, start, OWNER, n, NAMES[n % 4], "task", "", "", (), 1))
        feed.append((1, start, OWNER, n, LANES[n % 3], 0))
        feed.append((2, start + took, OWNER, n, "failed" if failed else "done", start, took * 0.9, LANES[n % 3],
                     "ValueError: <b>no</b>" if failed else ""))

def gate(name):
    "Waits for the test's leave, which keeps this cell running: the picture must move meanwhile."
    while not pathlib.Path(name).exists():
        time.sleep(0.02)
"""
WORK = """
import time, nbray

@nbray.remote
def load_fold(i):
    time.sleep(0.02 + i % 4 / 100)
    return i

@nbray.remote
def train_model(fold):
    time.sleep(0.05 + fold % 5 / 50)
    return fold

@nbray.remote
def score(model):
    time.sleep(0.01)
    if model == 13:
        raise ValueError("the model did not converge")
    return model

@nbray.remote
class Leaderboard:
    def add(self, score):
        time.sleep(0.004)

board = Leaderboard.remote()
scores = [score.remote(train_model.remote(load_fold.remote(i))) for i in range(30)]
added = [board.add.remote(s) for s in scores]
nbray.wait(added, num_returns=30)
"""
SHOW = "timeline = Timeline(feed)\ntimeline"
LITTLE = 'work(0, 90, 0.1)\ngate("timeline1.gate")'
MUCH = "work(90, 30_000, 0.1)"


def shown(page) -> tuple[float, float]:
    begin, end = page.locator(".nbray-plot").evaluate("plot => [+plot.dataset.begin, +plot.dataset.end]")
    return begin, end


def spans(page, count: int):
    return page.locator(f'.nbray-view.nbray-timeline[data-spans="{count}"]')


@pytest.fixture
def opened_timeline(opened, lab):
    (lab.notebooks / "timeline1.gate").unlink(missing_ok=True)
    notebook = opened("timeline.ipynb", SETUP, SHOW, LITTLE, MUCH, "feed.close()")
    notebook.run(0)
    notebook.run(1)
    notebook.page.locator(".nbray-view.nbray-timeline").wait_for()
    notebook.run(2)
    spans(notebook.page, 90).wait_for()
    yield notebook
    (lab.notebooks / "timeline1.gate").touch()


def test_it_moves_while_a_cell_runs_and_can_be_zoomed_pinned_filtered_and_saved(opened_timeline, lab):
    notebook, page = opened_timeline, opened_timeline.page
    plot = page.locator(".nbray-plot")
    page.wait_for_function("+document.querySelector('.nbray-plot').dataset.drawn >= 90")
    notebook.shoot("timeline-running", page.locator(".nbray-view"))
    (lab.notebooks / "timeline1.gate").touch()
    notebook.ended(2)

    # The wheel zooms where the pointer is.
    plot.hover(position={"x": 500, "y": 60})
    whole = shown(page)
    page.mouse.wheel(0, -400)
    page.wait_for_function(
        "whole => +document.querySelector('.nbray-plot').dataset.end < whole", arg=whole[1]
    )
    near = shown(page)
    assert near[1] - near[0] < (whole[1] - whole[0]) * 0.7

    # Dragging moves, and does not pin.
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 500, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_function("near => +document.querySelector('.nbray-plot').dataset.begin > near", arg=near[0])
    assert page.locator(".nbray-timeline .nbray-panel").is_hidden()

    # A click pins, and the kernel tells the rest. The eighth call has failed, on the second lane, in the third round.
    plot.focus()
    page.keyboard.press("0")
    page.wait_for_function("() => document.querySelector('.nbray-plot').dataset.begin === '0.00000'")
    begin, end = shown(page)
    gutter = min(max(box["width"] * 0.2, 84), 190)
    x = gutter + (box["width"] - gutter - 8) * (0.24 - begin) / (end - begin)
    plot.click(position={"x": x, "y": 24 + 27 + 12 + 16 * 0})
    panel = page.locator(".nbray-timeline .nbray-panel")
    panel.get_by_text("ValueError: <b>no</b>").wait_for()
    panel.get_by_text("pid 4001").wait_for()
    notebook.shoot("timeline-pinned", page.locator(".nbray-view"))
    page.keyboard.press("Escape")
    panel.wait_for(state="hidden")

    # Names are text.
    chips = page.locator(".nbray-chip")
    assert chips.count() == 4
    assert page.locator(".nbray-chip[data-name='<img src=x onerror=alert(1)>']").count() == 1
    assert page.locator(".nbray-timeline img").count() == 0

    # The legend leaves functions out.
    page.locator(".nbray-chip[data-name=load_fold]").click()
    page.wait_for_function("+document.querySelector('.nbray-plot').dataset.drawn < 90")
    page.locator(".nbray-chip[data-name=load_fold]").click()

    with page.expect_download() as download:
        page.get_by_role("button", name="save a Chrome trace").click()
    trace = json.loads(Path(download.value.path()).read_text())["traceEvents"]
    assert sum(record["ph"] == "X" for record in trace) == 90
    with page.expect_download() as download:
        page.get_by_role("button", name="save the picture").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    assert notebook.errors == []


def test_many_spans_are_bins_until_one_looks_closely_and_the_keyboard_reaches_all(opened_timeline, lab):
    notebook, page = opened_timeline, opened_timeline.page
    (lab.notebooks / "timeline1.gate").touch()
    notebook.ended(2)
    notebook.run(3)
    spans(page, 30_090).wait_for()
    notebook.ended(3)
    page.wait_for_function("+document.querySelector('.nbray-plot').dataset.end > 1000")
    assert page.locator(".nbray-plot").evaluate("plot => +plot.dataset.drawn") < 4_000
    notebook.shoot("timeline-many", page.locator(".nbray-view"))
    plot = page.locator(".nbray-plot")
    plot.focus()
    for _ in range(14):
        page.keyboard.press("+")
    page.keyboard.press("Home")
    # The beginning is long gone from what the browser keeps: the kernel is asked.
    page.wait_for_function(
        """() => { const { begin, end, drawn } = document.querySelector('.nbray-plot').dataset;
                   return +begin === 0 && +end < 20 && +drawn > 30 && +drawn < 700 }"""
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    panel = page.locator(".nbray-timeline .nbray-panel")
    panel.get_by_text("pid 4000").wait_for()
    page.keyboard.press("Escape")
    panel.wait_for(state="hidden")
    page.keyboard.press("f")
    page.locator("button[aria-pressed=true]", has_text="follow").wait_for()

    page.set_viewport_size({"width": 700, "height": 900})
    page.evaluate("document.querySelector('.nbray-view').style.width = '400px'")
    page.wait_for_function("document.querySelector('.nbray-plot').getBoundingClientRect().width <= 400")
    notebook.shoot("timeline-400px", page.locator(".nbray-view"))
    page.set_viewport_size({"width": 1180, "height": 900})
    page.evaluate("document.querySelector('.nbray-view').style.width = ''")
    notebook.theme("JupyterLab Dark")
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    notebook.shoot("timeline-dark", page.locator(".nbray-view"))
    notebook.theme("JupyterLab Light")
    assert notebook.errors == []


def test_reopened_without_a_kernel_it_shows_its_last_picture(opened_timeline, lab):
    notebook, page = opened_timeline, opened_timeline.page
    (lab.notebooks / "timeline1.gate").touch()
    notebook.ended(2)
    notebook.run(4)
    page.locator(".nbray-live").get_by_text("ended").wait_for()
    saved = notebook.save()
    widget, still = saved.cells[1].outputs
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    assert 'data-spans="90"' in still.data["text/html"]
    lab.end_kernels()
    page.reload()
    page.locator('.nbray-still.nbray-timeline[data-spans="90"] img').wait_for()
    assert page.locator(".nbray-view").count() == 0
    notebook.shoot("timeline-reopened", page.locator(".nbray-still"))


def keep_widget_state(page) -> None:
    """Toggles JupyterLab's setting. What is checked has another role than what is not."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-item").filter(has_text="Save Widget State Automatically").click()


def test_reopened_with_its_widget_state_it_shows_its_last_picture(opened_timeline, lab):
    notebook, page = opened_timeline, opened_timeline.page
    keep_widget_state(page)
    try:
        (lab.notebooks / "timeline1.gate").touch()
        notebook.ended(2)
        notebook.run(4)
        page.locator(".nbray-live").get_by_text("ended").wait_for()
        # JupyterLab gathers the state when a save has begun: on a slow machine too late for that one.
        while "widgets" not in notebook.save().metadata:
            pass
        lab.end_kernels()
        page.reload()
        page.locator('.nbray-view.nbray-timeline[data-spans="90"]').wait_for()
        page.locator('.nbray-plot[data-drawn="90"]').wait_for()
        assert page.locator(".nbray-chip").count() == 4
        assert page.locator(".nbray-still img").count() == 0
    finally:
        keep_widget_state(page)
    assert notebook.errors == []


def test_the_timeline_of_a_pool(opened, lab):
    notebook = opened(
        "pool-timeline.ipynb",
        "%load_ext nbray\n%nbray init -n 2",
        "%nbray timeline",
        WORK,
        "%nbray shutdown",
    )
    page = notebook.page
    notebook.run(0)
    page.locator(".nbray-cluster").wait_for()
    notebook.run(1)
    page.locator(".nbray-view .nbray-empty").get_by_text("Nothing has run yet").wait_for()
    notebook.run(2)
    notebook.ended(2)
    page.wait_for_function("+document.querySelector('.nbray-view.nbray-timeline').dataset.spans >= 119")
    page.locator(".nbray-chip[data-name=train_model]").wait_for()
    page.locator(".nbray-failed").get_by_text("failed").wait_for()
    page.locator(".nbray-chip[data-name='Leaderboard.add']").wait_for()
    notebook.shoot("timeline-pool", page.locator(".nbray-view"))
    notebook.run(3)
    page.locator(".nbray-live").get_by_text("ended").wait_for()
    assert notebook.errors == []
