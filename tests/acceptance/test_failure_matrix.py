"""What can go wrong, at each place where user code runs: each ref gets a value or a typed error, and the pool goes on.

The matrix is loky's: an error, an exit, a segmentation fault, while an argument is pickled and unpickled, in the call, and
while its result is pickled and unpickled; for tasks, actors, and actors with async methods.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap

import psutil
import pytest
from gates import until

import nbray
from nbray.exceptions import ActorDiedError, RayError, SerializationError, WorkerCrashedError

#: Seconds in which any ref must be answered.
BOUND = 30


@pytest.fixture(autouse=True)
def the_pool_works_after(pool):
    yield
    assert nbray.get([echo.remote(i) for i in range(8)], timeout=BOUND) == list(range(8))
    fresh = Echo.remote()
    assert nbray.get(fresh.echo.remote("alive"), timeout=BOUND) == "alive"


class TheError(Exception):
    pass


def fail():
    raise TheError("on purpose")


def leave():
    os._exit(3)


def fall():
    ctypes.string_at(0)


CRASHES = [leave, fall]


class AtPickle:
    """Does it when it is pickled."""

    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        self.what()


class AtUnpickle:
    """Does it when it is unpickled."""

    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return self.what, ()


@nbray.remote(max_retries=0)
def echo(value):
    return value


@nbray.remote(max_retries=0)
def call(what):
    what()


@nbray.remote(max_retries=0)
def make(kind, what):
    return kind(what)


class Plain:
    def echo(self, value):
        return value

    def call(self, what):
        what()

    def make(self, kind, what):
        return kind(what)


class Asynchronous:
    async def echo(self, value):
        return value

    async def call(self, what):
        what()

    async def make(self, kind, what):
        return kind(what)


Echo = nbray.remote(Plain)
AsyncEcho = nbray.remote(Asynchronous)


class Tasks:
    """Looks like an actor's handle."""

    echo, call, make = echo, call, make


TARGETS = pytest.mark.parametrize("target", ["task", "actor", "async"])
DIED = {"task": WorkerCrashedError, "actor": ActorDiedError, "async": ActorDiedError}


def made(target):
    return {"task": Tasks, "actor": Echo.remote, "async": AsyncEcho.remote}[target]()


def dies(ref, target):
    with pytest.raises(DIED[target]):
        nbray.get(ref, timeout=BOUND)


# --- errors ------------------------------------------------------------------------------------------------------------


@TARGETS
def test_an_error_while_an_argument_is_pickled_is_raised_at_the_call(target):
    there = made(target)
    with pytest.raises(SerializationError, match="on purpose"):
        there.echo.remote(AtPickle(fail))
    assert nbray.get(there.echo.remote(1), timeout=BOUND) == 1


@TARGETS
def test_an_error_while_an_argument_is_unpickled_fails_the_call_only(target):
    there = made(target)
    with pytest.raises(SerializationError, match="on purpose"):
        nbray.get(there.echo.remote(AtUnpickle(fail)), timeout=BOUND)
    assert nbray.get(there.echo.remote(1), timeout=BOUND) == 1


@TARGETS
def test_an_error_in_the_call_fails_the_call_only(target):
    there = made(target)
    with pytest.raises(TheError, match="on purpose"):
        nbray.get(there.call.remote(fail), timeout=BOUND)
    assert nbray.get(there.echo.remote(1), timeout=BOUND) == 1


@TARGETS
def test_an_error_while_the_result_is_pickled_fails_the_call_only(target):
    there = made(target)
    with pytest.raises(SerializationError, match="on purpose"):
        nbray.get(there.make.remote(AtPickle, fail), timeout=BOUND)
    assert nbray.get(there.echo.remote(1), timeout=BOUND) == 1


@TARGETS
def test_an_error_while_the_result_is_unpickled_is_the_readers(target):
    there = made(target)
    ref = there.make.remote(AtUnpickle, fail)
    for _ in range(2):
        with pytest.raises(SerializationError, match="on purpose"):
            nbray.get(ref, timeout=BOUND)
    with pytest.raises(SerializationError, match="on purpose"):
        nbray.get(there.echo.remote(ref), timeout=BOUND)
    assert nbray.get(there.echo.remote(1), timeout=BOUND) == 1


# --- crashes -----------------------------------------------------------------------------------------------------------


@TARGETS
@pytest.mark.parametrize("what", CRASHES)
def test_a_crash_while_an_argument_is_unpickled_is_a_crash_of_the_callee(target, what):
    dies(made(target).echo.remote(AtUnpickle(what)), target)


@TARGETS
@pytest.mark.parametrize("what", CRASHES)
def test_a_crash_in_the_call_is_one_of_the_callee(target, what):
    dies(made(target).call.remote(what), target)


@TARGETS
@pytest.mark.parametrize("what", CRASHES)
def test_a_crash_while_the_result_is_pickled_is_one_of_the_callee(target, what):
    dies(made(target).make.remote(AtPickle, what), target)


@TARGETS
@pytest.mark.parametrize("what", CRASHES)
def test_a_crash_of_a_nested_reader_is_a_crash_of_the_nested_call(target, what):
    """A result that kills who reads it, in the hands of another task."""
    ref = made(target).make.remote(AtUnpickle, what)
    dies(echo.remote(ref), "task")


@TARGETS
@pytest.mark.parametrize("what", CRASHES)
def test_what_is_queued_behind_a_crash_is_answered(target, what):
    there = made(target)
    refs = [there.call.remote(what), *[there.echo.remote(i) for i in range(20)]]
    outcomes = []
    for ref in refs:
        try:
            outcomes.append(nbray.get(ref, timeout=BOUND))
        except RayError as error:
            outcomes.append(type(error))
    assert outcomes[0] is DIED[target]
    rest = list(range(20)) if target == "task" else [ActorDiedError] * 20
    assert outcomes[1:] == rest


def test_a_constructor_that_crashes_or_raises_answers_every_call():
    @nbray.remote
    class Stillborn:
        def __init__(self, what):
            what()

        def ping(self):
            pass

    for what in (fail, leave, fall):
        actor = Stillborn.remote(what)
        for ref in [actor.ping.remote() for _ in range(3)]:
            with pytest.raises(ActorDiedError):
                nbray.get(ref, timeout=BOUND)


# --- the driver itself -------------------------------------------------------------------------------------------------

DRIVER = """
import ctypes, os, sys
import nbray

class Bomb:
    def __init__(self, when): self.when = when
    def __reduce__(self):
        if self.when == "pickle":
            {crash}
        return explode, ()

def explode():
    {crash}

@nbray.remote
def echo(value): return value

@nbray.remote
def make(): return Bomb("unpickle")

nbray.init(num_cpus=1)
import psutil
print(*[process.pid for process in psutil.Process().children(recursive=True)])
print(nbray._runtime.current().owner.address.unix, flush=True)
{last}
"""


@pytest.mark.parametrize("last", ["echo.remote(Bomb('pickle'))", "nbray.get(make.remote())"])
@pytest.mark.parametrize(("crash", "code"), [("os._exit(3)", 3), ("ctypes.string_at(0)", -11)])
def test_a_driver_that_crashes_over_a_value_leaves_nothing(last, crash, code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DRIVER).format(last=last, crash=crash)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    *pids, path = done.stdout.split()
    until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids), 5)
    assert not os.path.exists(path)
