"""Which idle executor is taken, and which leave."""

from __future__ import annotations

from typing import Any

from nbray.core.messages import RESOURCE_UNIT
from nbray.executor.pool import IdlePool, Shape, shape_of

PLAIN = Shape((), 1)
BLUE = Shape((("COLOUR", "blue"),), 1)


def pool(*numbers: int, keep: int = 1, linger: float = 10.0) -> IdlePool:
    made = IdlePool(keep, linger)
    for now, number in enumerate(numbers):
        made.put(number, PLAIN, float(now))
    return made


def test_the_most_recently_used_goes_first() -> None:
    idle = pool(1, 2, 3)
    assert [idle.take(PLAIN) for _ in range(4)] == [3, 2, 1, None]


def test_an_executor_that_saw_other_gpus_is_not_taken() -> None:
    spec: Any = ((("CPU", RESOURCE_UNIT), ("GPU", RESOURCE_UNIT)), (), ())
    idle = pool()
    idle.put(1, shape_of(spec, (1,)), 0.0)
    assert idle.take(shape_of(spec, (0,))) is None
    assert idle.take(shape_of(spec, (1,))) == 1


def test_an_executor_of_another_shape_is_not_taken() -> None:
    idle = pool(1)
    idle.put(2, BLUE, 1.0)
    assert idle.take(Shape((), 2)) is None
    assert idle.take(PLAIN) == 1
    assert idle.take(BLUE) == 2


def test_the_longest_idle_beyond_those_kept_leave_after_the_linger() -> None:
    idle = pool(1, 2, 3)
    assert idle.next_expiry() == 10.0
    assert idle.expire(9.9) == []
    assert idle.expire(10.0) == [1]
    assert idle.next_expiry() == 11.0
    assert idle.expire(100.0) == [2]
    assert idle.next_expiry() is None
    assert idle.take(PLAIN) == 3


def test_who_was_used_again_starts_to_be_idle_anew() -> None:
    idle = pool(1, 2, keep=0)
    assert idle.take(PLAIN) == 2
    idle.put(2, PLAIN, 8.0)
    assert idle.expire(12.0) == [1]
    assert idle.next_expiry() == 18.0


def test_a_dead_one_is_forgotten() -> None:
    idle = pool(1, 2)
    idle.discard(2)
    idle.discard(7)
    assert len(idle) == 1
    assert idle.take(PLAIN) == 1


def test_a_leases_shape_is_its_environment_and_its_whole_cpus() -> None:
    environment = (("A", "1"),)
    assert shape_of(((("CPU", 2 * RESOURCE_UNIT),), environment, ())) == Shape(environment, 2)
    assert shape_of(((("CPU", RESOURCE_UNIT // 2),), (), ())) == Shape((), 1)
    assert shape_of(((("GPU", RESOURCE_UNIT),), (), ())) == Shape((), 1)
