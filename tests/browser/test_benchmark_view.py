"""The benchmark view in JupyterLab: it fills while cells measure, and stays as a picture."""

from __future__ import annotations

import json

import nbformat

SETUP = "%load_ext nbray\n%nbray init -n 2"
WORK = """
import pathlib, time
import nbray

def work(x):
    total = 0
    for k in range(600):
        total += (x * k) % 7
    return total

@nbray.remote
def part(numbers):
    return [work(x) for x in numbers]

numbers = list(range(20_000))

def gate():
    "Waits for the test's leave, once: the picture must be there before the cell has ended."
    while not pathlib.Path("sweep.gate").exists():
        time.sleep(0.02)
"""
SWEEP = """%%nbray sweep --over "chunk=1,10,100,1000,20000" --workers 1,2 -r 3 --serial "[work(x) for x in numbers]"
if chunk == 100 and workers == 2:
    gate()
parts = [part.remote(numbers[i:i + chunk]) for i in range(0, len(numbers), chunk)]
found = nbray.get(parts)"""


def test_a_sweep_is_drawn_while_it_runs_and_stays_in_the_saved_notebook(opened, lab):
    (lab.notebooks / "sweep.gate").unlink(missing_ok=True)
    notebook = opened("sweep.ipynb", SETUP, WORK, SWEEP, "%nbray shutdown")
    page = notebook.page
    for number in range(3):
        notebook.run(number)
    view = page.locator('.nbray-bench[data-cases="10"][data-kind="sweep"]')
    page.locator('.nbray-bench[data-status="running"]').wait_for()
    view.get_by_text("warming up 2 workers, round 1 of 3").wait_for()
    assert view.locator(".nbray-point").count() == 5
    notebook.shoot("sweep-running", view)
    (lab.notebooks / "sweep.gate").touch()
    notebook.ended(2)
    page.locator('.nbray-bench[data-status="done"][data-done="33"]').wait_for()
    assert view.locator(".nbray-point").count() == 10
    assert view.locator(".nbray-said > p").inner_text().startswith("Best: chunk=")
    assert view.locator(".nbray-best .nbray-ring").count() == 1

    # By keyboard: a point marks its row, and shows where the time of its line went.
    point = view.locator('.nbray-point[aria-label^="chunk=1 with 1 worker"]')
    point.focus()
    page.keyboard.press("Enter")
    view.locator("tr.nbray-marked").get_by_text("1", exact=True).first.wait_for()
    view.get_by_text("Where the CPUs' time went: 1 worker").wait_for()
    view.locator('button[data-line="1"]').press("Enter")
    view.get_by_text("Where the CPUs' time went: 2 workers").wait_for()
    view.get_by_role("tab", name="efficiency").click()
    view.locator('.nbray-tick:text("100 %")').first.wait_for()
    view.get_by_role("tab", name="time").click()
    heads = view.locator("th")
    heads.nth(2).get_by_role("button").click()
    assert heads.nth(2).get_attribute("aria-sort") == "ascending"
    assert "nbray-best" in (view.locator("tbody tr").first.get_attribute("class") or "")
    with page.expect_download() as download:
        view.get_by_role("button", name="JSON").click()
    saved = json.loads(download.value.path().read_text())
    assert len(saved["rows"]) == 10
    assert sum(len(row["samples"]) for row in saved["rows"]) == 30
    with page.expect_download() as download:
        view.get_by_role("button", name="CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 11
    heads.nth(2).get_by_role("button").click()
    heads.nth(2).get_by_role("button").click()  # as it was

    for width in (1400, 900, 400):
        page.set_viewport_size({"width": width + 150, "height": 1100})
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            notebook.theme(theme)
            page.locator(f'body[data-jp-theme-name="{theme}"]').wait_for(state="attached")
            page.wait_for_function("!document.querySelector('#jupyterlab-splash')")
            notebook.shoot(f"sweep-{width}-{theme.split()[1].lower()}", view)
        assert view.evaluate("node => node.scrollWidth <= node.clientWidth + 1")

    page.set_viewport_size({"width": 1080, "height": 1100})
    view.locator("summary").click()
    notebook.shoot("sweep", view)  # the README's picture
    notebook.run(3)
    notebook.ended(3)
    outputs = notebook.save().cells[2].outputs
    stills = [
        output.data["text/html"]
        for output in outputs
        if "nbray-still" in output.get("data", {}).get("text/html", "")
    ]
    assert len(stills) == 1
    assert 'data-status="done"' in stills[0]
    assert notebook.errors == []


def test_a_comparison_and_a_timing_are_drawn(opened, lab):
    (lab.notebooks / "sweep.gate").touch()
    notebook = opened(
        "bench.ipynb",
        SETUP,
        WORK,
        "%nbray bench tasks_sync tasks_batch get_small --vs processes --rounds 2 --seconds 0.1",
        "%%nbray time -r 3\nnbray.get([part.remote(numbers[i:i + 500]) for i in range(0, len(numbers), 500)])",
        "_.summary.samples",
    )
    page = notebook.page
    for number in range(5):
        notebook.run(number)
    notebook.ended(4)
    bench = page.locator('.nbray-bench[data-kind="bench"][data-cases="3"][data-status="done"]')
    bench.locator(
        '.nbray-case[data-case="tasks_sync"] .nbray-peer[data-peer="processes"] .nbray-fill'
    ).wait_for()
    assert bench.locator('.nbray-peer[data-peer="nbray"] .nbray-fill').count() == 3
    assert "×" in bench.locator('.nbray-case[data-case="tasks_batch"] .nbray-ratio').nth(1).inner_text()
    notebook.shoot("bench", bench)
    timing = page.locator('.nbray-bench[data-kind="time"][data-status="done"]')
    assert timing.locator(".nbray-row").count() == 3
    notebook.shoot("time", timing)
    (value,) = nbformat.from_dict(notebook.save()).cells[4].outputs
    assert value.data["text/plain"] == "3"
    assert notebook.errors == []
