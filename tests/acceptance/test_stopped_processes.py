"""Processes of a pool that stand still instead of dying: what does not need them goes on, and so do they when they may."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil
import pytest
from ends import has_ended
from gates import Gate, Marks, until

import nbray as ray
from nbray import _runtime
from nbray.exceptions import ActorDiedError, WorkerCrashedError

#: Seconds within which a death is noticed.
NOTICED = 1.0


@contextlib.contextmanager
def stopped(pid):
    process = psutil.Process(pid)
    process.suspend()
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@ray.remote
def echo(value):
    return value


@ray.remote
def pid_behind(gate, marks=None):
    if marks is not None:
        marks.mark()
    gate.wait()
    return os.getpid()


@ray.remote
class Actor:
    def pid(self):
        return os.getpid()

    def next(self):
        self.count = getattr(self, "count", 0) + 1
        return self.count


def test_a_lane_that_stands_still_holds_up_its_own_task_only(pool, tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    ref = pid_behind.remote(gate, marks)
    gate.until_came()
    (pid,) = marks.pids()
    with stopped(pid):
        assert ray.get([echo.remote(i) for i in range(20)], timeout=30) == list(range(20))
        gate.open()
        assert not ray.wait([ref], timeout=0.1)[0]
    assert ray.get(ref, timeout=30) == pid
    assert marks.count() == 1


def test_a_lane_that_stands_still_and_then_dies_is_one_that_died(pool, tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    refs = [pid_behind.options(max_retries=retries).remote(gate, marks) for retries in (0, 1)]
    gate.until_came(2)
    began = time.monotonic()
    for pid in marks.pids():
        with stopped(pid) as process:
            process.kill()
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        ray.get(refs[0], timeout=30)
    assert time.monotonic() - began < NOTICED + 1
    gate.open()
    assert ray.get(refs[1], timeout=30)
    assert marks.count() == 3


def test_an_actor_that_stands_still_goes_on_where_it_was(pool):
    actor = Actor.remote()
    pid = ray.get(actor.pid.remote(), timeout=30)
    with stopped(pid):
        refs = [actor.next.remote() for _ in range(50)]
        assert not ray.wait(refs, timeout=0.1)[0]
        assert ray.get(echo.remote(1), timeout=30) == 1
        with pytest.raises(ray.exceptions.GetTimeoutError):
            ray.get(refs[0], timeout=0.05)
    assert ray.get(refs, timeout=30) == list(range(1, 51))


def test_an_actor_that_stands_still_can_be_killed(pool):
    actor = Actor.remote()
    with stopped(ray.get(actor.pid.remote(), timeout=30)) as process:
        ref = actor.next.remote()
        ray.kill(actor)
        with pytest.raises(ActorDiedError):
            ray.get(ref, timeout=30)
        until(lambda: has_ended(process.pid))


def test_a_template_that_stands_still_starts_nothing_and_what_runs_goes_on(pool):
    actor = Actor.remote()
    assert ray.get(actor.next.remote(), timeout=30) == 1
    template = _runtime.current().pool.node._processes._link.process.pid
    with stopped(template):
        assert ray.get(actor.next.remote(), timeout=30) == 2
        late = Actor.remote().next.remote()
        assert not ray.wait([late], timeout=0.2)[0]
    assert ray.get(late, timeout=30) == 1


def test_an_executor_killed_below_a_template_that_stands_still_is_told_of_in_the_end(pool, tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    ref = pid_behind.options(max_retries=0).remote(gate, marks)
    gate.until_came()
    with stopped(_runtime.current().pool.node._processes._link.process.pid):
        os.kill(marks.pids()[0], signal.SIGKILL)
        with pytest.raises(WorkerCrashedError):
            ray.get(ref, timeout=30)
    assert ray.get(echo.remote(1), timeout=30) == 1
