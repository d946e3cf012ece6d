"""What tasks and actors print is in the feed, for views that show it."""

from __future__ import annotations

import getpass
import io
import os
import sys
import threading

import pytest

import nbray
from nbray import _runtime
from nbray.events import Printed


def printed() -> list[Printed]:
    return [record for record in nbray.feed().since(0)[0] if isinstance(record, Printed)]


def test_lines_name_their_task_process_and_stream(pool):
    @nbray.remote
    def talk():
        print("out")
        print("err", file=sys.stderr)
        return os.getpid(), nbray.get_runtime_context().get_task_id()

    pid, task = nbray.get(talk.remote())
    mine = [record for record in printed() if record.task == task]
    assert [(each.name, each.stream, each.text, each.pid, each.origin) for each in mine] == [
        ("talk", 1, "out\n", pid, ""),
        ("talk", 2, "err\n", pid, ""),
    ]
    assert {each.process for each in mine} == {each.process for each in mine if len(each.process) == 16}


def test_an_actors_lines_have_its_class_and_a_dead_process_its_last_words(pool):
    @nbray.remote
    class Chatty:
        def __init__(self):
            print("made")

        def end(self):
            os.write(1, b"half a line")
            os._exit(1)

    chatty = Chatty.remote()
    ref = chatty.end.remote()
    nbray.wait([ref])
    # In one piece, if the process was dead before the first was read.
    said = [each for each in printed() if "made" in each.text or "half" in each.text]
    assert "".join(each.text for each in said) == "made\nhalf a line"
    assert {each.name for each in said} == {"Chatty"}


def test_last_words_are_the_actors_though_nothing_it_said_has_been_read(pool, monkeypatch):
    owner = _runtime.current().owner
    step, told = owner.reactor.step, threading.Event()
    last_words = owner._notices["output"]

    def held_up(timeout, eager=False):
        """Nothing is read once an actor's hello may be there, until its end was told."""
        if not told.is_set() and any(peer.opened and peer.peer is None for peer in owner.actors.peers()):
            told.wait(0.01)
            return 0
        return step(timeout, eager)

    def output(*notice):
        last_words(*notice)
        told.set()

    monkeypatch.setattr(owner.reactor, "step", held_up)
    monkeypatch.setitem(owner._notices, "output", output)

    @nbray.remote
    class Brief:
        def end(self):
            os.write(1, b"its last words")
            os._exit(1)

    brief = Brief.remote()
    ref = brief.end.remote()
    nbray.wait([ref])
    assert told.is_set()
    assert [(each.name, each.text) for each in printed() if "last words" in each.text] == [
        ("Brief", "its last words")
    ]


def test_a_nested_tasks_lines_reach_the_drivers_feed(pool):
    @nbray.remote
    def inner():
        print("from within")

    @nbray.remote
    def outer():
        nbray.get(inner.remote())

    nbray.get(outer.remote())
    assert [each.name for each in printed() if each.text == "from within\n"] == ["inner"]


def test_a_task_that_asks_for_a_password_has_one_error_that_says_what_to_do(pool):
    @nbray.remote
    def ask():
        return getpass.getpass()

    with pytest.raises(EOFError, match="no keyboard: call input") as error:
        nbray.get(ask.remote())
    assert "During handling" not in str(error.value)
    assert "termios" not in str(error.value)


def _redirected() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _replaced() -> None:
    sys.stdout, sys.stderr = io.StringIO(), None  # type: ignore[assignment]


@pytest.mark.parametrize("spoil", [lambda: os.close(1), lambda: os.close(2), _redirected, _replaced])
def test_what_a_task_does_to_stdout_and_stderr_ends_with_it(pool, spoil):
    @nbray.remote(num_cpus=2)
    def spoils():
        spoil()
        return os.getpid()

    @nbray.remote(num_cpus=2)
    def talks():
        print("out", flush=True)
        os.write(1, b"out of C\n")
        print("err", file=sys.stderr)
        return os.getpid()

    assert nbray.get(spoils.remote()) == nbray.get(talks.remote())
    texts = [(each.stream, each.text) for each in printed() if each.name == "talks"][-3:]
    assert ("".join(text for stream, text in texts if stream == 1), texts[-1]) == (
        "out\nout of C\n",
        (2, "err\n"),
    )


def test_what_an_actor_does_to_stdout_stays(pool):
    @nbray.remote
    class Silent:
        def __init__(self):
            sys.stdout = io.StringIO()

        def say(self):
            print("kept")
            return sys.stdout.getvalue()

    assert nbray.get(Silent.remote().say.remote()) == "kept\n"
