"""The bars that tasks report: ``nbray.util.tqdm`` in other processes, shown in the driver.

A report is absolute, so only the last one of a bar counts, and one that is lost does no harm. A bar whose task or process ends
without closing it ends with that: the feed tells.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from nbray.bars.model import CRASHED, DONE, ENDED, FAILED, INTERRUPTED, PAUSED, RUNNING, Bar, Pace
from nbray.bars.screen import Board, Shown, board
from nbray.events import PROCESS, TASK_FINISHED, Feed, RawEvent

#: Seconds between two pictures.
FRAME = 0.1
#: Bars that are remembered as over, so that a late report does not bring one back; and that are paused.
_OVER, _PAUSED = 10_000, 1_000


class Report(NamedTuple):
    """How far one bar is.

    Attributes:
        bar: names it. origin: the notebook cell from which its task stems. task, process: ids, b"" where there is none.
        label: what to write before it. done, total: of ``unit``; total None: nobody knows.
        depth: it stands inside so many others. elapsed: seconds.
        leave: its last state stays. state: RUNNING, or how it ended; PAUSED: it may go on in the same place.
        bare: it is the beginning of a line that user code writes; the label is all there is.
    """

    bar: bytes
    origin: str
    task: bytes
    process: bytes
    label: str
    done: float
    total: float | None
    unit: str
    depth: int
    elapsed: float
    leave: bool
    state: str
    bare: bool = False


class _Open:
    def __init__(self, report: Report, now: float, shown: Shown | None) -> None:
        self.report = report
        self.pace = Pace(now - report.elapsed)
        self.shown = shown
        self.drawn = now
        self.heard = now


class Desk:
    """
    Args:
        on: where bars show.
        clock: seconds that only go forward.
    """

    def __init__(self, on: Board = board, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = on
        self._clock = clock
        self._open: dict[bytes, _Open] = {}
        self._over: dict[bytes, None] = {}
        self._paused: dict[bytes, Shown] = {}
        self._news: dict[bytes, Report] = {}
        self._lock = threading.Lock()
        self._feed: Feed | None = None
        self._cursor = 0
        self._looked = 0.0

    @property
    def busy(self) -> bool:
        """A bar is open."""
        return bool(self._open or self._news)

    def take(self, reports: Iterable[Any], feed: Feed | None = None) -> None:
        """Reports that came. Any thread, under whatever lock: nothing is drawn."""
        for fields in reports:
            report = Report(*fields)
            self._news[report.bar] = report
        if feed is not self._feed and feed is not None:
            self._feed, self._cursor = feed, feed.end

    def draw(self) -> None:
        """Show what is new. No lock held."""
        if not self._lock.acquire(blocking=False):
            return  # whoever draws sees the news too, or the next look does
        try:
            now = self._clock()
            for bar in list(self._news):  # others come meanwhile
                self._show(self._news.pop(bar), now)
            if self._open and now - self._looked >= FRAME:
                self._looked = now
                self._read_feed(now)
                for each in self._open.values():
                    if now - each.drawn >= FRAME:
                        self._update(each, now)
        finally:
            self._lock.release()

    def close(self, how: str = ENDED) -> None:
        """The session is over: so are its bars."""
        self.draw()
        with self._lock:
            for bar in list(self._open):
                self._end(bar, how, self._clock())
            self._feed = None

    def _show(self, report: Report, now: float) -> None:
        if report.bar in self._over:
            return
        each = self._open.get(report.bar)
        if report.state == PAUSED:
            if each is not None:
                self._pause(self._open.pop(report.bar), report)
            return
        if each is None:
            shown = self._paused.pop(report.bar, None)
            if shown is None:
                shown = self._board.open(_bar(report), report.origin)
            else:
                shown.update(_bar(report))
            each = self._open[report.bar] = _Open(report, now, shown)
        each.report, each.heard = report, now
        if report.state != RUNNING:
            self._end(report.bar, report.state, now)
        elif now - each.drawn >= FRAME:
            self._update(each, now)

    def _update(self, each: _Open, now: float) -> None:
        each.drawn = now
        if each.shown is not None:
            report = each.report
            elapsed = report.elapsed + now - each.heard
            rate = each.pace.rate(now, report.done)
            each.shown.update(_bar(report)._replace(elapsed=elapsed, rate=rate))

    def _pause(self, each: _Open, report: Report) -> None:
        if each.shown is not None:
            each.shown.pause(_bar(report))
            self._paused[report.bar] = each.shown
            if len(self._paused) > _PAUSED:
                del self._paused[next(iter(self._paused))]

    def _end(self, bar: bytes, how: str, now: float) -> None:
        each = self._open.pop(bar)
        self._over[bar] = None
        if len(self._over) > _OVER:
            del self._over[next(iter(self._over))]
        if each.shown is not None:
            last = _bar(each.report)._replace(state=how)
            stays = not each.report.bare and (each.report.leave or how not in (DONE, ENDED))
            each.shown.close(last if stays else None)

    def _read_feed(self, now: float) -> None:
        if self._feed is None:
            return
        tasks = {each.report.task: bar for bar, each in self._open.items() if each.report.task}
        processes: dict[bytes, list[bytes]] = {}
        for bar, each in self._open.items():
            processes.setdefault(each.report.process, []).append(bar)
        raws, self._cursor = self._feed.raw_since(self._cursor)
        for raw in raws:
            if raw[0] == TASK_FINISHED:
                task = raw[2] + raw[3].to_bytes(8, "big")
                if task in tasks:
                    for bar in [bar for bar, each in self._open.items() if each.report.task == task]:
                        self._end(bar, _how(raw), now)
            elif raw[0] == PROCESS and raw[3] == "down" and raw[7] != "given back":
                for bar in processes.get(raw[2], ()):
                    if bar in self._open:
                        self._end(bar, CRASHED, now)


def _how(finished: RawEvent) -> str:
    """How a bar that was not closed ends with its task. A failure that no process has told is one of the process."""
    if finished[4] == "failed" and not finished[7]:
        return CRASHED
    return {"done": ENDED, "cancelled": INTERRUPTED}.get(finished[4], FAILED)


def _bar(report: Report) -> Bar:
    return Bar(
        report.label, report.done, report.total, unit="" if report.unit == "it" else report.unit,
        elapsed=report.elapsed, state=report.state, depth=report.depth, bare=report.bare,
    )  # fmt: skip


#: Of this process.
desk = Desk()
