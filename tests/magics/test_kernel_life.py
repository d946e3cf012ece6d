"""A kernel that is interrupted, restarted or killed; and cells and modules that are edited and run again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import ipykernel6
import kernels
import psutil
import pytest
from kernels import PATIENCE, Kernel, after, of_kind, said
from leaks import census, leaks

pytestmark = pytest.mark.may_leak(
    "fds",
    "processes",
    "files",
    why="jupyter_client keeps an event loop, and the kernel of all tests here its pool",
)

DEFINE = """
import os, pathlib, time
import nbray
if not nbray.is_initialized(): nbray.init(num_cpus=2)

@nbray.remote
def hold(name):
    "Says that it runs, then waits for its gate."
    print("holds")
    while not pathlib.Path(name).exists():
        time.sleep(0.01)
    return name

@nbray.remote
def items(name):
    yield 0
    yield nbray.get(hold.remote(name))

@nbray.remote
class Holder:
    def hold(self, name):
        print("holds")
        while not pathlib.Path(name).exists():
            time.sleep(0.01)
        return name
"""


def _environment(patch: pytest.MonkeyPatch, directory: Path, series: str) -> None:
    patch.setenv("IPYTHONDIR", str(directory))
    patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    if series == "6.29":
        patch.setenv("PYTHONPATH", ipykernel6.place())


@pytest.fixture(scope="module", params=["newest", "6.29"])
def living(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    directory = tmp_path_factory.mktemp("life")
    with pytest.MonkeyPatch.context() as patch:
        _environment(patch, directory, request.param)
        with kernels.kernel(directory) as kernel:
            kernel.ok("%load_ext nbray\n" + DEFINE)
            yield kernel


WAITS = {
    "get": "nbray.get(hold.remote(gate))",
    "get of many": "nbray.get([hold.remote(gate) for _ in range(20)])",
    "wait": "nbray.wait([hold.remote(gate)])",
    "generator": "for ref in items.remote(gate): nbray.get(ref)",
    "method": "holder = Holder.remote(); nbray.get(holder.hold.remote(gate))",
    "as_completed": "list(nbray.util.as_completed([hold.remote(gate)]))",
    "await": "await hold.remote(gate)",
    "future": "hold.remote(gate).future().result()",
}


@pytest.mark.parametrize("wait", WAITS)
def test_an_interrupted_wait_gives_the_prompt_back_and_the_pool_goes_on(living, wait):
    name = f"{wait.replace(' ', '-')}.gate"
    begun = threading.Event()
    interrupter = after(begun, living.interrupt)
    reply, published = living.run(
        f"gate = {name!r}; mine = hold.remote(gate)\n{WAITS[wait]}",
        lambda message: "holds" in message["content"].get("text", "") and begun.set(),
    )
    interrupter.join(PATIENCE)
    assert reply["status"] == "error"
    assert reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert "nbray/" not in "".join(content["traceback"][-1] for content in of_kind(published, "error"))
    assert living.value("nbray.wait([mine], timeout=0)[0]") == "[]"
    living.ok(f"open({name!r}, 'w').close()")
    assert living.value("nbray.get(mine)") == repr(name)


@pytest.mark.parametrize("wait", ["get", "method", "await"])
def test_an_interrupt_that_comes_as_a_message_stops_the_cell_and_nothing_else(living, wait):
    """ipykernel hands it on to its whole process group, which is no business of the pool's processes."""
    name = f"message-{wait}.gate"
    begun = threading.Event()
    interrupter = after(begun, living.ask_to_stop)
    reply, _ = living.run(
        f"gate = {name!r}; mine = hold.remote(gate)\n{WAITS[wait]}",
        lambda message: "holds" in message["content"].get("text", "") and begun.set(),
    )
    interrupter.join(PATIENCE)
    assert reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    living.ok(f"open({name!r}, 'w').close()")
    assert living.value("nbray.get(mine)") == repr(name)


def test_the_first_interrupt_says_how_to_cancel(living):
    living.ok("nbray.shutdown(); nbray.init(num_cpus=2)")
    begun = threading.Event()
    interrupter = after(begun, living.interrupt)
    _, published = living.run(
        "mine = hold.remote('never'); nbray.get(mine)",
        lambda message: "holds" in message["content"].get("text", "") and begun.set(),
    )
    interrupter.join(PATIENCE)
    (error,) = of_kind(published, "error")
    assert "nbray.cancel(ref) ends the one" in "".join(error["traceback"])
    living.ok("nbray.cancel(mine)")


# --- definitions ---------------------------------------------------------------------------------------------------


def test_cells_that_are_run_again_count(living):
    living.ok("@nbray.remote\ndef f(): return helper(), LIMIT\ndef helper(): return 'old'\nLIMIT = 1")
    assert living.value("nbray.get([f.remote(), f.remote()])") == "[('old', 1), ('old', 1)]"
    living.ok("def helper(): return 'new'")
    assert living.value("nbray.get(f.remote())") == "('new', 1)"
    living.ok("LIMIT = 2")
    assert living.value("nbray.get(f.remote())") == "('new', 2)"
    living.ok("@nbray.remote\ndef f(): return 'another'")
    assert living.value("nbray.get(f.remote())") == "'another'"


def test_a_class_that_is_defined_again_counts_for_new_actors_and_values(living):
    living.ok(
        "@nbray.remote\nclass A:\n    def m(self): return 'old', Point(1).x\nclass Point:\n    def __init__(self, x): self.x = x"
    )
    assert living.value("a = A.remote(); nbray.get(a.m.remote())") == "('old', 1)"
    living.ok("class Point:\n    def __init__(self, x): self.x = -x")
    assert (
        living.value("b = A.remote(); nbray.get([a.m.remote(), b.m.remote()])") == "[('old', 1), ('old', -1)]"
    )
    living.ok("@nbray.remote\nclass A:\n    def m(self): return 'new'")
    assert living.value("b = A.remote(); nbray.get(b.m.remote())") == "'new'"
    living.ok("@nbray.remote\ndef same(point): return isinstance(point, Point), point.x")
    assert living.value("nbray.get(same.remote(Point(3)))") == "(True, -3)"
    living.ok("del a, b")


def test_with_autoreload_edited_modules_reach_executors_that_run_already(living):
    living.ok(
        "import sys; sys.path.insert(0, os.getcwd())\n"
        "def write(text):\n"
        "    pathlib.Path('edited.py').write_text(text)\n"
        "    os.utime('edited.py', ns=(time.time_ns(), time.time_ns() + 10**9 * write.calls)); write.calls += 1\n"
        "write.calls = 0\n"
        "write('import nbray\\nLIMIT = 1\\ndef plain(): return (1, LIMIT)\\n@nbray.remote\\ndef task(): return plain()\\n')"
    )
    living.ok("%load_ext autoreload\n%autoreload 2\nimport edited\nfrom edited import plain")
    living.ok(
        "@nbray.remote\ndef by_name(): return edited.plain()\n@nbray.remote\ndef by_value(): return plain()"
    )
    calls = "nbray.get([by_name.remote(), by_value.remote(), nbray.remote(edited.plain).remote(), edited.task.remote()] * 4)[:4]"
    assert living.value(calls) == "[(1, 1), (1, 1), (1, 1), (1, 1)]"
    living.ok(
        "write('import nbray\\nLIMIT = 2\\ndef plain(): return (2, LIMIT)\\n@nbray.remote\\ndef task(): return plain()\\n')"
    )
    assert living.value(calls) == "[(2, 2), (2, 2), (2, 2), (2, 2)]"
    living.ok("%autoreload 0")


# --- the end of a kernel ---------------------------------------------------------------------------------------------

WORK = (
    DEFINE
    + """
import numpy
actor = Holder.options(name="held", lifetime="detached").remote()
large = nbray.put(numpy.ones(1 << 20))
refs = [hold.remote("never"), actor.hold.remote("never")]
"""
)


@pytest.mark.parametrize("end", ["restart", "restart at once", "kill", "shutdown"])
def test_whatever_ends_a_kernel_nothing_of_its_pool_is_left(tmp_path, monkeypatch, end):
    _environment(monkeypatch, tmp_path, "newest")
    before = census()
    with kernels.kernel(tmp_path) as kernel:
        begun = said(kernel.ok(WORK)).count("holds")  # some may be that quick
        pid = kernel.manager.provisioner.pid
        while begun < 2:
            message = kernel.client.get_iopub_msg(timeout=PATIENCE)
            begun += message["content"].get("text", "").count("holds")
        mine = psutil.Process(pid).children(recursive=True)
        assert len(mine) >= 3  # the template, a lane, an actor
        if end == "kill":
            psutil.Process(pid).kill()
            psutil.wait_procs(mine, timeout=PATIENCE)
        elif end.startswith("restart"):
            kernel.manager.restart_kernel(now=end.endswith("at once"))
            kernel.client.wait_for_ready(timeout=PATIENCE)
            psutil.wait_procs(mine, timeout=PATIENCE)
            assert said(kernel.ok(DEFINE + "print(nbray.is_initialized())")) == "True\n"
            kernel.ok("nbray.shutdown()")
    assert [process for process in mine if process.is_running()] == []
    assert leaks(before, frozenset(("fds", "threads"))) == []
