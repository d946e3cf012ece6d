"""What is learnt of a function's durations, and what a call may cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbray.core.calls import Call, Function
from nbray.core.lanes import TARGET

DURATIONS = st.lists(st.floats(0, 1e9), min_size=1, max_size=50)


def function(*durations: float) -> Function:
    made = Function(1, "f", b"")
    for duration in durations:
        made.ran(duration)
    return made


def call(retries: int) -> Call:
    return Call(1, function(), b"", (), [], (), None, None, retries, False)


def test_a_function_that_never_ran_is_not_predictable() -> None:
    assert not function().predictable


def test_a_function_is_predictable_after_its_first_run() -> None:
    assert function(10.0).predictable
    assert function(10_000_000.0).predictable


def test_short_functions_may_vary() -> None:
    assert function(*[10.0] * 10, 1_900.0).predictable


@pytest.mark.parametrize("since", range(10))
def test_a_function_that_was_short_and_lately_took_long_is_never_queued_behind_others(since: int) -> None:
    varies = function(*[10.0] * 10, 100_000.0, *[10.0] * since)
    assert not varies.predictable or varies.mean > TARGET


def test_one_slow_run_is_forgotten_in_time() -> None:
    slow_once = function(*[10.0] * 10, 100_000.0)
    for _ in range(200):
        slow_once.ran(10.0)
    assert slow_once.predictable
    assert slow_once.mean == pytest.approx(10.0, abs=1.0)


def test_the_cost_of_the_first_run_in_a_process_is_forgotten_quickly() -> None:
    assert function(1_000_000.0, *[10.0] * 60).mean < 20.0


@given(DURATIONS)
def test_the_mean_lies_between_the_shortest_and_the_longest_run(durations: list[float]) -> None:
    learnt = function(*durations)
    assert min(durations) * 0.999 - 1e-6 <= learnt.mean <= max(durations) * 1.001
    assert learnt.worst <= max(durations)
    assert learnt.runs == len(durations)


@given(DURATIONS)
def test_the_worst_is_never_less_than_the_last(durations: list[float]) -> None:
    assert function(*durations).worst >= durations[-1]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_call_can_be_charged_as_often_as_it_has_retries(retries: int) -> None:
    charged: Any = call(retries)
    for attempt in range(retries):
        assert charged.attempt == attempt
        assert charged.charge()
    assert not charged.charge()
    assert charged.attempt == retries


def test_endless_retries_never_run_out() -> None:
    endless = call(-1)
    assert all(endless.charge() for _ in range(100))
    assert endless.retries == -1
