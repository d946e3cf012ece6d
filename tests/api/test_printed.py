"""What tasks and actors print is in the feed, for views that show it."""

from __future__ import annotations

import getpass
import os
import sys

import pytest

import nbray
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
    texts = [(each.name, each.text) for each in printed() if each.name.endswith("Chatty")]
    assert texts == [("Chatty", "made\n"), ("Chatty", "half a line")]


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
