"""The fixture that finds what tests leave behind is itself to be trusted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest
from leaks import KINDS, Census, census, leaks

import nbray

SOON = 0.05


def left(before: Census, kind: str, *, pool: bool = False) -> list[str]:
    """What of one kind is there and stays: other runs on this machine must not disturb the test."""
    return leaks(before, frozenset(KINDS) - {kind}, pool=pool, limit=SOON)


@pytest.fixture
def afterwards() -> Iterator[Callable[..., object]]:
    with ExitStack() as stack:
        yield stack.callback


def sleeper() -> subprocess.Popen[str]:
    """A process that ends when its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, text=True
    )


def test_nothing_is_found_where_nothing_happened():
    assert leaks(census()) == []


def test_a_thread_that_goes_on_is_found(afterwards):
    before, stop = census(), threading.Event()
    thread = threading.Thread(target=stop.wait, name="lingering")
    afterwards(thread.join)
    afterwards(stop.set)
    thread.start()
    assert left(before, "threads") == ["thread lingering (not daemon)"]


def test_a_daemon_thread_is_found_if_it_is_nbrays(afterwards):
    before, stop = census(), threading.Event()
    threads = [threading.Thread(target=stop.wait, name=name, daemon=True) for name in ("nbray-x", "theirs")]
    for thread in threads:
        afterwards(thread.join)
        thread.start()
    afterwards(stop.set)
    assert left(before, "threads") == ["thread nbray-x (daemon)"]


def test_a_thread_that_is_just_ending_is_waited_for():
    before, stop = census(), threading.Event()
    threading.Thread(target=stop.wait).start()
    threading.Timer(0.02, stop.set).start()
    assert leaks(before) == []


def test_an_open_descriptor_is_found(afterwards):
    before = census()
    for fd in os.pipe():
        afterwards(os.close, fd)
    found = left(before, "fds")
    assert len(found) == 2
    assert all("pipe" in line for line in found)


def test_a_process_is_found_and_one_that_is_ending_is_waited_for():
    before = census()
    with sleeper() as child:
        (found,) = left(before, "processes")
        assert found.startswith(f"process {child.pid} ")
    assert leaks(before) == []


def test_an_orphan_in_a_session_of_its_own_is_found():
    before = census()
    program = (
        "import os, sys\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "print(os.getpid(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.wait()
        (found,) = left(before, "processes")
        assert found.startswith(f"process {orphan.pid} ")
    orphan.wait(10)


def test_a_directory_of_nbrays_is_found():
    before = census()
    with tempfile.TemporaryDirectory(prefix=f"nbray-{os.getpid()}-") as directory:
        assert f"file {directory}" in left(before, "files")


def test_a_directory_of_another_session_on_the_machine_is_not_ours():
    before = census()
    with tempfile.TemporaryDirectory(prefix="nbray-test-") as directory:
        others = {name: value for name, value in os.environ.items() if name != "NBRAY_TEST_RUN"}
        program = "import sys; print('there', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=directory,
            env=others,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert left(before, "files") == []


def test_with_a_pool_up_what_its_processes_start_is_its_business():
    program = (
        "import subprocess, sys\n"
        "sys.stdin.readline()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE)\n"
        "print('started', flush=True)\n"
        "sys.stdin.read()\n"
        "child.communicate()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as template:
        assert template.stdin is not None
        assert template.stdout is not None
        before = census()
        template.stdin.write("\n")
        template.stdin.flush()
        assert template.stdout.readline() == "started\n"
        assert left(before, "processes", pool=True) == []
        (found,) = left(before, "processes")
        assert found.startswith("process ")


def test_a_pool_is_found_while_it_is_up_and_not_afterwards():
    before = census()
    with nbray.init(num_cpus=1):
        assert nbray.get(nbray.remote(lambda: os.getpid()).remote()) != os.getpid()
        kinds = {line.split()[0] for line in leaks(before, limit=SOON)}
        assert kinds >= {"thread", "process", "fd"}
    assert leaks(before) == []


def test_the_pool_of_a_module_may_do_as_it_likes(pool):
    before = census()
    assert pool.get(pool.remote(lambda: os.getpid()).remote()) != os.getpid()
    assert leaks(before, pool=True, limit=SOON) == []
