"""Order between a test and what it started in other processes, by events: gates, and marks that things leave."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import cast

from nbray.channel.leader import Leadership

#: Seconds after which something that should happen does not any more.
LIMIT = 30.0


def until(condition, limit: float = LIMIT) -> None:
    """Return once ``condition()`` is true; fail after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def within(limit: float, measure: Callable[[], float], tries: int = 5) -> None:
    """Fail if ``measure()``, the seconds that something took, is never within ``limit``.

    A bound is about us. A machine that stands still for a moment breaks it in one try, a fault of ours in all of them; whatever
    else ``measure`` asserts is to hold every time.
    """
    took: list[float] = []
    while not took or took[-1] >= limit:
        assert len(took) < tries, f"it is to take less than {limit} s, and took {took}"
        took.append(measure())


def ever_longer(seconds: float) -> Iterator[float]:
    """Time-outs, each ten times as long as the last: for what has to get somewhere before its time is over."""
    while seconds < LIMIT:
        yield seconds
        seconds *= 10
    raise AssertionError("it did not get there in time")


@contextlib.contextmanager
def ctrl_c(once: Callable[[], object] | None = None) -> Iterator[None]:
    """Presses Ctrl-C in the block: once the main thread waits in nbray, or once that is true."""

    def press() -> None:
        until(once or _main_thread_waits)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _main_thread_waits() -> bool:
    frame: FrameType | None = sys._current_frames()[cast(int, threading.main_thread().ident)]
    while frame is not None and frame.f_code is not Leadership.run_until.__code__:
        frame = frame.f_back
    return frame is not None


class Gate:
    """Closed until ``open()``. Processes that ``wait()`` at it are counted."""

    def __init__(self, directory: Path, name: str = "gate") -> None:
        self.path = str(directory / name)
        os.mkdir(self.path)

    def wait(self, limit: float = LIMIT) -> None:
        """Stand at the gate until it is open."""
        Marks.leave(self.path, "came")
        until(lambda: os.path.exists(f"{self.path}/open"), limit)

    def open(self) -> None:
        Path(f"{self.path}/open").touch()

    def came(self) -> int:
        """How many have come to the gate so far."""
        return sum(name.startswith("came") for name in os.listdir(self.path))

    def until_came(self, count: int = 1) -> None:
        until(lambda: self.came() >= count)


class Marks:
    """Counts what happened, across processes and crashes."""

    def __init__(self, directory: Path, name: str = "marks") -> None:
        self.path = str(directory / name)
        os.mkdir(self.path)

    @staticmethod
    def leave(directory: str, name: str) -> None:
        Path(f"{directory}/{name}-{os.getpid()}-{time.monotonic_ns()}").touch()

    def mark(self, name: str = "ran") -> None:
        self.leave(self.path, name)

    def count(self, name: str = "ran") -> int:
        return sum(found.startswith(f"{name}-") for found in os.listdir(self.path))

    def pids(self, name: str = "ran") -> list[int]:
        """Of the processes that left marks, in order."""
        found = [entry.split("-") for entry in os.listdir(self.path) if entry.startswith(f"{name}-")]
        return [int(pid) for _, pid, _ in sorted(found, key=lambda parts: int(parts[2]))]
