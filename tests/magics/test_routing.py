"""Output of tasks and actors, under the cell that submitted them: in real kernels, by the Jupyter protocol."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import ipykernel6
import kernels
import pytest
from kernels import PATIENCE

pytestmark = pytest.mark.may_leak(
    "fds",
    "processes",
    "files",
    why="jupyter_client keeps an event loop for as long as the process lives; the kernel's pool outlives a test",
)

DEFINE = """
import os, sys, threading, time, pathlib
import nbray as ray

def gate(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.01)

@ray.remote
def say(*words, then=None):
    if then:
        gate(then)
    for word in words:
        print(word)
"""


class Cells:
    """A kernel whose messages are kept by the cell under which they were published."""

    def __init__(self, kernel: kernels.Kernel, directory: Path) -> None:
        self.kernel = kernel
        self.directory = directory
        self.messages: dict[str, list[dict]] = {}
        self._gates = 0

    def start(self, code: str) -> str:
        request = self.kernel.client.execute(code)
        self.messages[request] = []
        return request

    def until(self, seen: Callable[[], bool]) -> None:
        while not seen():
            message = self.kernel.client.get_iopub_msg(timeout=PATIENCE)
            self.messages.setdefault(message["parent_header"].get("msg_id", ""), []).append(message)

    def run(self, code: str) -> str:
        request = self.start(code)
        self.until(lambda: self.ended(request))
        reply = self.kernel._reply(request)
        assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))
        return request

    def ended(self, cell: str) -> bool:
        return any(
            message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
            for message in self.messages[cell]
        )

    def stream(self, cell: str, name: str = "stdout") -> str:
        return "".join(
            message["content"]["text"]
            for message in self.messages[cell]
            if message["msg_type"] == "stream" and message["content"]["name"] == name
        )

    def displays(self, cell: str) -> dict[str, dict]:
        """The last data of each display, in the order of their first."""
        found: dict[str, dict] = {}
        for message in self.messages[cell]:
            if message["msg_type"] in ("display_data", "update_display_data"):
                found[message["content"]["transient"]["display_id"]] = message["content"]["data"]
        return found

    def said(self, cell: str) -> list[str]:
        """The words after the prefix, of streams and then of blocks."""
        text = self.stream(cell)
        for data in self.displays(cell).values():
            text += data["text/plain"] + "\n"
        return [line.partition(") ")[2] for line in text.splitlines()]

    def gate(self) -> str:
        self._gates += 1
        return f"gate{self._gates}"

    def open(self, gate: str) -> None:
        (self.directory / gate).touch()


@pytest.fixture(scope="module", params=["newest", "6.29"])
def cells(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    directory = tmp_path_factory.mktemp("routing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(directory))
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
        if request.param == "6.29":
            patch.setenv("PYTHONPATH", ipykernel6.place())
        with kernels.kernel(directory) as kernel:
            found = Cells(kernel, directory)
            version = found.run("import ipykernel; print(ipykernel.__version__)")
            assert found.stream(version).startswith("6.29") == (request.param == "6.29")
            found.run(DEFINE + "ray.init(num_cpus=2)")  # no %load_ext: init alone is enough
            yield found


def test_a_tasks_lines_are_under_its_cell_between_the_cells_own(cells):
    cell = cells.run("print('before'); ray.get(say.remote('one', 'two')); print('after')")
    first, *middle, last = cells.stream(cell).splitlines()
    assert (first, last) == ("before", "after")
    assert [line.split(") ")[1] for line in middle] == ["one", "two"]
    assert middle[0].startswith("(say pid=")


def test_stdout_and_stderr_are_apart(cells):
    cell = cells.run("""
@ray.remote
def both():
    print("to out")
    print("to err", file=sys.stderr)
ray.get(both.remote())
""")
    assert cells.stream(cell, "stdout").endswith(") to out\n")
    assert cells.stream(cell, "stderr").endswith(") to err\n")


def test_late_lines_go_to_their_cell_while_another_runs_and_after_it(cells):
    first, second = cells.gate(), cells.gate()
    early = cells.run(f"a = say.remote('early', then='{first}'); b = say.remote('late', then='{second}')")
    assert cells.stream(early) == ""
    busy = cells.start(f"ray.wait([a]); print('mine'); gate('{second}')")
    cells.open(first)
    cells.until(lambda: "early" in cells.stream(early))
    cells.open(second)
    cells.until(lambda: "late" in cells.stream(early) and cells.ended(busy))
    assert cells.stream(busy) == "mine\n"
    assert cells.said(early) == ["early", "late"]


def test_a_failure_that_nobody_asks_for_is_under_its_cell_by_the_cells_line(cells):
    go = cells.gate()
    failing = cells.run(f"""
@ray.remote
def unasked():
    gate('{go}')
    raise ValueError("of an earlier cell")
unasked.remote()
None
""")
    assert cells.stream(failing, "stderr") == ""
    busy = cells.start(f"gate('{go}-told')")
    cells.open(go)
    cells.until(lambda: "shown here, once." in cells.stream(failing, "stderr"))
    cells.open(f"{go}-told")
    cells.until(lambda: cells.ended(busy))
    text = cells.stream(failing, "stderr")
    assert re.search(r"Cell In\[\d+\], line 4", text) and "ValueError: of an earlier cell" in text
    assert cells.stream(busy, "stderr") == ""


def test_lines_of_nested_tasks_and_of_threads_in_tasks_are_their_outermost_cells(cells):
    go = cells.gate()
    cell = cells.run(f"""
@ray.remote
def outer():
    gate('{go}')
    def in_a_thread():
        print("thread")
        ray.get(say.remote("from a thread"))
    thread = threading.Thread(target=in_a_thread)
    thread.start(); thread.join()
    ray.get(say.remote("inner"))
    return say.remote("outlives its parent")
ref = outer.remote()
""")
    other = cells.start(f"open('{go}', 'w').close(); inner = ray.get(ray.get(ref))")
    cells.until(lambda: cells.ended(other) and len(cells.said(cell)) == 4)
    assert cells.said(cell) == ["thread", "from a thread", "inner", "outlives its parent"]
    assert cells.stream(other) == ""


def test_what_a_drivers_thread_submits_is_the_cell_that_started_it(cells):
    go = cells.gate()
    cell = cells.run(f"""
def later():
    gate('{go}')
    ray.get(say.remote("by a thread"))
thread = threading.Thread(target=later); thread.start()
""")
    other = cells.run(f"open('{go}', 'w').close(); thread.join()")
    cells.until(lambda: "by a thread" in cells.stream(cell))
    assert cells.stream(other) == ""


def test_what_an_asyncio_task_submits_is_the_cell_that_made_it(cells):
    go = cells.gate()
    cell = cells.run(f"""
import asyncio
async def later():
    while not pathlib.Path('{go}').exists():
        await asyncio.sleep(0.01)
    await say.remote("by a coroutine")
task = asyncio.create_task(later())
""")
    other = cells.run(f"open('{go}', 'w').close(); await task")
    cells.until(lambda: "by a coroutine" in cells.stream(cell))
    assert cells.stream(other) == ""


ACTORS = """
@ray.remote(max_concurrency=4)
class Threaded:
    def say(self, word, then):
        gate(then)
        print(word)
@ray.remote
class Async:
    async def say(self, word, then):
        import asyncio
        while not pathlib.Path(then).exists():
            await asyncio.sleep(0.01)
        print(word)
"""


@pytest.mark.parametrize("kind", ["Threaded", "Async"])
def test_calls_that_an_actor_runs_at_once_each_print_under_their_own_cell(cells, kind):
    go = cells.gate()
    cells.run(f"{ACTORS}\nactor = {kind}.remote()")
    first = cells.run(f"one = actor.say.remote('first', '{go}')")
    second = cells.run(f"two = actor.say.remote('second', '{go}')")
    last = cells.run(f"open('{go}', 'w').close(); ray.get([one, two]); del actor")
    cells.until(lambda: bool(cells.stream(first) and cells.stream(second)))
    assert (cells.said(first), cells.said(second), cells.stream(last)) == (["first"], ["second"], "")
    assert cells.stream(first).startswith(f"({kind} pid=")


def test_an_actors_background_thread_prints_where_it_was_called_last_or_made(cells):
    one, two = cells.gate(), cells.gate()
    made = cells.run(f"""
@ray.remote
class Background:
    def __init__(self):
        print("made")
        self.thread = threading.Thread(target=self.work)
        self.thread.start()
    def work(self):
        gate('{one}')
        print("behind")
        gate('{two}')
        print("behind a call")
    def call(self):
        pass
    def join(self):
        self.thread.join()
background = Background.remote()
""")
    cells.until(lambda: "made" in cells.stream(made))
    cells.open(one)
    cells.until(lambda: "behind" in cells.stream(made))
    called = cells.run("ray.get(background.call.remote())")
    cells.open(two)
    cells.until(lambda: "behind a call" in cells.stream(called))
    cells.run("ray.get(background.join.remote()); del background")
    assert (cells.said(made), cells.said(called)) == (["made", "behind"], ["behind a call"])


def test_the_last_lines_of_a_killed_process_are_its_own_cells(cells):
    go = cells.gate()
    cell = cells.run(f"""
@ray.remote(max_retries=0)
def die():
    gate('{go}')
    print("last words")
    os.write(1, b"half a line")
    os.kill(os.getpid(), 9)
ref = die.remote()
""")
    other = cells.run(f"open('{go}', 'w').close(); ray.wait([ref])")
    cells.until(lambda: "half a line" in cells.stream(cell))
    assert cells.said(cell) == ["last words", "half a line"]
    assert cells.stream(other) == ""


def test_displays_are_under_their_cell_in_order_and_can_be_updated(cells):
    cell = cells.run("""
from IPython.display import HTML, Image
@ray.remote
def show():
    from IPython.display import display as imported, update_display
    print("before")
    handle = imported(HTML("<b>bold</b>"), display_id=True)
    display({"plain": 1})
    handle.update(HTML("<i>changed</i>"))
    print("after")
ref = show.remote()
""")
    cells.run("ray.get(ref)")
    cells.until(lambda: "after" in cells.stream(cell))
    kinds = [
        message["msg_type"]
        for message in cells.messages[cell]
        if message["msg_type"] not in ("status", "execute_input")
    ]
    assert kinds == ["stream", "display_data", "display_data", "update_display_data", "stream"]
    first, second = cells.displays(cell).values()
    assert (first["text/html"], second["text/plain"]) == ("<i>changed</i>", "{'plain': 1}")


def test_pictures_and_cleared_displays(cells):
    picture = base64.b64encode(b"no picture").decode()
    cell = cells.run(f"""
@ray.remote
def animate():
    from IPython.display import Image, clear_output, display
    display(Image(data={picture!r}.encode(), format="png", width=3))
    for frame in range(3):
        clear_output(wait=True)
        display(f"frame {{frame}}")
ray.get(animate.remote())
""")
    (data,) = cells.displays(cell).values()
    assert data == {"text/plain": "'frame 2'"}
    first = next(m for m in cells.messages[cell] if m["msg_type"] == "display_data")
    assert first["content"]["metadata"] == {"image/png": {"width": 3}}


def test_many_lines_are_folded_none_is_lost_and_each_worker_keeps_its_order(cells):
    cell = cells.run("""
@ray.remote(num_cpus=0)
class Counter:
    def count(self, mark):
        for i in range(3000):
            print(mark, i, "<b>&")
            if i % 1000 == 0:
                print(mark, i, file=sys.stderr)
counters = [Counter.remote() for _ in range(2)]  # a process each
ray.get([counter.count.remote(mark) for counter, mark in zip(counters, "ab")])
""")
    lines = cells.said(cell) + [line.partition(") ")[2] for line in cells.stream(cell, "stderr").splitlines()]
    for mark in "ab":
        mine = [int(line.split()[1]) for line in lines if line.startswith(mark) and line.endswith("<b>&")]
        assert mine == list(range(3000))
        assert (
            sum(
                (line.startswith(f"{mark} ") and line.endswith("00")) or line == f"{mark} 0" for line in lines
            )
            == 3
        )
    blocks = list(cells.displays(cell).values())
    assert len(cells.stream(cell).splitlines()) < 50
    assert 3 <= len(blocks) <= 5
    html = "".join(block["text/html"] for block in blocks)
    assert len(set(re.findall(r'<details[^>]* data-pid="(\d+)"', html))) == 2
    assert "a 2999 &lt;b&gt;&amp;" in html
    assert "<b>&" not in html
    assert len(cells.messages[cell]) < 60


def test_names_and_lines_are_text(cells):
    cell = cells.run("""
@ray.remote
def plain():
    for _ in range(150):
        print("\\x1b[31mred\\x1b[0m \\x1b[2J <script>alert(1)</script>")
plain.__wrapped__ if hasattr(plain, "__wrapped__") else None
evil = ray.remote(type("<img src=x>", (), {"m": lambda self: [print("x" * 10) for _ in range(150)] and None}))
actor = evil.remote()
ray.get([plain.remote(), actor.m.remote()]); del actor
""")
    html = "".join(data["text/html"] for data in cells.displays(cell).values())
    assert "<script>" not in html
    assert "<img" not in html
    assert 'data-name="&lt;img src=x&gt;"' in html
    assert '<span class="ansi-red-fg" style="color:#e75c58">red</span> \\x1b[2J &lt;script&gt;' in html


def test_after_a_restart_of_the_pool_and_after_unloading(cells):
    cells.run("ray.shutdown(); ray.init(num_cpus=2)")
    cell = cells.run("ray.get(say.remote('again'))")
    assert cells.said(cell) == ["again"]
    cells.run("%load_ext nbray\n%unload_ext nbray")
    cell = cells.run("ray.get(say.remote('to whatever runs'))")
    assert cells.stream(cell).endswith(") to whatever runs\n")
    cells.run("%load_ext nbray")
    cell = cells.run("ref = say.remote('back'); ray.get(ref)")
    assert cells.said(cell) == ["back"]


def test_an_executed_notebook_has_the_output_of_its_tasks(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    cell = "@ray.remote\ndef much():\n    for i in range(400):\n        print(i)\nray.get(much.remote()); display('mine')"
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(code)
            for code in (DEFINE + "ray.init(num_cpus=1)", cell, "ray.shutdown()")
        ]
    )
    nbclient.execute(notebook, cwd=str(tmp_path), timeout=PATIENCE)
    nbformat.validate(notebook)
    *streams, block, mine = notebook.cells[1].outputs
    assert sum(stream.text.count("\n") for stream in streams) == 40
    assert [int(line.split()[-1]) for line in block.data["text/plain"].splitlines()] == list(range(40, 400))
    assert mine.data["text/plain"] == "'mine'"
    json.dumps(notebook)
