from __future__ import annotations

import pytest

from nbray.bench.measure import steps_per_second


class Clock:
    """Time that passes only while a step runs."""

    def __init__(self, step_seconds: float) -> None:
        self.now = 0.0
        self.steps = 0
        self.reads = 0
        self.step_seconds = step_seconds

    def __call__(self) -> float:
        self.reads += 1
        return self.now

    def step(self) -> None:
        self.steps += 1
        self.now += self.step_seconds


@pytest.mark.parametrize("step_seconds", [0.001, 0.05, 3.0])
def test_the_rate_is_that_of_the_steps(step_seconds):
    clock = Clock(step_seconds)
    assert steps_per_second(clock.step, 1.0, clock) == pytest.approx(1 / step_seconds)


def test_a_step_longer_than_the_time_is_done_once_to_warm_up_and_once_for_the_figure():
    clock = Clock(10.0)
    steps_per_second(clock.step, 1.0, clock)
    assert clock.steps == 2


def test_the_warm_up_is_not_counted():
    clock = Clock(0.01)

    def step() -> None:
        clock.step()
        if clock.steps == 1:
            clock.now += 0.4  # the first one is slow

    assert steps_per_second(step, 1.0, clock) == pytest.approx(100)


def test_short_steps_are_counted_with_few_looks_at_the_clock():
    clock = Clock(1e-5)
    steps_per_second(clock.step, 1.0, clock)
    timed = clock.steps - 50_000
    assert timed >= 90_000
    assert clock.reads - 50_000 < 100
