"""Executors that die in the middle of tasks: only the task under way notices, and as often as it may."""

import ctypes
import os
import signal
import sys

import numpy as np
import psutil
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.exceptions import TaskCancelledError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("pool")


def exit_process():
    os._exit(7)


def kill_process():
    os.kill(os.getpid(), signal.SIGKILL)


def segfault():
    ctypes.string_at(0)


def abort():
    os.abort()


WAYS = [exit_process, kill_process, segfault, abort]


@nbray.remote
def echo(value):
    return value


@nbray.remote
def crash(way, marks):
    marks.mark()
    way()


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_without_retries_is_an_error_and_ran_once(tmp_path, way):
    marks = Marks(tmp_path)
    with pytest.raises(WorkerCrashedError):
        nbray.get(crash.options(max_retries=0).remote(way, marks), timeout=30)
    assert marks.count() == 1
    assert nbray.get(echo.remote(1)) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_is_retried_as_often_as_allowed(tmp_path, way):
    marks = Marks(tmp_path)
    with pytest.raises(WorkerCrashedError):
        nbray.get(crash.options(max_retries=2).remote(way, marks), timeout=60)
    assert marks.count() == 3
    assert len(set(marks.pids())) == 3


def test_three_retries_are_the_default(tmp_path):
    marks = Marks(tmp_path)
    with pytest.raises(WorkerCrashedError):
        nbray.get(crash.remote(exit_process, marks), timeout=60)
    assert marks.count() == 4


def test_a_retry_that_lives_gives_the_value(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def second():
        marks.mark()
        if marks.count() < 2:
            os._exit(1)
        return "second"

    assert nbray.get(echo.remote(second.remote()), timeout=30) == "second"
    assert marks.count() == 2


def test_the_error_says_how_the_process_ended_and_what_it_said_last():
    @nbray.remote(max_retries=0)
    def last_words(way):
        print("famous last words", file=sys.__stderr__, flush=True)
        way()

    with pytest.raises(WorkerCrashedError, match=r"SIGKILL|signal 9") as caught:
        nbray.get(last_words.remote(kill_process), timeout=30)
    assert "famous last words" in str(caught.value)
    assert "last_words" in str(caught.value)
    with pytest.raises(WorkerCrashedError, match=r"exit code 7"):
        nbray.get(last_words.remote(exit_process), timeout=30)
    with pytest.raises(WorkerCrashedError, match=r"SIGSEGV|signal 11"):
        nbray.get(last_words.remote(segfault), timeout=30)


@pytest.mark.parametrize(("status", "code"), [(0, 0), (3, 3), (None, 0), ("a word", 1)])
def test_sys_exit_ends_the_process_of_a_task(tmp_path, status, code):
    marks = Marks(tmp_path)

    @nbray.remote(max_retries=1)
    def leave():
        marks.mark()
        sys.exit(status)

    with pytest.raises(WorkerCrashedError, match=rf"leave.*exit code {code}") as caught:
        nbray.get(leave.remote(), timeout=30)
    assert len(set(marks.pids())) == 2
    assert "a word" in str(caught.value) or status != "a word"
    assert nbray.get(echo.remote(1), timeout=30) == 1


def test_sys_exit_in_a_generator_ends_its_process_after_its_items():
    @nbray.remote(max_retries=0)
    def leave():
        yield 1
        sys.exit(3)

    items = leave.remote()
    assert nbray.get(next(items), timeout=30) == 1
    with pytest.raises(WorkerCrashedError, match="exit code 3"):
        nbray.get(next(items), timeout=30)


def test_a_cancelled_task_may_end_by_sys_exit(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def leave():
        try:
            gate.wait()
        except KeyboardInterrupt:
            sys.exit(0)

    ref = leave.remote()
    gate.until_came()
    nbray.cancel(ref)
    with pytest.raises(TaskCancelledError):
        nbray.get(ref, timeout=30)


def test_neighbours_do_not_notice(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote
    def neighbour():
        gate.wait()
        marks.mark("lived")
        return os.getpid()

    beside = neighbour.remote()
    gate.until_came()
    with pytest.raises(WorkerCrashedError):
        nbray.get(crash.options(max_retries=0).remote(kill_process, marks), timeout=30)
    gate.open()
    assert nbray.get(beside) in marks.pids("lived")
    assert marks.count("lived") == 1


def test_a_crash_among_many_short_tasks_loses_none(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def work(i):
        if i == 250 and marks.count("crash") == 0:
            marks.mark("crash")
            os._exit(1)
        return i

    assert nbray.get([work.remote(i) for i in range(500)], timeout=60) == list(range(500))


def test_only_the_call_under_way_is_charged(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_retries=0)
    def work(i):
        marks.mark(f"run{i:03}")
        if i == 50:
            os._exit(1)
        return i

    refs = [work.remote(i) for i in range(100)]
    values, crashed = [], []
    for i, ref in enumerate(refs):
        try:
            values.append(nbray.get(ref, timeout=30))
        except WorkerCrashedError:
            crashed.append(i)
    assert crashed == [50]
    assert values == [i for i in range(100) if i != 50]
    assert all(marks.count(f"run{i:03}") == 1 for i in range(100))


def test_stored_objects_survive_the_process_that_made_them():
    @nbray.remote
    def make():
        return np.ones(1_000_000, dtype=np.uint8), os.getpid()

    array_ref, pid_ref = make.options(num_returns=2).remote()
    pid = nbray.get(pid_ref)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid), 10)
    assert nbray.get(array_ref, timeout=30).sum() == 1_000_000


def test_killing_executors_from_outside_again_and_again_loses_no_task(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_retries=-1)
    def work(i):
        marks.mark("pid")
        return i

    refs = [work.remote(i) for i in range(300)]
    for _ in range(5):
        nbray.wait(refs, num_returns=1)
        victim = marks.pids("pid")[-1]
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert nbray.get(refs, timeout=60) == list(range(300))


def test_a_crash_of_a_nested_task_is_retried_by_its_owner(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def outer():
        marks.mark("outer")
        try:
            nbray.get(crash.options(max_retries=1).remote(kill_process, marks))
        except WorkerCrashedError:
            return "caught"

    assert nbray.get(outer.remote(), timeout=60) == "caught"
    assert (marks.count("outer"), marks.count()) == (1, 2)


def test_refs_of_an_owner_that_died_fail_in_bounded_time(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()

    @nbray.remote
    class Owner:
        def make(self):
            self.ref = late.remote()
            return [self.ref]

        def pid(self):
            return os.getpid()

    owner = Owner.remote()
    (ref,) = nbray.get(owner.make.remote())
    gate.until_came()
    os.kill(nbray.get(owner.pid.remote()), signal.SIGKILL)
    with pytest.raises(nbray.exceptions.RayError):
        nbray.get(ref, timeout=10)
    assert not isinstance(_outcome(ref), nbray.exceptions.GetTimeoutError)
    gate.open()


def _outcome(ref):
    try:
        nbray.get(ref, timeout=1)
    except nbray.exceptions.RayError as error:
        return error


@pytest.mark.parametrize("when", ["unpickle", "pickle"])
@pytest.mark.parametrize("way", [exit_process, segfault])
def test_a_crash_while_values_are_pickled_is_a_crash_of_that_call_only(way, when):
    class Bomb:
        def __init__(self, way):
            self.way = way

        def __reduce__(self):
            return (way, ()) if when == "unpickle" else self.way()

    @nbray.remote(max_retries=0)
    def make():
        return Bomb(way)

    if when == "unpickle":
        # The driver must not be the one to unpickle it.
        with pytest.raises(WorkerCrashedError):
            nbray.get(echo.options(max_retries=0).remote(Bomb(way)), timeout=30)
    else:
        with pytest.raises(WorkerCrashedError):
            nbray.get(make.remote(), timeout=30)
    assert nbray.get(echo.remote(1), timeout=30) == 1
