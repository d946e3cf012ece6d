"""The option ``timeout`` of tasks."""

import os
import sys
import time
from pathlib import Path

import pytest
from gates import Gate, Marks, ctrl_c, ever_longer, until

import nbray
from nbray.exceptions import RayError, TaskTimeoutError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def sleep(marks):
    marks.mark()
    time.sleep(600)


@nbray.remote
def echo(value):
    return value


@pytest.fixture
def marks(tmp_path):
    return Marks(tmp_path)


def test_a_task_that_runs_for_too_long_is_interrupted_and_fails(marks):
    @nbray.remote(timeout=0.05)
    def long():
        try:
            time.sleep(600)
        finally:
            marks.mark("interrupted")

    with pytest.raises(TaskTimeoutError, match=r"long ran for more than 0\.05 s") as caught:
        nbray.get(long.remote())
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, RayError)
    assert marks.count("interrupted") == 1
    assert nbray.get([echo.remote(i) for i in range(20)]) == list(range(20))


def test_a_task_that_ends_in_time_gives_its_value():
    assert nbray.get([echo.options(timeout=60).remote(i) for i in range(50)]) == list(range(50))


def test_the_clock_starts_with_the_task(tmp_path):
    gate = Gate(tmp_path)
    stand = nbray.remote(lambda: gate.wait())
    blockers = [stand.remote() for _ in range(2)]
    gate.until_came(2)
    ref = echo.options(timeout=0.3).remote(1)
    assert not nbray.wait([ref], timeout=0.5)[0]
    gate.open()
    nbray.get(blockers)
    assert nbray.get(ref) == 1


def test_it_is_not_retried(marks):
    with pytest.raises(TaskTimeoutError):
        nbray.get(sleep.options(timeout=0.05, max_retries=5).remote(marks))
    assert marks.count() == 1


def test_it_is_retried_if_one_asks_for_that(marks):
    options = {"timeout": 0.05, "max_retries": 2, "retry_exceptions": [TaskTimeoutError]}
    with pytest.raises(TaskTimeoutError):
        nbray.get(sleep.options(**options).remote(marks))
    assert marks.count() == 3


def test_a_task_that_does_not_end_takes_its_process_along(marks):
    @nbray.remote(timeout=0.05)
    def resist():
        marks.mark()
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                pass

    ref = resist.remote()
    with pytest.raises(TaskTimeoutError, match="did not end"):
        nbray.get(ref)
    (pid,) = marks.pids()
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert nbray.get([echo.remote(i) for i in range(20)]) == list(range(20))


def test_the_next_task_never_feels_it():
    @nbray.remote
    def spin(seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        return os.getpid()

    timed = spin.options(timeout=0.003)
    for n in range(60):
        refs = [timed.remote(0.0025 + n % 10 * 0.0001), spin.remote(0.001)]
        try:
            nbray.get(refs[0])
        except TaskTimeoutError:
            pass
        nbray.get(refs[1])


def test_what_it_has_submitted_is_cancelled(tmp_path, marks):
    gate = Gate(tmp_path, "child")

    @nbray.remote(num_cpus=0)
    def child():
        try:
            marks.mark("began")
            gate.wait()
        except KeyboardInterrupt:
            marks.mark("interrupted")
            raise

    @nbray.remote
    def parent():
        nbray.get(child.remote())

    for seconds in ever_longer(0.2):
        with pytest.raises(TaskTimeoutError):
            nbray.get(parent.options(timeout=seconds).remote())
        if marks.count("began"):
            break
    until(lambda: marks.count("interrupted") >= marks.count("began"))


@pytest.mark.parametrize(
    ("wrong", "error"), [("1", TypeError), (True, TypeError), (0, ValueError), (-1, ValueError)]
)
def test_a_timeout_is_a_number_of_seconds(wrong, error):
    with pytest.raises(error, match="timeout"):
        echo.options(timeout=wrong)


# --- Ctrl-C in get and wait ------------------------------------------------------------------------------------------------


def test_ctrl_c_at_a_prompt_says_once_that_the_tasks_run_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    gate = Gate(tmp_path)
    ref = nbray.remote(lambda: gate.wait()).remote()
    gate.until_came()
    notes = []
    for wait in (lambda: nbray.get(ref), lambda: nbray.wait([ref])):
        with pytest.raises(KeyboardInterrupt) as caught, ctrl_c():
            wait()
        notes += getattr(caught.value, "__notes__", [])
    assert len(notes) == 1
    assert "nbray.cancel(ref)" in notes[0]
    gate.open()
    nbray.get(ref)
