from __future__ import annotations

import json

import pytest

from nbray.bench.splits.account import Account
from nbray.bench.splits.result import Run
from nbray.bench.splits.timings import Timing, details, document, repeat, text, timing


def account(wall=1.0, cpus=2, **given):
    return Account(wall, cpus, **given)


def repeated(wanted, *takes, failure=None):
    """Repeats a code whose runs take these seconds, one after the other, by a clock that nothing else moves."""
    now, left = [0.0], list(takes)
    found = Timing(wanted=wanted, cpus=2)

    def measure():
        if not left and failure is not None:
            raise failure
        now[0] += (took := left.pop(0))
        return Run(took, took, account(took))

    repeat(found, measure, lambda _: None, lambda: now[0])
    return found


def test_the_first_of_several_runs_is_not_counted():
    found = repeated(3, 9.0, 1.0, 2.0, 3.0)
    assert [run.seconds for run in found.runs] == [1, 2, 3]
    assert text(found).startswith(
        "2 s (1–3): median (lowest–highest) of 3 runs after one that is not counted"
    )


def test_one_run_is_the_run():
    found = repeated(1, 9.0)
    assert text(found).startswith("9 s: 1 run")
    assert not found.warmed_up


def test_unless_told_it_runs_as_often_as_fits_into_five_seconds():
    assert len(repeated(None, *[0.1] * 20).runs) == 7
    assert len(repeated(None, *[2.0] * 20).runs) == 2
    assert [run.seconds for run in repeated(None, 30.0).runs] == [30.0]
    assert len(repeated(None, 0.1, 8.0).runs) == 1  # the first was quick, the second is the figure


def test_what_was_measured_before_ctrl_c_stays():
    with pytest.raises(KeyboardInterrupt):
        repeated(5, 1.0, 1.0, failure=KeyboardInterrupt())
    found = Timing(wanted=2, cpus=2, runs=[Run(1.0, 1.0, account())], status="interrupted")
    assert text(found).startswith("interrupted; 1 s: 1 run")


def test_the_rest_of_the_cpus_time_is_told_apart():
    run = Run(
        1.0, 1.0, account(tasks=10, mean=0.1, longest=0.2, busy=1.0, transfer=0.5, too_few=0.3, own=0.2)
    )
    assert details(Timing(cpus=2, runs=[run])) == [
        "10 tasks, 100 ms each, the longest 200 ms",
        "efficiency 50 %: tasks ran for 1 s of the 2 s that 2 CPUs have in 1 s",
        "the rest: transfer 25 %, too few tasks at once 15 %, the code's own work 10 %",
    ]


def test_code_that_ends_before_its_tasks_is_told_how_to_wait():
    run = Run(1.0, 0.01, account(tasks=1, busy=2.0))
    assert "the code itself ended after 10 ms, before its tasks" in details(Timing(cpus=2, runs=[run]))[-1]


def test_without_tasks_or_events_it_says_so():
    assert details(Timing(runs=[Run(1.0, 1.0, account())])) == ["no tasks: all of it ran in this process"]
    assert "not known" in details(Timing(runs=[Run(1.0, 1.0, account(tasks=3, lost=9))]))[-1]
    json.dumps(document(Timing(runs=[Run(1.0, 1.0, account())])))


def test_bad_numbers_and_a_missing_pool_are_named():
    with pytest.raises(ValueError, match="1 time or more, not 0"):
        timing(lambda: None, rounds=0)
    with pytest.raises(RuntimeError, match="no pool is running"):
        timing(lambda: None)
