"""Executors that die in the middle of generators: no item twice, none lost, and an end in any case."""

import os
import signal

import numpy as np
import psutil
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.exceptions import ActorDiedError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("pool")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@nbray.remote
def dies_at(marks, at, n, size=0):
    """Yields n items; its first run dies before item ``at``."""
    marks.mark()
    first = marks.count() == 1
    for i in range(n):
        if first and i == at:
            die()
        yield np.full(size, i) if size else i


@nbray.remote
class Actor:
    def dies_at(self, marks, at, n):
        marks.mark()
        first = marks.count() == 1
        for i in range(n):
            if first and i == at:
                die()
            yield i

    def pid(self):
        return os.getpid()


@nbray.remote
class Async:
    async def dies_at(self, marks, at, n):
        marks.mark()
        first = marks.count() == 1
        for i in range(n):
            if first and i == at:
                die()
            yield i


@pytest.mark.parametrize("at", [0, 1, 5, 9])
@pytest.mark.parametrize("ahead", [-1, 1, 3])
def test_a_rerun_goes_on_where_the_first_run_died(tmp_path, at, ahead):
    marks = Marks(tmp_path)
    generator = dies_at.options(_generator_backpressure_num_objects=ahead).remote(marks, at, 10)
    assert nbray.get(list(generator), timeout=30) == list(range(10))
    assert marks.count() == 2
    assert nbray.get(generator.completed()) is None


def test_large_items_of_both_runs_are_whole(tmp_path):
    generator = dies_at.remote(Marks(tmp_path), 3, 6, 50_000)
    refs = list(generator)
    assert [int(array.sum()) for array in nbray.get(refs)] == [50_000 * i for i in range(6)]


def test_without_retries_the_last_item_is_the_crash(tmp_path):
    generator = dies_at.options(max_retries=0).remote(Marks(tmp_path), 2, 10)
    first, second, last = generator
    assert nbray.get([first, second]) == [0, 1]
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        nbray.get(last)
    with pytest.raises(WorkerCrashedError):
        nbray.get(generator.completed())
    assert generator.is_finished()


def test_an_actors_death_is_the_last_item_of_its_generator(tmp_path):
    generator = Actor.remote().dies_at.remote(Marks(tmp_path), 2, 10)
    first, second, last = generator
    assert nbray.get([first, second]) == [0, 1]
    with pytest.raises(ActorDiedError):
        nbray.get(last)


@pytest.mark.parametrize("cls", [Actor, Async])
def test_a_restarted_actor_runs_the_generator_again_if_it_may(tmp_path, cls):
    marks = Marks(tmp_path)
    actor = cls.options(max_restarts=1, max_task_retries=1).remote()
    generator = actor.dies_at.options(_generator_backpressure_num_objects=2).remote(marks, 4, 8)
    assert nbray.get(list(generator), timeout=30) == list(range(8))
    assert marks.count() == 2


def test_an_executor_that_is_killed_while_it_is_paused_runs_again(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(_generator_backpressure_num_objects=1)
    def paused():
        for i in range(4):
            marks.mark()
            yield i

    generator = paused.remote()
    until(generator.next_ready)
    os.kill(marks.pids()[0], signal.SIGKILL)
    assert nbray.get(list(generator), timeout=30) == [0, 1, 2, 3]


def test_an_abandoned_generator_does_not_run_again_after_a_crash(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote(max_retries=-1)
    def stuck():
        marks.mark()
        yield 1
        gate.wait()

    generator = stuck.remote()
    next(generator)
    gate.until_came()
    generator.close()
    process = psutil.Process(marks.pids()[0])
    process.kill()
    until(lambda: not process.is_running())
    gate.open()
    assert nbray.get(list(dies_at.remote(Marks(tmp_path, "other"), -1, 20))) == list(range(20))
    assert marks.count() == 1


def test_a_caller_that_dies_closes_its_generators(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    class Source:
        def endless(self):
            try:
                while True:
                    yield os.getpid()
            finally:
                marks.mark("closed")

        def ping(self):
            return "pong"

    @nbray.remote(max_retries=0)
    def consumer(source):
        generator = source.endless.options(_generator_backpressure_num_objects=2).remote()
        next(generator)
        die()

    source = Source.remote()
    with pytest.raises(WorkerCrashedError):
        nbray.get(consumer.remote(source))
    until(lambda: marks.count("closed") == 1)
    assert nbray.get(source.ping.remote()) == "pong"


def test_killing_an_actor_ends_the_generators_that_wait_in_its_queue(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    class Slow:
        def items(self):
            yield 1
            gate.wait()

    actor = Slow.remote()
    running, queued = actor.items.remote(), actor.items.remote()
    next(running)
    gate.until_came()
    nbray.kill(actor)
    for generator in (running, queued):
        (last,) = generator
        with pytest.raises(ActorDiedError):
            nbray.get(last)


def test_shutdown_ends_an_iteration():
    """In a process of its own: this one's pool has to stay."""
    import subprocess
    import sys

    script = """
import nbray, threading, time
nbray.init(num_cpus=1)
@nbray.remote
def one():
    yield 1
    time.sleep(1000)
generator = one.remote()
next(generator)
seen = []
def consume():
    try:
        next(generator)
    except Exception as error:
        seen.append(type(error).__name__)
    else:
        seen.append("item")
thread = threading.Thread(target=consume)
thread.start()
nbray.shutdown()
thread.join(20)
assert seen in (["RaySystemError"], ["item"]), seen
try:
    list(generator)
except Exception as error:
    assert type(error).__name__ == "RaySystemError", error
generator.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
