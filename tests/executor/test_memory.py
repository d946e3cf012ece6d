"""The memory monitor: who looks, and what it does about it."""

import os

import numpy as np
import pytest

from nbray.core.memory import TASK, Candidate
from nbray.executor import memory
from nbray.executor.memory import MemoryMonitor, private_bytes, threshold_from_environment
from nbray.machine import Memory

GIB = 1 << 30


class World:
    """A node of 10 GiB with executors, of which some do not go when told."""

    def __init__(self, *sizes, other=0.0):
        self.sizes = dict(enumerate(sizes))
        self.other = other
        self.told = []
        self.monitor = MemoryMonitor(self.read, 0.9, self.candidates, self.end)

    def read(self):
        return Memory(int((self.other + sum(self.sizes.values())) * GIB), 10 * GIB)

    def candidates(self):
        return [Candidate(n, 100 + n, TASK, float(n), int(size * GIB)) for n, size in self.sizes.items()]

    def end(self, candidate, reason):
        self.told.append(candidate.number)

    def look(self, times=1):
        for _ in range(times):
            self.monitor.look()
        told, self.told = self.told, []
        return told

    def gone(self, number):
        del self.sizes[number]


def test_nothing_happens_up_to_the_threshold():
    assert World(4, 5).look(5) == []


def test_beyond_it_one_goes_and_the_next_only_when_that_one_has_gone():
    world = World(4, 3, 4)
    assert world.look() == [2]
    assert world.look(3) == []
    world.gone(2)
    assert world.look() == []  # 7 of 10
    world.sizes[3] = 4
    assert world.look() == [3]


def test_when_one_was_not_enough_the_next_goes():
    world = World(2, 2, 2, other=6)
    assert world.look() == [2]
    world.gone(2)
    assert world.look() == [1]


def test_who_does_not_go_is_given_up_after_a_while():
    world = World(4, 3, 4)
    assert world.look(1 + memory._PATIENCE) == [2]
    assert world.look() == [1]


def test_if_no_executor_has_the_memory_it_says_so_once_and_ends_none(caplog):
    world = World(0.01, other=9.5)
    assert world.look(5) == []
    assert [r.message for r in caplog.records] == [
        "95.1 % of the memory is used, but no executor has much of it: nothing is ended"
    ]


def test_it_answers_when_to_look_again():
    assert World(1).monitor.look() == 1.0 and World(8.9).monitor.look() == 0.1


@pytest.mark.parametrize(("text", "threshold"), [("", 0.95), ("0.8", 0.8), ("1.5", 1.5)])
def test_the_threshold_comes_from_the_environment(monkeypatch, text, threshold):
    monkeypatch.setenv("NBRAY_MEMORY_USAGE_THRESHOLD", text)
    assert threshold_from_environment() == threshold


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan"])
def test_a_threshold_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("NBRAY_MEMORY_USAGE_THRESHOLD", text)
    with pytest.raises(ValueError, match="NBRAY_MEMORY_USAGE_THRESHOLD must be a number above 0"):
        threshold_from_environment()


def test_private_memory_is_what_a_process_allocates():
    before = private_bytes(os.getpid())
    array = np.ones(64 << 20, np.uint8)
    grown = private_bytes(os.getpid()) - before
    assert abs(grown - array.nbytes) < 16 << 20
    assert private_bytes(2**22 + 1) == 0
