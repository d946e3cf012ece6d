"""The option ``timeout`` of actors' methods."""

import asyncio
import os
import threading
import time

import pytest
from gates import Gate, Marks, ever_longer, until

import nbray
from nbray.exceptions import RayActorError, TaskTimeoutError

pytestmark = pytest.mark.usefixtures("pool")


class Sync:
    def __init__(self, marks=None):
        self.marks = marks
        self.left = False

    def sleep(self):
        try:
            time.sleep(600)
        finally:
            self.left = True

    @nbray.method(timeout=0.05)
    def impatient(self):
        time.sleep(600)

    def stubborn(self):
        while True:
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                self.marks.mark("stubborn")

    def items(self):
        yield 1
        self.sleep()

    def state(self):
        return self.left, os.getpid()


class Async(Sync):
    async def sleep(self):
        try:
            await asyncio.sleep(600)
        finally:
            self.left = True

    @nbray.method(timeout=0.05)
    async def impatient(self):
        await asyncio.sleep(600)

    async def stubborn(self):
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                self.marks.mark("stubborn")

    async def items(self):
        yield 1
        await self.sleep()

    async def state(self):
        return self.left, os.getpid()


KINDS = pytest.mark.parametrize("kind", [Sync, Async])


def timed_out(ref):
    with pytest.raises(TaskTimeoutError) as caught:
        nbray.get(ref, timeout=30)
    return str(caught.value)


@KINDS
def test_a_method_that_runs_for_too_long_is_interrupted_and_the_actor_lives(kind):
    actor = nbray.remote(kind).remote()
    pid = nbray.get(actor.state.remote())[1]
    assert "sleep ran for more than 0.05 s" in timed_out(actor.sleep.options(timeout=0.05).remote())
    assert nbray.get(actor.state.remote()) == (True, pid)
    assert "impatient ran for more than 0.05 s" in timed_out(actor.impatient.remote())
    assert nbray.get(actor.state.remote()) == (True, pid)


@KINDS
def test_a_method_that_ends_in_time_is_left_alone(kind):
    actor = nbray.remote(kind).remote()
    for _ in range(20):
        assert nbray.get(actor.state.options(timeout=60).remote())[0] is False


@KINDS
def test_a_generator_that_runs_for_too_long_ends_with_the_error_as_its_last_item(kind):
    actor = nbray.remote(kind).remote()
    for seconds in ever_longer(0.2):
        *items, last = actor.items.options(timeout=seconds).remote()
        timed_out(last)
        if items:
            break
    assert nbray.get(items) == [1]
    assert nbray.get(actor.state.remote())[0] is True


def test_who_takes_no_notice_takes_its_process_along_and_the_actor_restarts_as_it_may(tmp_path):
    marks = Marks(tmp_path)
    actor = nbray.remote(Sync).options(max_restarts=1, max_task_retries=1).remote(marks)
    pid = nbray.get(actor.state.remote())[1]
    stubborn = actor.stubborn.options(timeout=0.05, max_task_retries=0).remote()
    behind = actor.state.remote()
    assert "did not end" in timed_out(stubborn)
    assert nbray.get(behind, timeout=30)[1] != pid
    timed_out(actor.stubborn.options(timeout=0.05, max_task_retries=0).remote())
    with pytest.raises(RayActorError):
        nbray.get(actor.state.remote(), timeout=30)


def test_an_async_method_that_takes_no_notice_is_answered_for(tmp_path):
    marks = Marks(tmp_path)
    actor = nbray.remote(Async).remote(marks)
    assert "did not end" in timed_out(actor.stubborn.options(timeout=0.05).remote())
    assert marks.count("stubborn") == 1
    assert nbray.get(actor.state.remote(), timeout=30)[0] is False


def test_the_clock_of_a_method_starts_when_it_does(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    class Actor:
        def hold(self):
            gate.wait()

        def quick(self):
            return 5

    actor = Actor.remote()
    hold = actor.hold.remote()
    gate.until_came()
    quick = actor.quick.options(timeout=0.2).remote()
    threading.Timer(0.4, gate.open).start()
    assert nbray.get([hold, quick], timeout=30) == [None, 5]


def test_a_method_on_a_thread_is_answered_for_and_can_see_it(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_concurrency=2)
    class Threaded:
        def spin(self):
            while not nbray.get_runtime_context().is_canceled():
                time.sleep(0.002)
            marks.mark("saw")
            return "late"

        def echo(self, value):
            return value

    actor = Threaded.remote()
    spin = [actor.spin.options(timeout=0.05).remote() for _ in range(4)]
    for ref in spin:
        assert "its thread cannot be interrupted" in timed_out(ref)
    until(lambda: marks.count("saw") == 4)
    assert nbray.get([actor.echo.options(timeout=60).remote(i) for i in range(50)]) == list(range(50))


def test_what_a_method_that_ran_for_too_long_had_submitted_is_cancelled(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(num_cpus=1)
    def child():
        try:
            marks.mark("began")
            time.sleep(600)
        finally:
            marks.mark("ended")

    @nbray.remote(num_cpus=0)
    class Parent:
        def run(self):
            ref = child.remote()
            until(lambda: marks.count("began"))
            nbray.get(ref)

    parent = Parent.remote()
    for seconds in ever_longer(0.2):
        timed_out(parent.run.options(timeout=seconds).remote())
        if marks.count("began"):
            break
    until(lambda: marks.count("ended") == marks.count("began"))


@pytest.mark.parametrize("timeout", [0, -1, "1", True, float("nan")])
def test_a_timeout_that_means_nothing_is_refused(timeout):
    actor = nbray.remote(Sync).remote()
    with pytest.raises((TypeError, ValueError), match="timeout"):
        actor.sleep.options(timeout=timeout)
    with pytest.raises((TypeError, ValueError), match="timeout"):
        nbray.method(timeout=timeout)
