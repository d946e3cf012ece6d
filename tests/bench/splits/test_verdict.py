from __future__ import annotations

import json

import pytest
from splits_machine import made_up, swept

from nbray.bench.splits.account import Account
from nbray.bench.splits.result import Run
from nbray.bench.splits.tables import csv_text, document, markdown, text
from nbray.bench.splits.verdict import sentences


def told(sweep, part):
    (found,) = [sentence for sentence in sentences(sweep) if part in sentence]
    return found


def test_the_best_split_is_named_with_its_efficiency_against_serial_and_ideal():
    sweep = swept(serial=lambda: 1.0)
    best = sweep.best
    assert (best.setting, best.workers) == ({"chunk": 100}, 2)
    assert sweep.speedup(best) == pytest.approx(1 / 0.51)
    assert sweep.efficiency(best) == pytest.approx(0.98, abs=0.01)
    assert told(sweep, "Best:") == (
        "Best: chunk=100 with 2 workers: 510 ms, 1.96 times as fast as the serial run (1 s):"
        " 98 % of the ideal, 500 ms with 2 workers."
    )


def test_small_chunks_are_slow_because_of_the_overhead_a_task():
    said = told(swept(), "chunk=1 is")
    assert "2.94 times as slow" in said
    assert "each of its 1,000 tasks runs for 1 ms and costs 2 ms" in said
    assert "tasks of 40 ms and longer keep that under 5 %" in said


def test_one_huge_chunk_is_slow_because_there_is_one_task_for_two_workers():
    said = told(swept(), "chunk=1000 is")
    assert "1.96 times as slow" in said
    assert "1 task for 2 workers, so 50 % of the CPUs' time had nothing to run" in said


def test_stragglers_are_named_when_tasks_are_enough_but_do_not_divide():
    said = told(swept({"chunk": [10, 400]}), "chunk=400 is")
    assert "3 tasks for 2 workers, the longest of 400 ms" in said
    assert "nothing to run" in said


def test_ways_within_the_spread_are_just_as_good():
    spreads = {50: iter([-0.02, 0.0, 0.1]), 100: iter([0.0] * 5 + [0.05])}
    sweep = swept(
        {"chunk": [50, 100]}, [2], 3, lambda row: made_up(row, spread=next(spreads[row.setting["chunk"]]))
    )
    assert told(sweep, "just as good") == "Within the spread of the best, so just as good: chunk=50."
    assert not [sentence for sentence in sentences(sweep) if "slow" in sentence]


def test_an_outlier_of_the_best_makes_nothing_as_good_that_never_was():
    spreads = {1: iter([0.0] * 4), 100: iter([0.0] * 5 + [9.0])}
    sweep = swept(
        {"chunk": [1, 100]}, [2], 3, lambda row: made_up(row, spread=next(spreads[row.setting["chunk"]]))
    )
    assert sweep.best.summary.high > 9
    assert told(sweep, "chunk=1 is")


def test_without_a_serial_program_the_tasks_own_time_is_the_estimate_and_said_to_be():
    sweep = swept()
    assert sweep.serial == pytest.approx(1.0)
    assert "estimated" in told(sweep, "Serial:")
    assert "its tasks one after the other (1 s)" in told(sweep, "Best:")


def test_workers_that_share_cores_are_told():
    sweep = swept(
        {"chunk": [100]}, [1, 2, 4], measure=lambda row: made_up(row, item=1e-3 * max(1, row.workers / 2))
    )
    sweep.cores = 2
    said = told(sweep, "With chunk=100")
    assert "With 4 the same tasks take 2 times as long in sum" in said
    assert "it has 2 cores" in said


def test_work_that_no_split_makes_faster_is_told():
    said = told(swept(serial=lambda: 0.4), "Best:")
    assert said.endswith("No split is faster than the serial run (400 ms): it costs more than it saves.")


def test_single_runs_are_compared_with_caution():
    def measure(row):
        slower = 1.2 if row.setting["chunk"] == 10 else 1.0
        return Run(slower, slower, Account(slower, 1, tasks=10, busy=slower))

    assert not [said for said in sentences(swept({"chunk": [1, 10]}, [1], measure=measure)) if "slow" in said]
    assert told(swept({"chunk": [1, 10]}, [1], 2, measure), "chunk=10 is 1.2 times as slow")


def test_work_that_scales_is_told():
    assert "It scales: 2 times the workers, 2 times as fast" in told(swept(), "With chunk=100")


def test_tasks_that_all_do_something_anew_are_told():
    def measure(row):
        busy = 1.0 + (1000 / row.setting["chunk"]) * 0.01
        return Run(
            busy,
            busy,
            Account(
                busy,
                1,
                tasks=1000 // row.setting["chunk"],
                mean=busy / (1000 // row.setting["chunk"]),
                longest=0.1,
                busy=busy,
            ),
        )

    said = told(swept({"chunk": [1, 10, 100]}, [1], measure=measure), "chunk=1 is")
    assert "run for 11 s in sum instead of 1.1 s: each task does something anew" in said
    assert said.endswith("that larger ones do once.")


def test_a_machine_that_was_busy_is_not_taken_for_tasks_that_do_something_anew():
    def measure(row):
        busy = 1.4 if row.setting["pieces"] == 32 else 1.0
        return Run(
            busy,
            busy,
            Account(
                busy,
                1,
                tasks=row.setting["pieces"],
                mean=busy / row.setting["pieces"],
                longest=0.1,
                busy=busy,
            ),
        )

    said = told(swept({"pieces": [8, 32]}, [1], measure=measure), "pieces=32 is")
    assert said.endswith("do once, or the machine did other things meanwhile.")


def test_a_value_that_changes_how_much_work_there_is_is_no_way_to_split_it():
    def measure(row):
        tasks = row.setting["n"]
        return Run(tasks, tasks, Account(tasks, 1, tasks=tasks, mean=1.0, longest=1.0, busy=float(tasks)))

    said = told(swept({"n": [1, 50]}, [1], measure=measure), "n=50 is")
    assert (
        "its 50 tasks run for 1 s each, hardly shorter than the one of the best (1 s): there is more work to do"
        in said
    )


def test_code_that_submits_nothing_is_told():
    sweep = swept({"chunk": [1, 2]}, [1], measure=lambda row: Run(1.0, 1.0, Account(1.0, 1, own=1.0)))
    assert told(sweep, "no tasks").startswith("It submitted no tasks")
    assert sweep.efficiency(sweep.rows[0]) is None


def test_parts_of_the_picture_that_are_not_known_are_told():
    def measure(row):
        run = made_up(row)
        return run._replace(returned=0.1, account=run.account._replace(lost=5, failed=2, nested=1))

    sweep = swept({"chunk": [1, 100]}, [2], measure=measure)
    assert told(sweep, "ends before its tasks do")
    assert told(sweep, "4 tasks failed")
    assert told(sweep, "more events than the feed keeps")


def test_text_names_every_setting_and_marks_the_best():
    lines = text(swept()).splitlines()
    assert lines[0].split() == [
        "chunk",
        "workers",
        "time",
        "speed-up",
        "efficiency",
        "tasks",
        "each",
        "runs",
        "CPUs",
        "busy",
        "the",
        "rest",
        "went",
        "into",
    ]
    assert [line.split()[:2] for line in lines[2:10]] == [
        [chunk, workers] for workers in "12" for chunk in ("1", "10", "100", "1000")
    ]
    assert [line.split()[0] for line in lines if "← best" in line] == ["100"]


def test_exports_hold_everything():
    sweep = swept({"chunk": [1, 10], "kind": ["a|b", None]}, rounds=2)
    page = markdown(sweep)
    assert "| chunk | kind | workers | time |" in page
    assert "a\\|b" in page
    lines = csv_text(sweep).splitlines()
    assert lines[0].startswith("chunk,kind,workers,seconds,lowest,highest,runs,speedup,efficiency,tasks")
    assert len(lines) == 9
    again = json.loads(json.dumps(document(sweep)))
    assert len(again["rows"]) == 8
    assert len(again["rows"][0]["runs"]) == 2
    assert sum(row["best"] for row in again["rows"]) == 1


def test_a_data_frame_has_a_row_a_setting():
    pytest.importorskip("pandas")
    frame = swept().to_pandas()
    assert list(frame["chunk"][:4]) == [1, 10, 100, 1000]
    assert frame.loc[frame["seconds"].idxmin()]["workers"] == 2


def test_before_the_first_measurement_there_is_nothing_to_say():
    from nbray.bench.splits.sweeping import planned

    sweep = planned({"chunk": [1]}, None, 2, 1)
    assert (sweep.best, sweep.serial, sentences(sweep), csv_text(sweep)) == (None, None, [], "")
    assert repr(sweep) == "nothing was measured yet"
    assert markdown(sweep)
    json.dumps(document(sweep))
