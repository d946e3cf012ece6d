"""Bars that tasks report, in the driver."""

from __future__ import annotations

from typing import Any

from bars.support import board

from nbray.bars.model import CRASHED, DONE, ENDED, FAILED, INTERRUPTED, PAUSED, RUNNING
from nbray.bars.reports import Desk, Report
from nbray.events import PROCESS, TASK_FINISHED, Feed

OWNER, EXECUTOR = b"owner001", b"exec0001"
TASK = OWNER + (7).to_bytes(8, "big")


def report(done: float = 0, state: str = RUNNING, bar: bytes = b"bar", **more: Any) -> Report:
    usual = Report(bar, "cell", TASK, EXECUTOR, "f: epochs", done, 10.0, "it", 0, 1.0, True, state)
    return usual._replace(**more)


class Desks:
    def __init__(self) -> None:
        self.on, self.screen = board()
        self.now = 0.0
        self.feed = Feed()
        self.desk = Desk(self.on, lambda: self.now)

    def hear(self, *reports: Report) -> None:
        self.desk.take([tuple(each) for each in reports], self.feed)
        self.desk.draw()

    def pass_time(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.desk.draw()


def test_a_bar_opens_moves_and_closes() -> None:
    it = Desks()
    it.hear(report())
    it.now += 1
    it.hear(report(4))
    it.hear(report(10, DONE))
    (bar,) = it.screen.shown
    assert bar.origin == "cell"
    assert [each.done for each in bar.bars] == [0, 4]
    assert bar.last is not None
    assert (bar.last.done, bar.last.label) == (10, "f: epochs")
    assert not it.desk.busy


def test_only_the_last_of_several_reports_is_drawn() -> None:
    it = Desks()
    it.hear(report(1), report(2), report(3))
    assert [each.done for each in it.screen.shown[0].bars] == [3]


def test_it_is_drawn_ten_times_a_second_at_most_and_the_last_state_all_the_same() -> None:
    it = Desks()
    for n in range(100):
        it.hear(report(n))
        it.now += 0.001
    drawn = len(it.screen.shown[0].bars)
    assert drawn <= 4
    it.pass_time()
    assert it.screen.shown[0].bars[-1].done == 99


def test_a_bar_that_does_not_stay_is_gone_when_done() -> None:
    it = Desks()
    it.hear(report(leave=False))
    it.hear(report(10, DONE, leave=False))
    assert it.screen.shown[0].closed
    assert it.screen.shown[0].last is None


def test_the_end_of_its_task_ends_a_bar_that_was_not_closed() -> None:
    for state, how in [("done", ENDED), ("failed", FAILED), ("cancelled", INTERRUPTED), ("retried", FAILED)]:
        it = Desks()
        it.hear(report(3), report(5, bar=b"other"), report(1, bar=b"third", task=b"x" * 16))
        it.feed.append((TASK_FINISHED, 0.0, OWNER, 7, state, 0.0, 0.0, EXECUTOR, ""))
        it.pass_time()
        assert [bar.last.state if bar.last else None for bar in it.screen.shown].count(how) == 2
        assert sum(bar.closed for bar in it.screen.shown) == 2


def test_the_crash_of_its_process_ends_a_bar() -> None:
    it = Desks()
    it.hear(report(3))
    it.feed.append((PROCESS, 0.0, EXECUTOR, "down", "lane", 1, b"node", "given back"))
    it.pass_time()
    assert not it.screen.shown[0].closed
    it.feed.append((PROCESS, 0.0, EXECUTOR, "down", "lane", 1, b"node", "signal"))
    it.pass_time()
    assert it.screen.shown[0].last is not None
    assert it.screen.shown[0].last.state == CRASHED


def test_a_task_that_failed_with_its_process_has_crashed_also_if_that_is_told_first() -> None:
    it = Desks()
    it.hear(report(3))
    it.feed.append((TASK_FINISHED, 0.0, OWNER, 7, "failed", 0.0, 0.0, b"", ""))
    it.feed.append((PROCESS, 0.0, EXECUTOR, "down", "lane", 1, b"node", "signal"))
    it.pass_time()
    assert it.screen.shown[0].last is not None
    assert it.screen.shown[0].last.state == CRASHED


def test_a_report_that_comes_late_brings_no_bar_back() -> None:
    it = Desks()
    it.hear(report(10, DONE))
    it.hear(report(4))
    assert len(it.screen.shown) == 1


def line(label: str, state: str = RUNNING) -> Report:
    return report(0, state, b"line", label=label, bare=True, leave=False, total=None)


def test_a_line_that_is_being_written_comes_back_in_its_place() -> None:
    it = Desks()
    it.hear(line("(f pid=7) 10 %"))
    it.now += 1
    it.hear(line("", PAUSED))
    assert not it.desk.busy
    it.hear(line("(f pid=7) next"))
    (shown,) = it.screen.shown
    assert [bar.label for bar in shown.bars] == ["(f pid=7) 10 %", "", "(f pid=7) next"]
    assert not shown.closed


def test_a_line_that_was_whole_before_it_was_drawn_is_not_shown() -> None:
    it = Desks()
    it.hear(line("(f pid=7) 10 %"), line("", PAUSED))
    assert not it.screen.shown
    assert not it.desk.busy


def test_of_a_line_whose_process_died_in_the_middle_nothing_stays() -> None:
    it = Desks()
    it.hear(line("(f pid=7) 10 %"))
    it.feed.append((PROCESS, 0.0, EXECUTOR, "down", "lane", 1, b"node", "signal"))
    it.pass_time()
    (shown,) = it.screen.shown
    assert shown.closed
    assert shown.last is None


def test_the_end_of_the_session_ends_all() -> None:
    it = Desks()
    it.hear(report(1), report(2, bar=b"other"))
    it.desk.close()
    assert [bar.last.state for bar in it.screen.shown if bar.last] == [ENDED, ENDED]
    assert not it.desk.busy


def test_where_no_bars_show_reports_are_counted_and_forgotten() -> None:
    on, _ = board(None)
    desk = Desk(on, lambda: 0.0)
    desk.take([report()])
    desk.draw()
    assert desk.busy
    desk.take([report(10, DONE)])
    desk.draw()
    assert not desk.busy
