"""Forks by user code that come back from their call: they end there, and their parents do not notice."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from ends import has_ended
from gates import Marks, until

import nbray as ray


@pytest.fixture
def marks(tmp_path):
    return Marks(tmp_path)


@ray.remote(max_retries=0)
def fork(marks, how="return"):
    if not os.fork():
        marks.mark()
        if how == "raise":
            raise ValueError("in the copy")
        if how == "exit":
            sys.exit(7)
    return os.getpid()


@ray.remote(max_retries=0)
def where():
    return os.getpid()


@ray.remote
class Plain:
    def __init__(self, marks=None):
        if marks is not None and not os.fork():
            marks.mark()

    def fork(self, marks):
        if not os.fork():
            marks.mark()
        return os.getpid()

    def pid(self):
        return os.getpid()


@ray.remote
class Async:
    async def fork(self, marks):
        if not os.fork():
            marks.mark()
        return os.getpid()

    async def fork_and_wait(self, marks):
        if not os.fork():
            marks.mark()
            await asyncio.sleep(3600)
        return os.getpid()

    async def pid(self):
        return os.getpid()


def ended(marks, n):
    """The copies have marked themselves, and are gone."""
    until(lambda: marks.count() == n)
    until(lambda: all(map(has_ended, marks.pids())))


@pytest.mark.parametrize("how", ["return", "raise", "exit"])
def test_a_copy_of_a_task_ends_where_it_gives_control_back_and_takes_nothing_from_its_executor(
    pool, marks, how
):
    pids = [ray.get(fork.remote(marks, how), timeout=30) for _ in range(5)]
    ended(marks, 5)
    assert not set(pids) & set(marks.pids())
    others = ray.get([where.remote() for _ in range(200)], timeout=30)
    assert not set(others) & set(marks.pids())


def test_what_a_copy_raises_is_printed(pool, marks, capfd):
    ray.get(fork.remote(marks, "raise"), timeout=30)
    ended(marks, 1)
    ray.get([where.remote() for _ in range(20)], timeout=30)
    until(lambda: "ValueError: in the copy" in capfd.readouterr().err)


def test_a_copy_of_a_generator_yields_nothing(pool, marks):
    @ray.remote
    def items():
        yield 1
        if not os.fork():
            marks.mark()
        yield 2
        yield 3

    assert [ray.get(ref, timeout=30) for ref in items.remote()] == [1, 2, 3]
    ended(marks, 1)


@pytest.mark.parametrize("kind", ["plain", "threaded", "async"])
def test_a_copy_of_an_actor_ends_and_the_actor_goes_on(pool, marks, kind):
    actor = (
        Async.remote()
        if kind == "async"
        else Plain.options(max_concurrency=3 if kind == "threaded" else 1).remote()
    )
    pid = ray.get(actor.pid.remote(), timeout=30)
    for _ in range(3):
        assert ray.get(actor.fork.remote(marks), timeout=30) == pid
    ended(marks, 3)
    assert ray.get([actor.pid.remote() for _ in range(200)], timeout=30) == [pid] * 200


def test_a_copy_that_an_async_actor_leaves_waiting_takes_no_calls(pool, marks):
    actor = Async.remote()
    pid = ray.get(actor.fork_and_wait.remote(marks), timeout=30)
    until(lambda: marks.count() == 1)
    assert ray.get([actor.pid.remote() for _ in range(200)], timeout=30) == [pid] * 200


def test_a_copy_that_a_constructor_makes_is_no_second_actor(pool, marks):
    actor = Plain.remote(marks)
    pid = ray.get(actor.pid.remote(), timeout=30)
    ended(marks, 1)
    assert ray.get([actor.pid.remote() for _ in range(200)], timeout=30) == [pid] * 200
