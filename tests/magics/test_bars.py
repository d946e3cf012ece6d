"""Bars in a real kernel: under the cell, changed in place, and as a line in what is saved."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from kernels import Kernel, after, of_kind, said

pytestmark = pytest.mark.may_leak(
    "fds", why="jupyter_client keeps an event loop for as long as the process lives"
)

BEGIN = """
import os, time
import nbray
from nbray.bars import waits
from nbray.owner import waiting
waiting.LONG = 0.3
nbray.init(num_cpus=2)

@nbray.remote
def load(seconds):
    time.sleep(seconds)
    return seconds
"""


def displays(published: list[dict]) -> dict[str, list[dict]]:
    """The states of each display, by its id."""
    found: dict[str, list[dict]] = {}
    for message in published:
        if message["msg_type"] in ("display_data", "update_display_data"):
            content = message["content"]
            states = found.setdefault(content["transient"]["display_id"], [])
            assert (message["msg_type"] == "display_data") == (not states)
            states.append(content["data"])
    return found


def test_bars_in_a_notebook(kernel: Kernel) -> None:
    kernel.ok(BEGIN)

    # A long get: one display, changed in place, whose last state is a line.
    (states,) = displays(kernel.ok("x = nbray.get([load.remote(0.2) for _ in range(6)])")).values()
    assert len(states) > 2
    assert 'role="progressbar"' in states[0]["text/html"]
    assert re.fullmatch(r"load  6/6 · [\d.]+ s · [\d.]+/s", states[-1]["text/plain"])
    assert 'data-state="done" data-done="6" data-total="6"' in states[-1]["text/html"]
    assert "<script" not in states[-1]["text/html"]

    # A short one: nothing.
    assert not displays(kernel.ok("x = nbray.get([load.remote(0) for _ in range(6)])"))

    # A program that runs the kernel sees none.
    request = kernel.client.execute("x = nbray.get([load.remote(0.4), load.remote(0.4)])", allow_stdin=False)
    published = []
    while not published or published[-1]["content"].get("execution_state") != "idle":
        message = kernel.client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") == request:
            published.append(message)
    kernel.client.get_shell_msg(timeout=60)
    assert not displays(published)

    # Nothing happens: the bar says why.
    (states,) = displays(
        kernel.ok("waits.STUCK = 0.5\nx = nbray.get(load.remote(1.5))\nwaits.STUCK = 10")
    ).values()
    assert re.search(r"load \(running on pid \d+ for \d s\)", states[0]["text/plain"])
    assert re.fullmatch(r"load  1/1 · 1\.\d s", states[-1]["text/plain"])

    # A loop of waits has one bar, and the refs that a cell ends with are not shown as well.
    loop = "refs = [load.remote(0.4) for _ in range(6)]\nwhile refs: _, refs = nbray.wait(refs)"
    (states,) = displays(kernel.ok(loop)).values()
    assert re.match(r"load  6/6 · ", states[-1]["text/plain"])
    published = kernel.ok("nbray.progress([load.remote(0.1)], desc='<b>x</b>')")
    (states,) = displays(published).values()
    assert "&lt;b&gt;x&lt;/b&gt;" in states[-1]["text/html"]
    assert not of_kind(published, "execute_result")


def test_an_interrupt_gives_the_prompt_back_and_leaves_a_line(kernel: Kernel) -> None:
    kernel.ok(BEGIN)
    shown = threading.Event()

    def heard(message: dict) -> None:
        if message["msg_type"] == "update_display_data":
            shown.set()

    thread = after(shown, kernel.interrupt)
    reply, published = kernel.run("nbray.progress([load.remote(30), load.remote(30)])", heard)
    thread.join()
    assert reply["ename"] == "KeyboardInterrupt"
    (states,) = displays(published).values()
    assert re.fullmatch(r"load  0/2 · interrupted · [\d.]+ s", states[-1]["text/plain"])
    assert 'data-state="interrupted"' in states[-1]["text/html"]


def test_bars_of_tasks_show_under_the_cell_that_submitted_them(kernel: Kernel) -> None:
    kernel.ok(BEGIN)
    kernel.ok("""
import threading
@nbray.remote
def work(n):
    for i in nbray.util.tqdm(range(n), desc="rows"):
        time.sleep(0.02)
    print("worked")
@nbray.remote
class Gate:
    def __init__(self): self.open = False
    async def wait(self):
        import asyncio
        while not self.open: await asyncio.sleep(0.01)
    async def let(self): self.open = True
gate = Gate.options(num_cpus=0).remote()
@nbray.remote
def later(n):
    nbray.get(gate.wait.remote())
    for i in nbray.util.tqdm(range(n), desc="late"): pass
""")
    published = kernel.ok("nbray.get(work.remote(20))")
    (states,) = displays(published).values()
    assert re.fullmatch(r"work: rows \(pid \d+\)  20/20 · [\d.]+ s · [\d.]+/s", states[-1]["text/plain"])
    assert "worked" in said(published)

    # Submitted here, run during a later cell.
    first = kernel.client.execute("ref = later.remote(5)")
    second = kernel.client.execute("nbray.get([gate.let.remote(), ref])")
    under: dict[str, list[dict]] = {first: [], second: []}
    idle = 0
    while idle < 2:
        message = kernel.client.get_iopub_msg(timeout=60)
        parent = message["parent_header"].get("msg_id")
        if parent in under:
            under[parent].append(message)
            idle += message["content"].get("execution_state") == "idle"
    assert "late" in str(displays(under[first]))
    assert "late" not in str(displays(under[second]))


def test_a_line_that_a_task_writes_over_is_seen_while_it_does(kernel: Kernel, tmp_path: Path) -> None:
    kernel.ok(BEGIN)
    kernel.ok(f"""
@nbray.remote
def count():
    def until_seen(text):
        while not os.path.exists({str(tmp_path)!r} + "/" + text):
            time.sleep(0.01)
    for number in range(3):
        print(f"{{number}} of 3 ", end="\\r")
        until_seen(f"{{number}} of 3")
    print("all of them")
    print("and", end="")
    until_seen("and")
    print(" more")
""")

    def go_on(message: dict) -> None:
        """The task waits until what it has begun to write was shown."""
        shown = message["content"].get("data", {}).get("text/plain", "")
        if shown:
            (tmp_path / shown.partition(") ")[2].strip()).touch()

    reply, published = kernel.run("nbray.get(count.remote())", go_on)
    assert reply["status"] == "ok"
    (states,) = displays(published).values()
    texts = [re.sub(r"pid=\d+", "pid=N", state["text/plain"]).strip() for state in states]
    begun = ["0 of 3", "1 of 3", "2 of 3", "and"]
    assert [text for text in texts if text] == [f"(count pid=N) {text}" for text in begun]
    assert not texts[-1]  # the whole line stands elsewhere
    lines = re.sub(r"pid=\d+", "pid=N", said(published))
    assert lines == "(count pid=N) all of them\n(count pid=N) and more\n"


def test_whole_lines_are_no_displays(kernel: Kernel) -> None:
    kernel.ok(BEGIN)
    kernel.ok("""
@nbray.remote
def talk(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        print("a", "line")
""")
    published = kernel.ok("ref = talk.remote(1.5)\nnbray.wait([ref], timeout=30)")
    assert not [
        data
        for states in displays(published).values()
        for data in states
        if "nbray-begun" in data["text/html"]
    ]
