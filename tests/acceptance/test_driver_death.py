"""A driver that is killed leaves no process, no file, no socket: on its own pool, busy or idle, however it is ended."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

#: The promise: everything is gone within this many seconds.
LIMIT = 5.0

DRIVER = textwrap.dedent(
    """
    import os, signal, sys, time
    import numpy
    import nbray as ray

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
    ray.init(num_cpus=2, object_store_memory=10 << 20)

    @ray.remote
    def busy():
        while True:
            pass

    @ray.remote
    def sleeps():
        time.sleep(1000)

    @ray.remote
    class Holder:
        def hold(self, array):
            self.array = array
            return os.getpid()

    @ray.remote
    def starts_a_child():
        import subprocess
        return subprocess.Popen(["sleep", "1000"]).pid

    kept = ray.put(numpy.ones(1 << 20))
    spilled = ray.put(numpy.ones(1 << 20))
    holder = Holder.remote()
    ray.get(holder.hold.remote(kept))
    child = ray.get(starts_a_child.remote())
    refs = [busy.remote(), sleeps.remote(), sleeps.remote()]
    owner = ray._runtime.current().owner
    print(owner.address.unix, owner.values.store.directory, child, flush=True)
    sys.stdin.read()
    """
)


def session_paths(line: str) -> list[Path]:
    socket, store, _ = line.split()
    spill = Path(store, "disk").resolve()
    assert len(list(spill.iterdir())) == 1
    return [Path(socket).parent, Path(store), spill]


@pytest.fixture
def driver():
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_of_a_driver_that_was_killed(driver, how):
    line = driver.stdout.readline()
    paths = session_paths(line)
    assert all(path.exists() for path in paths)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) >= 4, "template, two lanes, an actor"
    assert int(line.split()[2]) in [process.pid for process in family]
    driver.send_signal(how)
    driver.wait(LIMIT)
    _, alive = psutil.wait_procs(family, timeout=LIMIT)
    assert not alive
    assert not [path for path in paths if path.exists()]


def test_nothing_is_left_of_a_driver_that_ends_in_the_middle_of_things(driver):
    paths = session_paths(driver.stdout.readline())
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.stdin.close()
    assert driver.wait(LIMIT) == 0
    assert not psutil.wait_procs(family, timeout=LIMIT)[1]
    assert not [path for path in paths if path.exists()]


def test_the_secret_and_the_session_are_for_this_user_only(driver):
    for directory in session_paths(driver.stdout.readline()):
        assert directory.stat().st_mode & 0o777 == 0o700
    for process in [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]:
        listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert not listening, f"{process} listens on {listening}"


def test_a_template_that_dies_is_replaced_and_its_tasks_run_again():
    # In a process of its own: what is asserted is printed.
    program = textwrap.dedent(
        """
        import os, time, psutil
        import nbray as ray
        ray.init(num_cpus=2, object_store_memory=10 << 20)

        @ray.remote(max_retries=-1)
        def where():
            return os.getpid()

        first = ray.get(where.remote())
        template, = psutil.Process().children()
        family = [template, *template.children(recursive=True)]
        template.kill()
        assert not psutil.wait_procs(family, timeout=5)[1]
        second = ray.get(where.remote(), timeout=30)
        print("again", first != second)
        """
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search("again True", out.stdout)


def test_a_program_that_only_imports_nbray_starts_nothing():
    program = "import nbray, psutil, os; print(psutil.Process().children(), psutil.Process().num_threads())"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert out.stdout.split() == ["[]", "1"]
