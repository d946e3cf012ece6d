"""A long run of everything at once, with executors killed and stopped at random; not collected by pytest.

    python tests/soak.py --minutes 20 --seed 1

Every ref is checked against what it must be: a value, or one of the errors that may happen to it. Every half minute a line
says how far it is. At the end it compares memory, descriptors, threads, processes, stored bytes and the owner's tables with
what they were after the warm-up, and exits non-zero on a difference, a wrong outcome, or anything that took longer than
its bound. The same seed gives the same program, but not the same timing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil
from dask.utils import key_split
from ends import until_a_call_ends
from soak_program import BOUND, Soak

import nbray as ray
from nbray import _runtime, events
from nbray.core import directory
from nbray.executor.estates import HEIRS
from nbray.owner import console
from nbray.scheduling import agent

#: Seconds of the program before "where things were" is noted.
WARM_UP = 60.0
#: Seconds after which idle executors that are too many have left, and all else has settled.
LINGER = 12.0
#: What the driver's memory may have grown by, MiB: Python's allocator keeps pages of which a part is in use.
GROWTH = 8.0


# --- what goes wrong ---------------------------------------------------------------------------------------------------


def executors() -> list[psutil.Process]:
    driver = psutil.Process()
    found: list[psutil.Process] = []
    for template in driver.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += template.children()
    return found


class Trouble:
    """A thread that kills and stops executors, one after a kill only when some call has ended since."""

    def __init__(self, seed: int, seconds_between: float) -> None:
        self.chance = random.Random(seed)
        self.between = seconds_between
        self.killed = self.stopped = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trouble")

    def _run(self) -> None:
        while not self._over.wait(self.chance.uniform(0, 2 * self.between)):
            there = executors()
            if not there:
                continue
            victim = self.chance.choice(there)
            with contextlib.suppress(psutil.NoSuchProcess):
                if self.chance.random() < 0.3:
                    victim.suspend()
                    self.stopped += 1
                    self._over.wait(self.chance.uniform(0, 1))
                    victim.resume()
                else:
                    victim.kill()
                    self.killed += 1
                    until_a_call_ends(self._over)

    def __enter__(self) -> Trouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


# --- where things are --------------------------------------------------------------------------------------------------


class State(NamedTuple):
    rss: float
    fds: int
    threads: int
    processes: int
    stored: int
    tables: int

    def __str__(self) -> str:
        return (
            f"rss {self.rss:.0f} MiB, {self.fds} fds, {self.threads} threads, {self.processes} processes, "
            f"{self.stored >> 10} KiB stored, {self.tables} in tables"
        )


def state() -> State:
    process = psutil.Process()
    owner = _runtime.current().owner
    figures = owner.values.store.figures
    stored = figures.used + figures.spilled
    tables = len(owner.calls.under_way) + len(owner.holds) + len(owner.canonical) + len(owner.actors.machines)
    return State(
        process.memory_info().rss / (1 << 20),
        process.num_fds(),
        sum(not thread.name.startswith("Dask") for thread in threading.enumerate()),  # Dask keeps one or two
        len(process.children(recursive=True)),
        stored,
        tables,
    )


def calm(limit: float = HEIRS + 30.0) -> State:
    """Where things are once nothing is under way: idle lanes have gone back, executors that were too many have left, and what
    killed ones owned has been given up."""
    deadline = time.monotonic() + limit
    best, since = None, 0.0
    while time.monotonic() < deadline:
        give_back()
        ray.get(ray.put(None))  # collects what was dropped
        now = state()
        if best is None or best[1:] != now[1:]:
            best, since = now, time.monotonic()
        elif not now.tables and not now.stored and time.monotonic() - since > LINGER:
            return now
        time.sleep(1.0)
    return state()


def differences(before: State, after: State) -> list[str]:
    """Executors that idle may be fewer or more by those of the CPUs, with two connections each."""
    idle = 2
    limits = {
        "rss": before.rss + GROWTH,
        "fds": before.fds + 2 * idle,
        "threads": before.threads,
        "processes": before.processes + idle,
        "stored": 0,
        "tables": 0,
    }
    return [
        f"{name}: {getattr(before, name)} before, {getattr(after, name)} after"
        for name, limit in limits.items()
        if getattr(after, name) > limit
    ]


def told(every: float) -> Iterator[bool]:
    """True each time that many seconds have passed."""
    due = time.monotonic() + every
    while True:
        now = time.monotonic()
        yield now >= due
        if now >= due:
            due = now + every


def keep_small_books() -> None:
    """What is remembered of the last so many of something, of few only."""
    directory.MEMORY = events._MOST_ENDED = console._PROCESSES = 20
    agent._OWNERS = 200
    ray.feed().capacity = 1_000


def give_back() -> None:
    """What is kept for later goes: by Dask, how it has split the names of up to 100,000 tasks, which here are leases, and by
    the system's allocator, memory that nobody uses."""
    key_split.cache_clear()
    gc.collect()
    with contextlib.suppress(AttributeError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def run(minutes: float, seed: int, cpus: int, seconds_between: float) -> int:
    ray.init(num_cpus=cpus)
    keep_small_books()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    soak = Soak(seed)
    begun = time.monotonic()
    with Trouble(seed + 1, seconds_between):
        while time.monotonic() < begun + min(WARM_UP, minutes * 20):
            soak.step()
    soak.end()
    before = calm()
    print(f"after the warm-up: {before}", flush=True)
    again = Soak(seed + 1)
    again.wrong, again.outcomes, again.ops = soak.wrong, soak.outcomes, soak.ops
    soak = again
    telling = told(30.0)
    end = time.monotonic() + minutes * 60
    with Trouble(seed, seconds_between) as trouble:
        while time.monotonic() < end and len(soak.wrong) < 20:
            faulthandler.dump_traceback_later(4 * BOUND)  # anything has its bound: this is a hang
            soak.step()
            if next(telling):
                passed = time.monotonic() - begun
                print(
                    f"{passed:5.0f} s: {soak.ops} ops, {dict(soak.outcomes)}, {trouble.killed} killed, "
                    f"{trouble.stopped} stopped, slowest {soak.slowest[0]:.1f} s ({soak.slowest[1]}), "
                    f"{len(soak.wrong)} wrong; {state()}",
                    flush=True,
                )
    soak.end()
    after = calm()
    faulthandler.cancel_dump_traceback_later()
    print(f"at the end:        {after}", flush=True)
    different = differences(before, after)
    for line in different:
        print(f"DIFFERENT {line}", flush=True)
    for line in soak.wrong:
        print(f"WRONG {line}", flush=True)
    slow = soak.slowest[0] > BOUND
    if slow:
        print(f"SLOW {soak.slowest[1]} took {soak.slowest[0]:.0f} s", flush=True)
    ray.shutdown()
    left = psutil.Process().children(recursive=True)
    if left:
        print(f"LEFT {left}", flush=True)
    failed = bool(different or soak.wrong or slow or left)
    print("FAILED" if failed else f"fine: {soak.ops} ops, {dict(soak.outcomes)}", flush=True)
    return int(failed)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--between", type=float, default=1.0, help="seconds between two kills, on average")
    options = parser.parse_args()
    return run(options.minutes, options.seed, options.cpus, options.between)


if __name__ == "__main__":
    sys.exit(main())
