"""One measured run of some code, with the account of the tasks that it submitted."""

from __future__ import annotations

import os
import threading
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
#: So long nothing may end before it is said why.
SILENCE = 10.0


def run_once(
    code: Callable[[], object],
    cpus: float,
    waiting: Callable[[int], None] | None = None,
    stuck: Callable[[str], None] | None = None,
) -> Run:
    """Run ``code`` and wait until the tasks that it submitted have ended.

    Args:
        code: what is measured.
        cpus: the CPUs that its tasks may use.
        waiting: is told how many tasks are awaited, once that takes longer than 2 s.
        stuck: is told, on another thread, why nothing ends, when nothing has for 10 s.

    If the code fails or is interrupted, what it has submitted is cancelled.
    """
    feed = nbray.feed()
    cursor = feed.end
    began, clock = time.time(), time.perf_counter()
    tasks = Tasks(began)
    with _cancelling(feed, cursor, began):
        with _no_bars(), _watching(feed, cursor, began, stuck):
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
def _watching(feed: Feed, cursor: int, began: float, stuck: Callable[[str], None] | None) -> Iterator[None]:
    """Tells ``stuck`` why nothing ends. A run that is over before takes no notice of it."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SILENCE):
            runtime = _runtime.current_or_none()
            if runtime is None or feed.closed:
                return
            owner, tasks = runtime.owner, Tasks(began)
            _listen(tasks, feed, cursor)
            if time.time() - tasks.last < SILENCE:
                continue
            with owner.lock:
                calls = [owner.calls.under_way.get(number) for number in tasks.under_way(owner.process)]
                entries = [call.entries[0] for call in calls if call is not None and call.entries]
            reasons = str(owner.inquiry.explain(entries, over.is_set)) if entries else ""
            if reasons and not over.is_set() and stuck is not None:
                stuck(reasons)

    if stuck is not None:
        threading.Thread(target=watch, name="nbray-sweep-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


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
