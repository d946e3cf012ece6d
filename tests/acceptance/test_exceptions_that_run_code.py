"""Exceptions of users, whose unpickling may do anything: nobody holds a lock meanwhile, and nothing of them stays."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from gates import Gate, Marks

import nbray
from nbray.exceptions import ActorDiedError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(value):
    return value


def rebuilt(gate):
    """What the exception below is unpickled by: it uses nbray, from another thread too, and takes its time."""
    if nbray.get_runtime_context().get_task_id() is not None:
        return Slow(gate)  # in the executor that raised it
    got = []
    thread = threading.Thread(target=lambda: got.append(nbray.get(echo.remote(1), timeout=20)))
    thread.start()
    thread.join(20)
    assert got == [1], "another thread could not use nbray meanwhile"
    assert nbray.get(echo.remote(2), timeout=20) == 2
    gate.wait()
    return Slow(gate)


class Slow(Exception):
    def __init__(self, gate):
        super().__init__("slow")
        self.gate = gate

    def __reduce__(self):
        return rebuilt, (self.gate,)


def test_a_retry_is_decided_without_a_lock(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    gate.open()

    @nbray.remote(max_retries=2, retry_exceptions=[Slow])
    def fails():
        marks.mark()
        if marks.count() < 3:
            raise Slow(gate)
        return "third"

    assert nbray.get(fails.remote(), timeout=60) == "third"
    assert marks.count() == 3


def test_an_exception_that_is_not_to_be_retried_is_not(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_retries=2, retry_exceptions=[KeyError])
    def fails():
        marks.mark()
        raise ValueError("other")

    with pytest.raises(ValueError, match="other"):
        nbray.get(fails.remote(), timeout=30)
    assert marks.count() == 1


def test_an_actors_calls_are_retried_for_chosen_exceptions(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_task_retries=2)
    class Actor:
        @nbray.method(retry_exceptions=[KeyError])
        def fails(self):
            marks.mark()
            if marks.count() < 2:
                raise KeyError("first")
            return "second"

    actor = Actor.remote()
    assert nbray.get(actor.fails.remote(), timeout=30) == "second"


def test_the_death_of_an_actor_in_its_constructor_is_told_without_unpickling_why(tmp_path):
    gate = Gate(tmp_path)  # stays closed

    @nbray.remote
    class Stillborn:
        def __init__(self):
            raise Slow(gate)

        def ping(self):
            pass

    actor = Stillborn.remote()
    for ref in [actor.ping.remote() for _ in range(3)]:
        with pytest.raises(ActorDiedError, match="Slow") as caught:
            nbray.get(ref, timeout=20)
        assert "raise Slow(gate)" in str(caught.value)
    assert gate.came() == 0


def test_classes_of_exceptions_that_a_cell_defines_again_do_not_stay():
    def define():
        class OfACell(Exception):
            pass

        return OfACell

    @nbray.remote
    def fails(kind):
        raise kind("x")

    classes = []
    for _ in range(5):
        kind = define()
        classes.append(weakref.ref(kind))
        with pytest.raises(nbray.exceptions.RayTaskError):
            nbray.get(fails.remote(kind), timeout=30)
    del kind
    until_gone(classes)


def until_gone(references):
    for _ in range(10):
        gc.collect()
        if not any(reference() for reference in references):
            return
        nbray.get(echo.remote(1))
    pytest.fail(f"{sum(reference() is not None for reference in references)} classes stay")


def test_a_finalizer_or_a_stream_that_fails_at_an_actors_end_does_not_keep_it(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    class Last:
        def __init__(self):
            import atexit
            import sys

            class Broken:
                pending = False

                def write(self, text):
                    return len(text)

                def flush(self):
                    raise OSError("broken")

            atexit.register(marks.mark, "atexit")
            sys.stdout = sys.stderr = Broken()

        def pid(self):
            import os

            return os.getpid()

        def __del__(self):
            marks.mark("del")
            raise KeyError("last words")

    import psutil

    actor = Last.remote()
    process = psutil.Process(nbray.get(actor.pid.remote(), timeout=20))
    del actor
    gc.collect()
    nbray.get(echo.remote(1))
    try:
        process.wait(20)
    except psutil.NoSuchProcess:
        pass
    assert (marks.count("del"), marks.count("atexit")) == (1, 1)
