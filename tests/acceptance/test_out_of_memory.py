"""A node that runs out of memory ends an executor before the kernel ends something else. The figures are the test's."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.executor import upkeep
from nbray.machine import Memory
from nbray.owner import tasks

MIB = 1 << 20
HOARD = 200 * MIB


class Figures:
    """Memory is full as long as ``full`` says so; the file is there for tasks to say it too."""

    path = ""

    def read(self):
        return Memory(96 if os.path.exists(self.path) else 50, 100)


class Ram:
    def __init__(self, directory):
        self.path = str(directory / "full")

    def fill(self):
        open(self.path, "w").close()

    def free(self):
        os.unlink(self.path)


@pytest.fixture
def ram(tmp_path, monkeypatch):
    """A pool whose memory is as full as the test says."""
    found = Ram(tmp_path)
    monkeypatch.setattr(Figures, "path", found.path)
    monkeypatch.setattr(upkeep, "MemoryFigures", Figures)
    monkeypatch.setattr(tasks, "MEMORY_PAUSE", 0.01)
    nbray.init(num_cpus=3)
    yield found
    nbray.shutdown()


@nbray.remote
def hoard(ram, marks, gate):
    """Fills the memory until it is ended, but for the third time."""
    array = np.ones(HOARD, np.uint8)
    marks.mark()
    if marks.count() < 3:
        ram.fill()
        gate.wait()
    return len(array)


@nbray.remote
def wait_at(gate):
    gate.wait()
    return os.getpid()


def freed_when_ended(ram, marks, times):
    """Once that many were ended, memory is free again."""
    for n in range(1, times + 1):
        until(lambda n=n: marks.count() >= n and not psutil.pid_exists(marks.pids()[n - 1]))
        ram.free()


def test_a_task_runs_again_after_a_pause_and_that_costs_no_retry(ram, tmp_path):
    marks, gate = Marks(tmp_path), Gate(tmp_path)
    ref = hoard.options(max_retries=1).remote(ram, marks, gate)
    freed_when_ended(ram, marks, 2)
    assert nbray.get(ref, timeout=30) == HOARD
    assert marks.count() == 3


def test_the_newest_task_that_has_memory_goes_and_its_neighbours_stay(ram, tmp_path):
    @nbray.remote(max_retries=0)
    def hold(gate, marks):
        array = np.ones(HOARD, np.uint8)
        marks.mark()
        gate.wait()
        return len(array)

    gate, marks, small = Gate(tmp_path), Marks(tmp_path), Gate(tmp_path, "small")
    older = hold.remote(gate, marks)
    until(lambda: marks.count() == 1)
    newer = hold.remote(gate, marks)
    until(lambda: marks.count() == 2)
    newest = wait_at.remote(small)
    small.until_came()
    ram.fill()
    with pytest.raises(nbray.exceptions.OutOfMemoryError) as caught:
        nbray.get(newer, timeout=30)
    ram.free()
    text = str(caught.value)
    assert f"pid={marks.pids()[1]}" in text and "hold" in text
    assert "ran out of memory: 96.0% of its 0.00 GiB were used (more than 95%)" in text
    assert "ran the newest task" in text and f"pid {marks.pids()[0]} " in text
    gate.open()
    small.open()
    assert nbray.get(older, timeout=30) == HOARD and nbray.get(newest, timeout=30)


def test_the_budget_is_finite(ram, tmp_path, monkeypatch):
    @nbray.remote
    def always(ram, marks, gate):
        array = np.ones(HOARD, np.uint8)
        marks.mark()
        ram.fill()
        gate.wait()
        return len(array)

    monkeypatch.setattr(tasks, "MEMORY_RETRIES", 2)
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    ref = always.remote(ram, marks, gate)
    freed_when_ended(ram, marks, 3)
    with pytest.raises(nbray.exceptions.OutOfMemoryError, match="run again 2 times"):
        nbray.get(ref, timeout=30)
    assert marks.count() == 3


@nbray.remote
class Hoarder:
    def hoard(self):
        self.array = np.ones(HOARD, np.uint8)
        return os.getpid()


def test_an_actor_dies_and_its_error_says_why(ram):
    actor = Hoarder.remote()
    nbray.get(actor.hoard.remote())
    ram.fill()
    until(lambda: died(actor))
    ram.free()
    with pytest.raises(nbray.exceptions.ActorDiedError, match=r"ran out of memory: 96\.0%.*newest actor"):
        nbray.get(actor.hoard.remote())


def died(actor):
    try:
        nbray.get(actor.hoard.remote())
    except nbray.exceptions.RayActorError:
        return True
    return False


def test_an_actor_with_restarts_comes_back(ram):
    actor = Hoarder.options(max_restarts=1, max_task_retries=-1).remote()
    first = nbray.get(actor.hoard.remote())
    ram.fill()
    until(lambda: not psutil.pid_exists(first))
    ram.free()
    assert nbray.get(actor.hoard.remote(), timeout=30) != first


def test_tasks_go_before_actors(ram, tmp_path):
    actor = Hoarder.remote()
    pid = nbray.get(actor.hoard.remote())
    marks, gate = Marks(tmp_path), Gate(tmp_path)
    ref = hoard.options(max_retries=1).remote(ram, marks, gate)
    freed_when_ended(ram, marks, 2)
    assert nbray.get(ref, timeout=30) == HOARD
    assert psutil.pid_exists(pid)


def test_an_idle_executor_leaves_and_what_it_owns_stays_with_who_needs_it(ram):
    @nbray.remote
    def make():
        global kept
        kept = np.ones(HOARD, np.uint8)
        return os.getpid(), [nbray.put([1, 2, 3])]

    pid, (inner,) = nbray.get(make.remote())
    ram.fill()
    del ram
    assert nbray.get(inner, timeout=30) == [1, 2, 3]
    del inner
    until(lambda: not psutil.pid_exists(pid))
    os.unlink(Figures.path)
