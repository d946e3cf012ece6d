"""Answers that have been coming at once are looked for rather than slept for."""

from __future__ import annotations

import pytest
from channel.support import World

from nbray.channel import reactor
from nbray.channel.promptness import LOOK, Promptness

SHORT, LONG = LOOK, 3 * LOOK


def after(*waits: float) -> Promptness:
    """With these waits behind it, each for something it had asked for."""
    promptness = Promptness()
    for seconds in waits:
        promptness.asked = True
        promptness.waited(seconds)
    promptness.asked = True
    return promptness


def test_two_answers_in_a_row_that_come_at_once_make_the_third_expected():
    assert not after().expected
    assert not after(SHORT).expected
    assert after(SHORT, SHORT).expected


def test_one_that_takes_long_ends_it():
    assert not after(SHORT, SHORT, SHORT, LONG).expected
    assert not after(SHORT, SHORT, SHORT, LONG, SHORT).expected
    assert after(SHORT, SHORT, SHORT, LONG, SHORT, SHORT).expected


def test_who_has_asked_nothing_expects_nothing_and_learns_nothing():
    promptness = after(SHORT, SHORT)
    promptness.asked = False
    assert not promptness.expected
    promptness.waited(LONG)
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
    assert waits() == waits() == [1.0]
    assert waits(nothing=3) == [0, 0, 0, 0]
    assert waits(nothing=100, seconds=2 * LOOK) == [0, 1.0]


def test_other_threads_sleep(waits):
    waits(), waits()
    assert waits(eager=False) == [1.0]


def test_on_a_single_cpu_everybody_sleeps(tmp_path, monkeypatch):
    monkeypatch.setattr(reactor, "cpu_count", lambda: 1)
    world = World(tmp_path, tcp=False)
    one, mine, other, theirs = world.pair()
    poller = one.reactor.poller = Recorder(one.reactor.poller)
    for _ in range(5):
        other.send(theirs, 1)
        one.send(mine, 2)
        assert one.reactor.step(1.0, eager=True) == 1
    assert set(poller.timeouts) == {1.0}
    world.close()
