"""One measured run of some code, with the account of the tasks that it submitted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import nbray
from nbray import _runtime
from nbray.bench.splits.account import Tasks
from nbray.bench.splits.result import Run
from nbray.events import Feed

PAUSE = 0.001
#: So long after the code's end it is said which tasks are still awaited.
PATIENCE = 2.0


def run_once(code: Callable[[], object], cpus: float, waiting: Callable[[int], None] | None = None) -> Run:
    """Run ``code`` and wait until the tasks that it submitted have ended.

    Args:
        code: what is measured.
        cpus: the CPUs that its tasks may use.
        waiting: is told how many tasks are awaited, once that takes longer than 2 s.

    If the code fails or is interrupted, what it has submitted is cancelled.
    """
    feed = nbray.feed()
    cursor = feed.end
    began, clock = time.time(), time.perf_counter()
    tasks = Tasks(began)
    with _cancelling(feed, cursor, began):
        with _no_bars():
            code()
        returned = time.perf_counter() - clock
        ended = began + returned
        cursor = _listen(tasks, feed, cursor)
        say_at = time.perf_counter() + PATIENCE
        while tasks.unfinished and not tasks.lost:
            if feed.closed:
                raise RuntimeError("the code ended the pool that it was to be measured in")
            time.sleep(PAUSE)
            cursor = _listen(tasks, feed, cursor)
            if waiting is not None and time.perf_counter() > say_at:
                say_at += PATIENCE
                waiting(tasks.unfinished)
    # The driver learns of the last result a moment before the code goes on with it.
    ended = max(ended, tasks.last)
    return Run(ended - began, returned, tasks.account(began, ended, cpus))


@contextmanager
def _cancelling(feed: Feed, cursor: int, began: float) -> Iterator[None]:
    """Whoever stops a measurement, or whose code fails in it, has no use for the rest of its tasks."""
    try:
        yield
    except BaseException:
        runtime = _runtime.current_or_none()
        if runtime is not None and not feed.closed:
            tasks = Tasks(began)
            _listen(tasks, feed, cursor)
            runtime.owner.cancelling.of_sequences(tasks.under_way(runtime.owner.process))
        raise


@contextmanager
def _no_bars() -> Iterator[None]:
    """Bars of ``get`` and ``wait`` would be one a run, and take time from it; who measures shows its own progress."""
    before = os.environ.get("NBRAY_PROGRESS")
    os.environ["NBRAY_PROGRESS"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NBRAY_PROGRESS"]
        else:
            os.environ["NBRAY_PROGRESS"] = before


def _listen(tasks: Tasks, feed: Feed, cursor: int) -> int:
    raws, following = feed.raw_since(cursor)
    tasks.lost += max(following - len(raws) - cursor, 0)
    tasks.apply(raws)
    return following
