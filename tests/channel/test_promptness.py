"""Answers that have been coming at once are looked for rather than slept for."""

from __future__ import annotations

import pytest
from channel.support import World

from nbray.channel import reactor
from nbray.channel.promptness import LOOK, Promptness

SHORT, LONG = LOOK, 3 * LOOK


def after(*waits: float, looked: bool = False) -> Promptness:
    """With these waits behind it, each for something it had asked for."""
    promptness = Promptness()
    for seconds in waits:
        promptness.asked = True
        promptness.waited(seconds, looked)
    promptness.asked = True
    return promptness


def test_seven_answers_that_come_at_once_make_the_next_one_expected():
    assert not after().expected
    assert not after(*6 * [SHORT]).expected
    assert after(*7 * [SHORT]).expected


def test_one_of_eight_may_take_long():
    assert after(*4 * [SHORT], LONG, *3 * [SHORT]).expected
    assert not after(*8 * [SHORT], LONG, LONG).expected
    assert not after(*8 * [SHORT], LONG, LONG, *6 * [SHORT]).expected
    assert after(*8 * [SHORT], LONG, LONG, *7 * [SHORT]).expected


def test_a_look_that_found_nothing_was_long_however_soon_the_answer_came_then():
    late = 1.5 * LOOK
    assert after(*8 * [late]).expected, "a sleep of that length is mostly the wake-up"
    assert not after(*8 * [late], looked=True).expected


def test_who_has_asked_nothing_expects_nothing_and_learns_nothing():
    promptness = after(*7 * [SHORT])
    promptness.asked = False
    assert not promptness.expected
    for _ in range(8):
        promptness.waited(LONG, looked=False)
    promptness.asked = True
    assert promptness.expected


class Recorder:
    """A poller that knows how it was polled. What comes can be held back for so many looks."""

    def __init__(self, poller):
        self._poller = poller
        self.timeouts = []
        self.nothing = 0

    def __getattr__(self, name):
        return getattr(self._poller, name)

    def poll(self, timeout):
        self.timeouts.append(timeout)
        if self.nothing and not timeout:
            self.nothing -= 1
            return []
        return self._poller.poll(timeout)


@pytest.fixture
def waits(tmp_path, monkeypatch):
    """Makes a side wait for the answer to something it has sent, and answers how it polled."""
    monkeypatch.setattr(reactor, "cpu_count", lambda: 2)
    world = World(tmp_path, tcp=False)
    one, mine, other, theirs = world.pair()
    poller = one.reactor.poller = Recorder(one.reactor.poller)

    def wait(eager=True, nothing=0, seconds=0.0):
        monkeypatch.setattr(reactor.time, "perf_counter", iter([0.0, *[seconds] * 1000]).__next__)
        other.send(theirs, 1)
        one.send(mine, 2)
        poller.timeouts.clear()
        poller.nothing = nothing
        assert one.reactor.step(1.0, eager=eager) == 1, poller.timeouts
        return list(poller.timeouts)

    yield wait
    world.close()


def test_a_waiting_thread_looks_before_it_sleeps_once_answers_come_at_once(waits):
    for _ in range(7):
        assert waits() == [1.0]
    assert waits(nothing=3) == [0, 0, 0, 0]
    assert waits(nothing=100, seconds=2 * LOOK) == [0, 1.0]


def test_other_threads_sleep(waits):
    for _ in range(7):
        waits()
    assert waits(eager=False) == [1.0]


def test_on_a_single_cpu_everybody_sleeps(tmp_path, monkeypatch):
    monkeypatch.setattr(reactor, "cpu_count", lambda: 1)
    world = World(tmp_path, tcp=False)
    one, mine, other, theirs = world.pair()
    poller = one.reactor.poller = Recorder(one.reactor.poller)
    for _ in range(10):
        other.send(theirs, 1)
        one.send(mine, 2)
        assert one.reactor.step(1.0, eager=True) == 1
    assert set(poller.timeouts) == {1.0}
    world.close()
