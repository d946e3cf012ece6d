"""A pool that has more or less while it runs."""

from __future__ import annotations

import asyncio

import pytest

import nbray
from nbray.exceptions import RaySystemError, TaskUnschedulableError


@pytest.fixture
def own():
    with nbray.init(num_cpus=1):
        yield


@nbray.remote
class Gate:
    """Tasks meet here: ``arrive`` answers when that many are there at a time."""

    def __init__(self):
        self.there = asyncio.Condition()
        self.count = 0

    async def arrive(self, n):
        async with self.there:
            self.count += 1
            self.there.notify_all()
            await self.there.wait_for(lambda: self.count >= n)
        return True


@nbray.remote
def meet(gate, n):
    import threading

    # On a thread, so that this task blocks without lending its CPU.
    met = []
    thread = threading.Thread(target=lambda: met.append(nbray.get(gate.arrive.remote(n))))
    thread.start()
    thread.join()
    return met


def test_more_cpus_run_more_tasks_at_a_time(own):
    gate = Gate.options(num_cpus=0).remote()
    refs = [meet.remote(gate, 3) for _ in range(3)]
    assert nbray.wait(refs, timeout=0.1)[0] == []
    nbray.scale(3)
    assert nbray.cluster_resources()["CPU"] == 3
    assert nbray.get(refs, timeout=60) == [[True]] * 3


def test_with_fewer_what_runs_goes_on_and_no_more_begins(own):
    nbray.scale(2)
    gate = Gate.options(num_cpus=0).remote()
    running = [meet.remote(gate, 3) for _ in range(2)]
    while nbray.available_resources().get("CPU"):
        pass
    nbray.scale(1)
    waiting = nbray.remote(lambda: 1).remote()
    assert nbray.wait([waiting], timeout=0.1)[0] == []
    assert nbray.get(gate.arrive.remote(3))
    assert nbray.get([*running, waiting], timeout=60) == [[True], [True], 1]
    assert nbray.cluster_resources()["CPU"] == 1


def test_many_small_tasks_go_through_while_the_pool_changes(own):
    inc = nbray.remote(lambda x: x + 1)
    refs = []
    for n in (2, 1, 3, 1, 2):
        refs += [inc.remote(i) for i in range(300)]
        nbray.scale(n)
    assert nbray.get(refs, timeout=60) == [i + 1 for i in range(300)] * 5


def test_what_can_run_nowhere_any_more_fails(own):
    nbray.scale(2)
    gate = Gate.options(num_cpus=0).remote()
    running = meet.remote(gate, 2)
    big = nbray.remote(lambda: 1).options(num_cpus=2).remote()
    nbray.scale(1)
    with pytest.raises(TaskUnschedulableError, match=r"asked for \{CPU: 2\}"):
        nbray.get(big, timeout=60)
    assert nbray.get([running, gate.arrive.remote(2)]) == [[True], True]


def test_between_two_bounds_the_pool_has_what_its_work_needs(own):
    nbray.adapt(1, 3)
    assert nbray.cluster_resources()["CPU"] == 1
    gate = Gate.options(num_cpus=0).remote()
    assert nbray.get([meet.remote(gate, 3) for _ in range(3)], timeout=60) == [[True]] * 3
    assert nbray.cluster_resources()["CPU"] == 3
    assert nbray.get(nbray.remote(lambda: 1).options(num_cpus=3).remote(), timeout=60) == 1
    nbray.scale(2)
    assert nbray.cluster_resources()["CPU"] == 2


def test_none_at_first_is_a_bound_too():
    with nbray.init(num_cpus=0):
        nbray.adapt(0, 2)
        assert nbray.get(nbray.remote(lambda: 1).remote(), timeout=60) == 1


@pytest.mark.parametrize("bounds", [(2, 1), (0, 0), (-1, 2)])
def test_bounds_that_cannot_be(own, bounds):
    with pytest.raises(ValueError):
        nbray.adapt(*bounds)


@pytest.mark.parametrize("n", [0, -1, float("inf"), float("nan")])
def test_a_number_that_cannot_be(own, n):
    with pytest.raises(ValueError):
        nbray.scale(n)


def test_no_number(own):
    with pytest.raises(TypeError):
        nbray.scale("4")


def test_without_a_session_it_starts_none():
    with pytest.raises(RaySystemError, match="scale"):
        nbray.scale(2)
    assert not nbray.is_initialized()


def test_tasks_cannot_scale(own):
    @nbray.remote
    def scale():
        nbray.scale(2)

    with pytest.raises(RaySystemError, match="init"):
        nbray.get(scale.remote())
