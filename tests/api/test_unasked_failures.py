"""A failure that nobody asks for is told, once; one that somebody has seen is not."""

import asyncio
import os
import re

import pytest
from gates import Gate, until

import nbray
import nbray.exceptions

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote(max_retries=0)
def fail(text):
    raise ValueError(text)


@nbray.remote
def echo(value):
    return value


@nbray.remote
def catch(refs):
    try:
        nbray.get(refs[0])
    except ValueError:
        return
    raise AssertionError("it did not fail")


@nbray.remote(max_retries=0)
def die():
    os._exit(7)


@nbray.remote
class Actor:
    def fail(self, text):
        raise ValueError(text)


class Told:
    """What a driver says on stderr."""

    def __init__(self, capsys):
        self._capsys = capsys
        self._text = ""

    def until(self, text):
        def come():
            self._text += self._capsys.readouterr().err
            return text in self._text

        until(come)
        return self._text

    def lines(self, mark):
        """All that was said before the next failure, which is told last."""
        fail.remote(mark)
        text = self.until(f"ValueError: {mark}")
        return [line for line in text.split("\n") if "Error:" in line and mark not in line]


@pytest.fixture
def told(capsys):
    return Told(capsys)


def test_a_call_by_itself_that_fails_is_told_with_its_traceback(told):
    fail.remote("by itself")
    text = told.until("shown here, once.\n")
    assert re.match(r"\(fail pid=\d+\) Traceback \(most recent call last\):\n", text)
    assert re.search(r"^\(fail pid=\d+\) ValueError: by itself$", text, re.MULTILINE)


def test_a_method_and_a_process_that_dies_are_told_too(told):
    actor = Actor.remote()
    actor.fail.remote("in a method")
    told.until("ValueError: in a method")
    die.remote()
    told.until("exit code 7")


def test_a_constructor_that_fails_is_told_by_itself_and_with_calls_that_nobody_asks_for(told):
    @nbray.remote
    class Broken:
        def __init__(self, text):
            raise ValueError(text)

        def run(self):
            pass

    broken = Broken.remote("in a constructor")
    text = told.until("ValueError: in a constructor")
    assert re.match(r"\(Broken pid=\d+\) Traceback", text)
    with pytest.raises(nbray.exceptions.ActorDiedError):
        nbray.get(broken.run.remote())
    Broken.remote("with a call").run.remote()
    told.until("ValueError: with a call")


def test_a_failure_in_a_task_whose_caller_never_asks_is_told(told):
    @nbray.remote
    def outer():
        nbray.wait([fail.remote("of a nested call")])

    nbray.get(outer.remote())
    told.until("ValueError: of a nested call")


def test_a_failure_is_told_when_its_last_ref_goes(told):
    ref = fail.remote("kept")
    nbray.wait([ref])
    assert told.lines("while it is kept") == []
    del ref
    told.until("ValueError: kept")


def test_what_depends_on_a_failure_and_is_not_asked_for_tells_it_once(told):
    refs = [echo.remote(fail.remote("of an argument"))]
    refs += [echo.remote(refs[0]), echo.remote(refs[0])]
    nbray.wait(refs, num_returns=3)
    del refs
    assert len(told.lines("after those")) == 1


def test_a_thousand_failures_that_read_alike_are_told_once(told):
    nbray.wait([fail.remote("all the same") for _ in range(1000)], num_returns=1000)
    lines = told.lines("after the thousand")
    assert len(lines) == 1 and lines[0].endswith("all the same")


def test_failures_that_were_raised_here_are_not_told(told, tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote(num_returns=2)
    def two():
        raise ValueError("of two")

    @nbray.remote
    def later():
        gate.wait()
        raise ValueError("of one that failed later")

    @nbray.remote
    class Broken:
        def __init__(self):
            gate.wait()
            raise ValueError("in a constructor that is asked for")

        def run(self):
            pass

    @nbray.remote
    def items():
        yield 1
        raise ValueError("after an item")

    async def awaited():
        await fail.remote("awaited")

    refs = [fail.remote("first"), fail.remote("second"), later.remote()]
    for asked in (
        lambda: nbray.get(fail.remote("got")),
        lambda: nbray.get(refs),
        lambda: nbray.get(two.remote()),
        lambda: nbray.get(echo.remote(echo.remote(fail.remote("of an argument")))),
        lambda: fail.remote("of a future").future().result(),
        lambda: asyncio.run(awaited()),
    ):
        with pytest.raises(ValueError):
            asked()
    asked_for = Broken.remote().run.remote()
    gate.open()
    nbray.wait(refs, num_returns=3)
    refs.clear()
    with pytest.raises(nbray.exceptions.ActorDiedError):
        nbray.get(asked_for)
    nbray.wait([items.remote().completed()])
    assert told.lines("after what was seen") == []


def test_failures_that_another_process_asked_for_are_not_told(told):
    nbray.get(catch.remote([fail.remote("passed on before it failed")]))
    ref = fail.remote("passed on after it failed")
    nbray.wait([ref])
    nbray.get(catch.remote([ref]))
    del ref
    assert told.lines("after what was passed on") == []


def test_calls_that_were_cancelled_or_whose_actor_was_killed_are_not_told(told, tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    class Waits:
        def here(self):
            gate.wait()

    actor = Waits.remote()
    pending = actor.here.remote()
    dependent = fail.remote(pending)
    nbray.cancel(dependent)
    actor.here.remote()
    gate.until_came()
    nbray.kill(actor)
    nbray.wait([pending])
    del dependent, pending
    gate.open()
    assert told.lines("after what was ended") == []
