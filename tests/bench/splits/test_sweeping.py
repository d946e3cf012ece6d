from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest

from nbray.bench.splits.account import Account
from nbray.bench.splits.result import Run
from nbray.bench.splits.sweeping import asked_for, conduct, planned, sweep

NOTHING = Run(1.0, 1.0, Account(1.0, 1))


def test_settings_are_measured_in_turn_there_and_back_with_a_warm_up_for_each_number_of_workers():
    found = planned({"chunk": [1, 2, 3]}, [1, 2], 2, 2)
    seen = []

    @contextmanager
    def limit(workers):
        seen.append(f"limit {workers}")
        yield
        seen.append("free")

    def measure(row):
        assert seen[-1] != "free"
        seen.append(row.setting["chunk"])
        return NOTHING

    def serial():
        seen.append("serial")
        return 3.0

    conduct(found, measure=measure, limit=limit, serial=serial, progress=lambda _: None)
    first = ["serial", "limit 1", 2, 1, 2, 3, "free", "limit 2", 2, 1, 2, 3, "free"]
    second = ["serial", "limit 2", 2, 3, 2, 1, "free", "limit 1", 2, 3, 2, 1, "free"]
    assert seen == first + second
    assert [len(row.runs) for row in found.rows] == [2] * 6  # warm-ups are not among them
    assert found.serial_samples == [3.0, 3.0]
    assert (found.done, found.total, found.status) == (14, 14, "done")


@pytest.mark.parametrize(
    ("failure", "status"), [(KeyboardInterrupt, "interrupted"), (ZeroDivisionError, "failed")]
)
def test_what_was_measured_before_a_failure_or_ctrl_c_stays_and_the_limit_goes(failure, status):
    found = planned({"chunk": [1, 2, 3]}, None, 2, 1)
    told, freed = [], []

    @contextmanager
    def limit(_):
        try:
            yield
        finally:
            freed.append(True)

    def measure(row):
        if row.setting["chunk"] == 3:
            raise failure
        return NOTHING

    with pytest.raises(failure):
        conduct(found, measure=measure, limit=limit, serial=None, progress=lambda s: told.append(s.status))
    assert [len(row.runs) for row in found.rows] == [1, 1, 0]
    assert found.status == status == told[-1]
    assert (found.done, found.total) == (2, 3)
    assert freed == [True]


def test_progress_says_what_is_measured_now():
    found = planned({"chunk": [1]}, [1, 2], 2, 1)
    told = []
    conduct(
        found,
        measure=lambda row: NOTHING,
        limit=lambda _: nullcontext(),
        serial=None,
        progress=lambda s: told.append(s.now),
    )
    assert told == [
        "warming up 1 worker",
        "chunk=1 with 1 worker",
        "warming up 2 workers",
        "chunk=1 with 2 workers",
        "",
    ]


def test_all_combinations_are_planned():
    found = planned({"a": [1, 2], "b": ["x", "y"]}, [1, 2], 2, 1)
    assert len(found.rows) == 8
    assert found.rows[1].setting == {"a": 1, "b": "y"}
    assert {row.workers for row in planned({"a": [1]}, None, 7, 1).rows} == {7}


@pytest.mark.parametrize(
    ("over", "workers", "rounds", "said"),
    [
        ({}, None, 1, "something to vary"),
        ({"a": [1]}, [1, 3], 1, "3 workers are more than the pool's 2 CPUs"),
        ({"a": [1]}, None, 0, "1 round or more"),
        ({"workers": [1]}, None, 1, "given apart"),
        ({"a": range(50), "b": range(50)}, None, 1, "2,500 combinations"),
    ],
)
def test_plans_that_make_no_sense_are_refused(over, workers, rounds, said):
    with pytest.raises(ValueError) as mistake:
        planned(over, workers, 2, rounds)
    assert said in str(mistake.value)


def test_values_come_as_mappings_and_as_text():
    assert asked_for({"a": range(2), "b": "1:3"}) == {"a": [0, 1], "b": [1, 2, 3]}
    assert asked_for("a=1,2") == {"a": [1, 2]}
    assert asked_for(["a=1", "b=x"]) == {"a": [1], "b": ["x"]}
    with pytest.raises(ValueError, match="given twice"):
        asked_for(["a=1", "a=2"])


def test_a_parameter_that_the_function_does_not_have_is_named_before_anything_starts():
    def split(chunk):
        raise AssertionError

    with pytest.raises(TypeError, match="split has no parameter 'chunks'; it has: chunk"):
        sweep(split, "chunks=1,2")
