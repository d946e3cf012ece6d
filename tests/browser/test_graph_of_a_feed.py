"""The task graph in JupyterLab over a feed that the test fills step by step: every picture on the way is known."""

from __future__ import annotations

import pytest
from nbconvert import HTMLExporter

SETUP = """
import os, time, pathlib
from nbray.events import Feed
from nbray_widgets import TaskGraph

OWNER, ACTOR, LANES = b"driver-1", b"driver-1" + (9000).to_bytes(8, "big"), [b"executor", b"executo2"]
feed = Feed()
now = 1_700_000_000.0

def oid(n):
    return OWNER + n.to_bytes(8, "big")

def submit(n, name, needs=(), kind="task"):
    feed.append((0, now, OWNER, n, name, kind, ACTOR if kind != "task" else "", "", tuple(map(oid, needs)), 1))

def start(n):
    feed.append((1, now + n / 100, OWNER, n, LANES[n % 2], 0))

def end(n, state="done", took=0.02, error=""):
    feed.append((2, now + n / 100 + took, OWNER, n, state, now + n / 100, took, LANES[n % 2], error))

def gate(name):
    "Waits for the test's leave, which keeps this cell running: the picture must move meanwhile."
    while not pathlib.Path(name).exists():
        time.sleep(0.02)

NAMES = ["load_fold", "train_model", "score", "Leaderboard.add"]
"""
SHOW = "graph = TaskGraph(feed)\ngraph"
WORK = """
feed.append((4, now, ACTOR, "Leaderboard", "board", "alive", 1, LANES[0], ""))
submit(9000, "Leaderboard.__init__", kind="actor_creation"); start(9000); end(9000)
for i in range(40):
    a = 4 * i
    submit(a, NAMES[0], [9999]); submit(a + 1, NAMES[1], [a]); submit(a + 2, NAMES[2], [a + 1, a])
    submit(a + 3, NAMES[3], [a + 2], "actor_method")
for i in range(25):
    a = 4 * i
    start(a); end(a)
    start(a + 1)
    if i < 21:
        end(a + 1, *(("failed", 0.4, "ValueError: <img src=x onerror=alert(1)>") if i == 7 else ("done", 0.2 + i / 100)))
        if i == 7:
            end(a + 2, "failed", 0, "ValueError: its argument failed"); end(a + 3, "failed", 0, "ValueError: its argument failed")
        elif i < 16:
            start(a + 2); end(a + 2, "done", 0.03)
            if i < 10:
                start(a + 3); end(a + 3, "done", 0.001)
gate("half.gate")
for i in range(40):
    a = 4 * i
    if i == 7: continue
    for k, first in ((0, 25), (1, 25), (2, 16), (3, 10)):
        if i >= first: start(a + k)
    if i >= 25: end(a)
    if i >= 21: end(a + 1, took=0.3)
    if i >= 16: end(a + 2, took=0.03)
    if i >= 10: end(a + 3, took=0.001)
print("all is over")
"""


def group(notebook, name: str, **counts: int):
    wanted = "".join(f'[data-{state}="{count}"]' for state, count in counts.items())
    return notebook.page.locator(f'.nbray-graph .nbray-group[data-name="{name}"]{wanted}')


@pytest.fixture
def running(opened, lab):
    (lab.notebooks / "half.gate").unlink(missing_ok=True)
    notebook = opened("feed.ipynb", SETUP, SHOW, WORK, "feed.close()")
    notebook.run(0)
    notebook.run(1)
    notebook.page.locator(".nbray-view.nbray-graph").wait_for()
    notebook.run(2)
    yield notebook
    (lab.notebooks / "half.gate").touch()


def test_the_graph_moves_while_a_cell_runs_and_tells_of_single_tasks(running, lab):
    notebook = running
    group(notebook, "train_model", done=20, running=4, waiting=15, failed=1).wait_for()
    group(notebook, "load_fold", done=25, waiting=15).wait_for()
    notebook.page.locator('.nbray-actor[data-name="Leaderboard"][data-queue="30"]').wait_for()
    graph = notebook.page.locator(".nbray-graph")
    notebook.shoot("feed-running", graph)

    group(notebook, "train_model").click()
    panel = graph.locator(".nbray-panel")
    panel.get_by_text("ValueError: <img src=x onerror=alert(1)>").wait_for()
    assert panel.locator("img").count() == 0
    notebook.shoot("feed-tasks", graph)
    notebook.page.keyboard.press("Escape")

    (lab.notebooks / "half.gate").touch()
    notebook.ended(2)
    group(notebook, "train_model", done=39, running=0, waiting=0, failed=1).wait_for()
    notebook.shoot("feed-done", notebook.page.locator(".nbray-graph"))
    assert notebook.errors == []


def test_it_can_be_read_and_reached_without_a_mouse(running, lab):
    notebook, page = running, running.page
    group(notebook, "train_model", running=4).wait_for()
    target = group(notebook, "score")
    group(notebook, "train_model").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.name") == "score"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.name") == "train_model"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.name") == "score"
    assert "40 tasks, 15 done, 24 waiting, 1 failed" in (target.get_attribute("aria-label") or "")
    page.keyboard.press("Enter")
    page.locator(".nbray-panel").get_by_text("ValueError: its argument failed").wait_for()
    assert target.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.locator(".nbray-panel").wait_for(state="hidden")


def test_it_can_be_moved_searched_and_folded_and_a_task_leads_to_what_it_needed(running, lab):
    notebook, page = running, running.page
    group(notebook, "train_model", running=4).wait_for()
    svg = page.locator(".nbray-svg")
    whole = float(svg.get_attribute("data-zoom"))
    page.get_by_role("button", name="zoom in").click()
    page.wait_for_function("whole => +document.querySelector('.nbray-svg').dataset.zoom > whole", arg=whole)
    before = group(notebook, "score").bounding_box()
    box = svg.bounding_box()
    page.mouse.move(before["x"] + 20, before["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, before["y"] + 30, steps=5)
    page.mouse.up()
    assert group(notebook, "score").bounding_box()["x"] != before["x"]
    assert page.locator(".nbray-graph .nbray-panel").is_hidden()  # dragging is no click
    page.mouse.wheel(0, 200)
    page.wait_for_function(
        "zoom => +document.querySelector('.nbray-svg').dataset.zoom < zoom * 1.3", arg=whole
    )

    page.keyboard.press("Escape")
    search = page.get_by_role("searchbox")
    search.fill("model train")
    group(notebook, "score").wait_for(state="detached")
    search.fill("no such thing")
    page.get_by_text("Nothing here has such a name").wait_for()
    search.press("Escape")
    group(notebook, "score").wait_for()
    page.get_by_label("which groups to show").select_option("failed")
    group(notebook, "load_fold").wait_for(state="detached")
    page.get_by_label("which groups to show").select_option("all")

    page.locator(".nbray-actor-head").focus()
    page.keyboard.press("Enter")
    group(notebook, "Leaderboard.add").wait_for(state="detached")
    page.locator(".nbray-actor .nbray-queue, .nbray-group[data-name=Leaderboard]").first.wait_for()
    page.keyboard.press("Enter")
    group(notebook, "Leaderboard.add").wait_for()

    group(notebook, "train_model").focus()
    page.keyboard.press("Enter")
    page.locator(".nbray-need", has_text="load_fold").first.click()
    page.locator(".nbray-panel-title").get_by_text("load_fold").wait_for()
    assert group(notebook, "load_fold").get_attribute("aria-expanded") == "true"
    assert notebook.errors == []


def test_it_stays_readable_in_a_narrow_window_and_in_the_dark(running, lab):
    notebook, page = running, running.page
    group(notebook, "train_model", running=4).wait_for()
    group(notebook, "train_model").click()
    page.locator(".nbray-tasks").wait_for()
    page.set_viewport_size({"width": 700, "height": 900})  # of which JupyterLab leaves the graph about 500 px
    page.evaluate("document.querySelector('.nbray-graph').style.width = '400px'")
    page.wait_for_function(
        """() => { const svg = document.querySelector('.nbray-svg').getBoundingClientRect();
                   return svg.width <= 400 && svg.height > 400 }"""
    )
    page.wait_for_function(  # boxes glide to their new places; only the sign of life goes on for ever
        "() => document.getAnimations().every(a => a.effect.getTiming().iterations === Infinity)"
    )
    notebook.shoot("feed-400px", page.locator(".nbray-graph"))
    page.set_viewport_size({"width": 1180, "height": 900})
    page.evaluate("document.querySelector('.nbray-graph').style.width = ''")
    light = page.evaluate("getComputedStyle(document.querySelector('.nbray-graph')).backgroundColor")
    notebook.theme("JupyterLab Dark")
    page.wait_for_function(
        "light => getComputedStyle(document.querySelector('.nbray-graph')).backgroundColor !== light",
        arg=light,
    )
    notebook.shoot("feed-dark", page.locator(".nbray-graph"))
    notebook.theme("JupyterLab Light")


def test_the_saved_and_the_exported_notebook_show_the_last_picture(running, lab, browser, tmp_path):
    notebook = running
    group(notebook, "train_model", running=4).wait_for()
    (lab.notebooks / "half.gate").touch()
    notebook.ended(2)
    group(notebook, "train_model", done=39).wait_for()
    live = notebook.save()
    widget, still = live.cells[1].outputs
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    assert 'data-name="train_model" data-done="39"' in still.data["text/html"]
    assert "39 done" in still.data["text/plain"]

    notebook.run(3)  # the pool ends
    notebook.page.locator(".nbray-live").get_by_text("ended").wait_for()
    group(notebook, "train_model").click()  # and what has been can still be looked into
    notebook.page.locator(".nbray-panel").get_by_text("ValueError: <img src=x onerror=alert(1)>").wait_for()
    notebook.shoot("feed-ended", notebook.page.locator(".nbray-graph"))
    ended = notebook.save()

    for name, saved in (("live", live), ("ended", ended)):
        exported, _ = HTMLExporter().from_notebook_node(saved)
        path = tmp_path / f"{name}.html"
        path.write_text(exported)
        page = browser.new_page()
        page.route("http*://**", lambda route: route.abort())  # a reader without a network
        page.goto(path.as_uri())
        page.locator('.nbray-graph .nbray-group[data-name="train_model"][data-done="39"]').wait_for()
        notebook.shoot(f"feed-exported-{name}", page.locator(".nbray-graph"))
        page.close()


def test_of_a_kernel_that_is_restarted_nothing_is_shown_as_running_on(running, lab):
    notebook, page = running, running.page
    group(notebook, "train_model", running=4).wait_for()
    page.locator(".nbray-graph.nbray-active .nbray-live", has_text="live").wait_for()
    notebook.restart_kernel()
    page.locator(".nbray-graph:not(.nbray-active) .nbray-live", has_text="ended").wait_for()
    group(notebook, "train_model", running=4).wait_for()  # the last picture stays
    notebook.shoot("feed-restarted", page.locator(".nbray-graph"))


def test_restarted_and_reopened_without_a_kernel_it_shows_the_picture_and_no_error(running, lab):
    notebook, page = running, running.page
    group(notebook, "train_model", running=4).wait_for()
    (lab.notebooks / "half.gate").touch()
    notebook.ended(2)
    page.locator(".nbray-view.nbray-graph").wait_for()
    assert page.locator(".nbray-still").count() == 0  # one picture, not two
    notebook.save()

    notebook.restart_kernel()
    group(notebook, "train_model", done=39).wait_for()
    assert page.locator(".nbray-graph").count() == 1

    page.get_by_text("| Idle").wait_for()
    lab.end_kernels()
    page.reload()
    page.locator(".nbray-still").wait_for()
    group(notebook, "train_model", done=39).wait_for()
    page.locator(".jp-OutputArea", has_text="model not found").wait_for(
        state="attached"
    )  # given up after two seconds
    assert not page.get_by_text("model not found").is_visible()
    notebook.shoot("feed-reopened")
