"""Cancelling tasks and methods of actors on a local pool."""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.exceptions import RayTaskError, TaskCancelledError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("pool")

LIMIT = 20


@nbray.remote
def echo(value):
    return value


@nbray.remote
def stand(gate):
    gate.wait()
    return "through"


@nbray.remote
def spin(gate):
    Marks.leave(gate.path, "came")
    while True:
        pass


@nbray.remote
def sleep(gate):
    Marks.leave(gate.path, "came")
    time.sleep(600)


@nbray.remote
def passing():
    pass


@nbray.remote
def leave(marks):
    marks.mark()


def cancelled(ref, limit=LIMIT):
    """The error of a cancelled ref."""
    with pytest.raises(TaskCancelledError) as caught:
        nbray.get(ref, timeout=limit)
    return caught.value


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


@pytest.fixture
def marks(tmp_path):
    return Marks(tmp_path)


@pytest.fixture
def busy(tmp_path):
    """Both CPUs are taken until the gate opens."""
    gate = Gate(tmp_path, "busy")
    refs = [stand.remote(gate) for _ in range(2)]
    gate.until_came(2)
    yield gate
    gate.open()
    nbray.get(refs)


# --- what can be cancelled -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [3, None, "ref", [], (1,)])
def test_only_refs_can_be_cancelled(wrong):
    with pytest.raises(TypeError, match="ObjectRef"):
        nbray.cancel(wrong)


def test_who_cancels_a_list_is_told_to_cancel_each():
    with pytest.raises(TypeError, match="one ObjectRef, not a list: for ref in refs"):
        nbray.cancel([nbray.put(1)])


def test_a_put_cannot_be_cancelled_and_stays():
    ref = nbray.put(1)
    nbray.cancel(ref)
    assert nbray.get(ref) == 1


def test_a_finished_task_keeps_its_value():
    ref = echo.remote(1)
    assert nbray.get(ref) == 1
    nbray.cancel(ref)
    nbray.cancel(ref, force=True)
    assert nbray.get(ref) == 1


# --- tasks that have not started ----------------------------------------------------------------------------------------


def test_a_queued_task_never_runs(busy, marks):
    ref = leave.remote(marks)
    nbray.cancel(ref)
    assert "before it ran" in str(cancelled(ref, 0))
    busy.open()
    nbray.get([echo.remote(i) for i in range(10)])
    assert marks.count() == 0


def test_a_task_that_waits_for_an_argument_never_runs(gate, marks):
    argument = stand.remote(gate)
    ref = nbray.remote(lambda _: marks.mark()).remote(argument)
    nbray.cancel(ref)
    assert "before it ran" in str(cancelled(ref, 0))
    gate.open()
    assert nbray.get(argument) == "through"
    nbray.get(echo.remote(1))
    assert marks.count() == 0


def test_of_tasks_that_wait_behind_others_on_their_executors_none_runs_that_is_said_not_to_have_run(marks):
    @nbray.remote
    def quick():
        marks.mark()

    nbray.get([quick.remote() for _ in range(200)])  # so that they are sent behind each other
    before = marks.count()
    for _ in range(20):
        refs = [quick.remote() for _ in range(40)]
        for ref in refs:
            nbray.cancel(ref)
        ran = 0
        for ref in refs:
            try:
                nbray.get(ref)
                ran += 1
            except TaskCancelledError as error:
                ran += "before it ran" not in str(error)
        assert marks.count() <= before + ran
        before = marks.count()


def test_what_depends_on_a_cancelled_task_is_cancelled_too(busy):
    ref = echo.remote(1)
    second = echo.remote(ref)
    third = echo.remote(second)
    nbray.cancel(ref)
    assert "echo was cancelled" in str(cancelled(third, 0))
    cancelled(second, 0)


def test_all_returns_of_a_cancelled_task_say_so(busy):
    refs = echo.options(num_returns=3).remote((1, 2, 3))
    nbray.cancel(refs[1])
    for ref in refs:
        cancelled(ref, 0)


def test_ten_thousand_queued_tasks_are_cancelled_in_no_time(busy):
    refs = [echo.remote(i) for i in range(10_000)]
    began = time.process_time()
    for ref in reversed(refs):
        nbray.cancel(ref)
    assert time.process_time() - began < 3  # a search a call would take thirty
    assert len(nbray.wait(refs, num_returns=len(refs), timeout=0)[0]) == len(refs)
    cancelled(refs[5000], 0)


# --- tasks that run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [spin, sleep])
def test_a_running_task_is_interrupted(gate, body):
    ref = body.remote(gate)
    gate.until_came()
    nbray.cancel(ref)
    error = cancelled(ref)
    assert "while it ran" in str(error)
    assert isinstance(error, RayTaskError), "as in Ray, where it ended user code"
    assert f"in {body._exported.name}" in str(error), "the remote traceback"
    assert error.task_id == ref.task_id().hex()
    assert nbray.get([echo.remote(i) for i in range(20)]) == list(range(20))


@pytest.mark.parametrize("how", ["get", "wait"])
def test_a_task_that_waits_for_others_is_interrupted(gate, tmp_path, how):
    inner = Gate(tmp_path, "inner")
    waited_for = stand.remote(inner)

    @nbray.remote
    def outer(refs):
        Marks.leave(gate.path, "came")
        return nbray.get(refs) if how == "get" else nbray.wait(refs)

    ref = outer.remote([waited_for])
    gate.until_came()
    inner.until_came()
    nbray.cancel(ref)
    assert "while it ran" in str(cancelled(ref))
    inner.open()
    assert nbray.get(waited_for) == "through"
    until(lambda: nbray.available_resources().get("CPU") == 2)


def test_a_numpy_call_is_interrupted_after_it(marks):
    @nbray.remote
    def multiply():
        a = np.ones((300, 300))
        marks.mark("multiplies")
        while True:
            a @ a

    ref = multiply.remote()
    until(lambda: marks.count("multiplies"))
    nbray.cancel(ref)
    cancelled(ref)


def test_a_task_that_catches_the_interrupt_gives_its_value(gate):
    @nbray.remote
    def catch():
        try:
            Marks.leave(gate.path, "came")
            time.sleep(600)
        except KeyboardInterrupt:
            return "caught"

    ref = catch.remote()
    gate.until_came()
    nbray.cancel(ref)
    assert nbray.get(ref, timeout=LIMIT) == "caught"


def test_a_task_that_turns_the_interrupt_into_an_error_fails_with_that_and_is_not_retried(gate):
    @nbray.remote(max_retries=3, retry_exceptions=True)
    def turn():
        try:
            Marks.leave(gate.path, "came")
            time.sleep(600)
        except KeyboardInterrupt:
            raise ValueError("other") from None

    ref = turn.remote()
    gate.until_came()
    nbray.cancel(ref)
    with pytest.raises(ValueError, match="other"):
        nbray.get(ref, timeout=LIMIT)
    assert gate.came() == 1


def test_get_raises_while_the_task_does_not_react(gate, tmp_path):
    reacting = Gate(tmp_path, "reacting")

    @nbray.remote
    def stubborn():
        try:
            Marks.leave(gate.path, "came")
            time.sleep(600)
        except KeyboardInterrupt:
            reacting.wait()

    ref = stubborn.remote()
    gate.until_came()
    nbray.cancel(ref)
    assert "has not stopped yet" in str(cancelled(ref))
    assert reacting.came() == 1
    reacting.open()
    assert nbray.get([echo.remote(i) for i in range(20)], timeout=LIMIT) == list(range(20))


def test_cancelling_twice_interrupts_once(gate, tmp_path):
    cleaning = Gate(tmp_path, "cleaning")

    @nbray.remote
    def clean():
        try:
            Marks.leave(gate.path, "came")
            time.sleep(600)
        except KeyboardInterrupt:
            cleaning.wait()
            return "clean"

    ref = clean.remote()
    gate.until_came()
    nbray.cancel(ref)
    cleaning.until_came()
    nbray.cancel(ref)
    cleaning.open()
    assert nbray.get(ref, timeout=LIMIT) == "clean"


def test_a_cancelled_task_is_never_retried(gate):
    ref = spin.options(max_retries=5, retry_exceptions=True).remote(gate)
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)
    nbray.get([echo.remote(i) for i in range(20)])
    assert gate.came() == 1


def test_a_cancelled_task_whose_process_dies_is_cancelled_and_not_retried(gate, tmp_path):
    @nbray.remote(max_retries=5)
    def die():
        try:
            Marks.leave(gate.path, "came")
            time.sleep(600)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    ref = die.remote()
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)
    nbray.get([echo.remote(i) for i in range(20)])
    assert gate.came() == 1


def test_an_interrupt_of_the_users_own_is_an_error_of_the_task():
    @nbray.remote
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)

    with pytest.raises(RayTaskError, match="KeyboardInterrupt"):
        nbray.get(interrupt.remote(), timeout=LIMIT)


def test_a_handler_that_an_earlier_task_left_does_not_keep_the_interrupt_away(gate):
    @nbray.remote
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    nbray.get([ignore.remote() for _ in range(20)])
    ref = spin.remote(gate)
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)


# --- force ---------------------------------------------------------------------------------------------------------------


def test_force_ends_the_process(gate):
    @nbray.remote(max_retries=3)
    def resist():
        Marks.leave(gate.path, "came")
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                pass

    ref = resist.remote()
    gate.until_came()
    (pid,) = (int(name.split("-")[1]) for name in os.listdir(gate.path))
    nbray.cancel(ref, force=True)
    error = cancelled(ref)
    assert not isinstance(error, WorkerCrashedError)
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert gate.came() == 1


def test_force_after_a_plain_cancel_ends_the_process(gate, tmp_path):
    reacting = Gate(tmp_path, "reacting")

    @nbray.remote
    def resist():
        try:
            Marks.leave(gate.path, "came")
            time.sleep(600)
        except KeyboardInterrupt:
            reacting.wait()

    ref = resist.remote()
    gate.until_came()
    (pid,) = (int(name.split("-")[1]) for name in os.listdir(gate.path))
    nbray.cancel(ref)
    reacting.until_came()
    nbray.cancel(ref, force=True)
    cancelled(ref)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_force_ends_a_process_that_listens_to_nobody(gate):
    @nbray.remote
    def stop():
        Marks.leave(gate.path, "came")
        os.kill(os.getpid(), signal.SIGSTOP)

    ref = stop.remote()
    gate.until_came()
    (pid,) = (int(name.split("-")[1]) for name in os.listdir(gate.path))
    nbray.cancel(ref, force=True)
    cancelled(ref)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_what_waits_behind_a_task_that_is_ended_by_force_runs_uncharged(gate, marks):
    @nbray.remote(max_retries=0)
    def step(which):
        if which == "stuck":
            Marks.leave(gate.path, "came")
            time.sleep(600)
        marks.mark()
        return which

    nbray.get([step.remote(i) for i in range(100)])
    refs = [step.remote("stuck"), step.remote("stuck"), *(step.remote(i) for i in range(20))]
    gate.until_came(2)
    for ref in refs[:2]:
        nbray.cancel(ref, force=True)
        cancelled(ref)
    assert nbray.get(refs[2:], timeout=LIMIT) == list(range(20))
    assert marks.count() == 120


# --- actors --------------------------------------------------------------------------------------------------------------


@nbray.remote
class Worker:
    def __init__(self):
        self.ran = []

    def stand(self, gate):
        gate.wait()
        return "through"

    def note(self, what):
        self.ran.append(what)
        return what

    def notes(self):
        return self.ran

    def look(self, gate):
        Marks.leave(gate.path, "came")
        until(nbray.get_runtime_context().is_canceled)
        Marks.leave(gate.path, "saw")
        return "saw"


def test_a_queued_call_of_an_actor_is_skipped_and_the_next_goes_on(gate):
    worker = Worker.remote()
    standing = worker.stand.remote(gate)
    first, second, third = (worker.note.remote(i) for i in range(3))
    gate.until_came()
    nbray.cancel(second)
    assert "before it ran" in str(cancelled(second))
    gate.open()
    assert nbray.get([standing, first, third]) == ["through", 0, 2]
    assert nbray.get(worker.notes.remote()) == [0, 2]


def test_a_call_of_an_actor_that_is_not_there_yet_is_cancelled(gate):
    worker = Worker.remote()
    refs = [worker.note.remote(i) for i in range(3)]
    nbray.cancel(refs[0])
    try:
        nbray.get(refs[0])
        ran = [0, 1, 2]
    except TaskCancelledError:
        ran = [1, 2]
    assert nbray.get(refs[1:]) == [1, 2]
    assert nbray.get(worker.notes.remote()) == ran


def test_a_call_that_waits_for_an_argument_is_cancelled_and_releases_those_behind_it(gate):
    worker = Worker.remote()
    blocked = worker.note.remote(stand.remote(gate))
    behind = worker.note.remote("behind")
    nbray.cancel(blocked)
    cancelled(blocked, 0)
    assert nbray.get(behind, timeout=LIMIT) == "behind"
    gate.open()


def test_a_running_method_is_not_interrupted_but_sees_it(gate):
    worker = Worker.remote()
    ref = worker.look.remote(gate)
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)
    assert nbray.get(worker.note.remote("next"), timeout=LIMIT) == "next"
    assert any(name.startswith("saw") for name in os.listdir(gate.path))


def test_force_is_not_for_actors(gate):
    worker = Worker.remote()
    ref = worker.stand.remote(gate)
    with pytest.raises(ValueError, match="force=True is not supported"):
        nbray.cancel(ref, force=True)
    gate.open()
    assert nbray.get(ref) == "through"


def test_a_thousand_queued_calls_of_an_actor_are_cancelled_and_none_runs(gate):
    worker = Worker.remote()
    standing = worker.stand.remote(gate)
    gate.until_came()
    refs = [worker.note.remote(i) for i in range(1000)]
    for ref in refs:
        nbray.cancel(ref)
    assert len(nbray.wait(refs, num_returns=len(refs), timeout=LIMIT)[0]) == len(refs)
    gate.open()
    assert nbray.get(standing) == "through"
    assert nbray.get(worker.notes.remote()) == []


def test_methods_on_threads_see_that_they_are_cancelled_and_others_do_not(gate, tmp_path):
    worker = Worker.options(max_concurrency=2).remote()
    other = Gate(tmp_path, "other")
    refs = worker.look.remote(gate), worker.stand.remote(other)
    gate.until_came()
    other.until_came()
    nbray.cancel(refs[0])
    cancelled(refs[0])
    other.open()
    assert nbray.get(refs[1]) == "through"


def test_a_call_that_waits_for_a_thread_never_runs(gate):
    worker = Worker.options(max_concurrency=2).remote()
    standing = [worker.stand.remote(gate) for _ in range(2)]
    gate.until_came(2)
    refs = [worker.note.remote(i) for i in range(10)]
    for ref in refs:
        nbray.cancel(ref)
        assert "before it ran" in str(cancelled(ref))
    gate.open()
    nbray.get(standing)
    assert nbray.get(worker.notes.remote()) == []


@nbray.remote
class AsyncWorker:
    def __init__(self):
        self.ran = []

    async def sleep(self, gate):
        Marks.leave(gate.path, "came")
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.ran.append("cancelled")
            raise

    async def swallow(self, gate):
        Marks.leave(gate.path, "came")
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return "swallowed"

    async def note(self, what):
        self.ran.append(what)

    async def notes(self):
        return self.ran

    async def ask(self):
        return nbray.get_runtime_context().is_canceled()


def test_a_coroutine_is_cancelled_as_by_asyncio(gate):
    worker = AsyncWorker.remote()
    ref = worker.sleep.remote(gate)
    gate.until_came()
    nbray.cancel(ref)
    assert "while it ran" in str(cancelled(ref))
    assert nbray.get(worker.notes.remote()) == ["cancelled"]


def test_a_coroutine_that_swallows_it_is_cancelled_all_the_same(gate):
    worker = AsyncWorker.remote()
    ref = worker.swallow.remote(gate)
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)


def test_a_coroutine_that_waits_for_its_turn_never_runs(gate):
    worker = AsyncWorker.options(max_concurrency=1).remote()
    sleeping = worker.sleep.remote(gate)
    gate.until_came()
    refs = [worker.note.remote(i) for i in range(5)]
    for ref in refs:
        nbray.cancel(ref)
        assert "before it ran" in str(cancelled(ref))
    nbray.cancel(sleeping)
    cancelled(sleeping)
    assert nbray.get(worker.notes.remote()) == ["cancelled"]


def test_asking_whether_one_is_cancelled_is_for_tasks_and_plain_methods():
    with pytest.raises(RuntimeError, match="is_canceled"):
        nbray.get_runtime_context().is_canceled()
    with pytest.raises(RuntimeError, match="async"):
        nbray.get(AsyncWorker.remote().ask.remote())
    assert nbray.get(nbray.remote(lambda: nbray.get_runtime_context().is_canceled()).remote()) is False


# --- children ------------------------------------------------------------------------------------------------------------


@nbray.remote(num_cpus=0)
def parent(gate, depth, results):
    ref = parent.remote(gate, depth - 1, results) if depth else child.remote(gate, results)
    nbray.get(ref)


@nbray.remote(num_cpus=0)
def child(gate, results):
    try:
        gate.wait()
    except KeyboardInterrupt:
        Marks.leave(results.path, "interrupted")
        raise
    Marks.leave(results.path, "through")


@pytest.mark.parametrize("depth", [0, 2])
def test_children_are_cancelled_too(gate, marks, depth):
    ref = parent.remote(gate, depth, marks)
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)
    until(lambda: marks.count("interrupted") == 1)


def test_children_are_left_alone_if_one_says_so(gate, marks):
    ref = parent.remote(gate, 0, marks)
    gate.until_came()
    nbray.cancel(ref, recursive=False)
    cancelled(ref)
    gate.open()
    until(lambda: marks.count("through") == 1)
    assert marks.count("interrupted") == 0


def test_children_that_wait_never_run(gate, marks):
    @nbray.remote
    def many():
        refs = [leave.remote(marks) for _ in range(20)]
        Marks.leave(gate.path, "came")
        time.sleep(600)
        return refs

    stuck = stand.remote(gate)
    gate.until_came()
    ref = many.remote()
    gate.until_came(2)
    nbray.cancel(ref)
    cancelled(ref)
    gate.open()
    assert nbray.get(stuck) == "through"
    nbray.get([passing.remote() for _ in range(20)])  # they queued behind the children
    assert marks.count() == 0


def test_children_of_a_method_are_cancelled(gate, marks):
    @nbray.remote
    class Boss:
        def work(self):
            try:
                nbray.get(child.remote(gate, marks))
            except TaskCancelledError:
                marks.mark("told")

    boss = Boss.remote()
    ref = boss.work.remote()
    gate.until_came()
    nbray.cancel(ref)
    cancelled(ref)
    until(lambda: marks.count("interrupted") == 1)
    until(lambda: marks.count("told") == 1)


# --- from elsewhere ------------------------------------------------------------------------------------------------------


def test_whoever_has_a_ref_can_cancel(gate):
    @nbray.remote
    def cancel(refs):
        nbray.cancel(refs[0])

    ref = spin.remote(gate)
    gate.until_came()
    nbray.get(cancel.remote([ref]))
    cancelled(ref)


def test_another_thread_that_waits_hears_of_it(busy):
    ref = echo.remote(1)
    heard = []

    def wait():
        try:
            nbray.get(ref)
        except TaskCancelledError as error:
            heard.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    nbray.cancel(ref)
    thread.join(LIMIT)
    assert len(heard) == 1


def test_views_hear_of_it(busy):
    ref = echo.remote(1)
    nbray.cancel(ref)
    records, _ = nbray.feed().since(0)
    assert [r.state for r in records if getattr(r, "state", "") == "cancelled" and r.task == ref.hex()] == [
        "cancelled"
    ]


def test_the_handler_of_interrupts_is_installed_once_and_not_at_each_call():
    @nbray.remote
    class Counting:
        def begin(self):
            real, self.installed = signal.signal, []
            signal.signal = lambda *what: self.installed.append(what) or real(*what)

        def nothing(self):
            pass

        def count(self):
            return len(self.installed)

    actor = Counting.remote()
    actor.begin.remote()
    for _ in range(5):
        actor.nothing.remote()
    assert nbray.get(actor.count.remote()) == 0
