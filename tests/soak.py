"""A long run of everything at once, with executors killed and stopped at random; not collected by pytest.

    python tests/soak.py --minutes 20 --seed 1

Every ref is checked against what it must be: a value, or one of the errors that may happen to it. Every half minute a line
says how far it is. At the end it compares memory, descriptors, threads, processes, stored bytes and the owner's tables with
what they were after the warm-up, and exits non-zero on a difference, a wrong outcome, or anything that took longer than
its bound. The same seed gives the same program, but not the same timing.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import faulthandler
import gc
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psutil
from dask.utils import key_split
from ends import until_a_call_ends

import nbray as ray
from nbray import _runtime, events
from nbray.core import directory
from nbray.exceptions import ActorDiedError, ObjectLostError, TaskCancelledError
from nbray.executor.estates import HEIRS
from nbray.owner import console
from nbray.scheduling import agent

#: Seconds that anything may take; executors are stopped for one second at most, and killed every other second.
BOUND = 60.0
#: Refs under way at a time.
UNDER_WAY = 120
#: Seconds of the program before "where things were" is noted.
WARM_UP = 60.0
#: Seconds after which idle executors that are too many have left, and all else has settled.
LINGER = 12.0
#: What the driver's memory may have grown by, MiB: Python's allocator keeps pages of which a part is in use.
GROWTH = 8.0


# --- what runs ---------------------------------------------------------------------------------------------------------


@ray.remote(max_retries=-1)
def add(a: int, b: int) -> int:
    return a + b


@ray.remote(max_retries=-1)
def pair(a: int, b: int) -> tuple[int, int]:
    return a, b


@ray.remote(max_retries=-1)
def spend(milliseconds: float) -> float:
    end = time.perf_counter() + milliseconds / 1000
    while time.perf_counter() < end:
        pass
    return milliseconds


@ray.remote(max_retries=-1)
def refuse(text: str) -> None:
    raise KeyError(text)


@ray.remote(max_retries=-1)
def tree(depth: int, width: int) -> int:
    if not depth:
        return 1
    return sum(ray.get([tree.remote(depth - 1, width) for _ in range(width)], timeout=BOUND))


@ray.remote(max_retries=-1)
def make(size: int, fill: int) -> bytes:
    return bytes([fill]) * size


@ray.remote(max_retries=-1)
def measure(data: bytes) -> tuple[int, int]:
    return len(data), data[0]


@ray.remote(max_retries=-1)
def box(size: int, fill: int) -> list[ray.ObjectRef]:
    """A ref whose owner is the executor, which may die at any time."""
    return [ray.put(bytes([fill]) * size)]


@ray.remote(max_retries=-1)
def opens(boxes: list[ray.ObjectRef]) -> tuple[int, int]:
    data = ray.get(boxes[0], timeout=BOUND)
    return len(data), data[0]


@ray.remote(max_retries=-1)
def stream(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number]) * size


@ray.remote(max_retries=0)
def once(a: int) -> int:
    return a


@ray.remote(num_cpus=0.01)
class Counter:
    """Counts, and so tells whether a call ran twice or out of order."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> int:
        self.count += 1
        return self.count

    def keep(self, boxes: list[ray.ObjectRef]) -> int:
        self.kept = boxes
        return len(boxes)


@ray.remote(num_cpus=0.01, max_restarts=-1, max_task_retries=-1)
class Echo:
    def say(self, value: Any) -> Any:
        return value

    def through(self, value: int) -> int:
        return ray.get(add.remote(value, 1), timeout=BOUND)


@ray.remote(num_cpus=0.01, max_restarts=-1, max_task_retries=-1)
class AsyncEcho:
    async def say(self, value: Any) -> Any:
        return value


# --- what is expected --------------------------------------------------------------------------------------------------


class Promise(NamedTuple):
    """A ref and what it may become: a value that ``right`` accepts, or one of ``errors``."""

    ref: Any
    what: str
    right: Callable[[Any], bool]
    errors: tuple[type[BaseException], ...]
    since: float


class Counted:
    """A counter, its calls in order, and what came of them."""

    def __init__(self) -> None:
        self.handle = Counter.remote()
        self.last = 0

    def right(self, value: int) -> bool:
        """Each call ran once, and in its turn."""
        fine = value == self.last + 1
        self.last = value
        return fine


class Soak:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.under_way: collections.deque[Promise] = collections.deque()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.slowest: tuple[float, str] = (0.0, "")
        self.ops = 0
        self.puts: list[tuple[Any, int, int]] = []
        self.counters = [Counted() for _ in range(2)]
        self.echo, self.async_echo = Echo.remote(), AsyncEcho.remote()
        self.operations: list[tuple[int, Callable[[], None]]] = [
            (20, self.adds),
            (6, self.pairs),
            (6, self.chain),
            (6, self.spends),
            (4, self.refuses),
            (4, self.trees),
            (4, self.makes),
            (8, self.put),
            (8, self.reads),
            (8, self.drops),
            (5, self.boxes),
            (3, self.onces),
            (3, self.streams),
            (4, self.cancels),
            (12, self.counts),
            (8, self.echoes),
            (6, self.async_echoes),
            (2, self.replaces),
            (4, self.waits),
            (2, self.keeps),
        ]

    def expect(self, ref: Any, what: str, right: Callable[[Any], bool], *errors: type[BaseException]) -> None:
        self.under_way.append(Promise(ref, what, right, errors, time.monotonic()))

    def step(self) -> None:
        weights = [weight for weight, _ in self.operations]
        ((_, operation),) = self.chance.choices(self.operations, weights)
        operation()
        self.ops += 1
        while len(self.under_way) > UNDER_WAY:
            self.settle(self.under_way.popleft())

    def settle(self, promise: Promise) -> None:
        begun = time.monotonic()
        try:
            value = ray.get(promise.ref, timeout=BOUND)
            if not promise.right(value):
                self.wrong.append(f"{promise.what}: {value!r:.200}")
            self.outcomes["value"] += 1
        except promise.errors as error:
            self.outcomes[type(error).__name__] += 1
        except Exception as error:
            self.wrong.append(f"{promise.what}: {type(error).__name__}: {error!s:.1000}")
        took = time.monotonic() - begun
        if took > self.slowest[0]:
            self.slowest = (took, promise.what)

    def settle_all(self) -> None:
        while self.under_way:
            self.settle(self.under_way.popleft())

    # -- operations -------------------------------------------------------------------------------------------------

    def number(self) -> int:
        return self.chance.randrange(1 << 30)

    def adds(self) -> None:
        a, b = self.number(), self.number()
        self.expect(add.remote(a, b), "add", (a + b).__eq__)

    def pairs(self) -> None:
        a, b = self.number(), self.number()
        first, second = pair.options(num_returns=2).remote(a, b)
        self.expect(first, "pair", a.__eq__)
        if self.chance.random() < 0.7:  # the others are dropped while they are under way
            self.expect(second, "pair", b.__eq__)

    def chain(self) -> None:
        ref, total = add.remote(0, 0), 0
        for _ in range(self.chance.randrange(1, 5)):
            total += (more := self.number())
            ref = add.remote(ref, more)
        self.expect(ref, "chain", total.__eq__)

    def spends(self) -> None:
        milliseconds = self.chance.uniform(0, 30)
        self.expect(spend.remote(milliseconds), "spend", milliseconds.__eq__)

    def refuses(self) -> None:
        ref = refuse.remote("no")
        if self.chance.random() < 0.5:
            ref = add.remote(ref, 1)
        self.expect(ref, "refuse", lambda value: False, KeyError)

    def trees(self) -> None:
        depth, width = self.chance.choice([(1, 5), (2, 3), (3, 2)])
        self.expect(tree.remote(depth, width), "tree", (width**depth).__eq__)

    def size(self) -> int:
        return self.chance.choice([10, 1000, 60_000, 200_000, 1 << 20])

    def makes(self) -> None:
        size, fill = self.size(), self.chance.randrange(256)
        ref = make.remote(size, fill)
        self.expect(measure.remote(ref), "measure", (size, fill).__eq__)
        if self.chance.random() < 0.5:
            self.expect(ref, "make", lambda data: (len(data), data[0]) == (size, fill))

    def put(self) -> None:
        size, fill = self.size(), self.chance.randrange(256)
        self.puts.append((ray.put(bytes([fill]) * size), size, fill))
        if len(self.puts) > 30:
            self.puts.pop(0)

    def reads(self) -> None:
        if self.puts:
            ref, size, fill = self.chance.choice(self.puts)
            self.expect(measure.remote(ref), "measure a put", (size, fill).__eq__)
            self.expect(opens.remote([ref]), "open a put", (size, fill).__eq__)

    def drops(self) -> None:
        if self.puts:
            self.puts.pop(self.chance.randrange(len(self.puts)))

    def boxes(self) -> None:
        size, fill = self.size(), self.chance.randrange(256)
        boxed = box.remote(size, fill)
        try:
            (inner,) = ray.get(boxed, timeout=BOUND)
        except Exception as error:
            self.wrong.append(f"box: {type(error).__name__}: {error!s:.1000}")
            return
        # Its owner is an executor; when that dies the ref is lost, whoever asks.
        self.expect(
            inner, "what was in a box", lambda data: (len(data), data[0]) == (size, fill), ObjectLostError
        )
        self.expect(opens.remote(boxed), "open a box", (size, fill).__eq__, ObjectLostError)

    def onces(self) -> None:
        a = self.number()
        self.expect(once.remote(a), "once", a.__eq__, ray.exceptions.WorkerCrashedError)

    def streams(self) -> None:
        count, size = self.chance.randrange(1, 20), self.size()
        generator = stream.options(_generator_backpressure_num_objects=self.chance.choice([-1, 1, 4])).remote(
            count, size
        )
        for number in range(self.chance.randrange(count + 1)):  # the rest is never asked for
            right = lambda data, number=number: (len(data), data[0]) == (size, number)
            self.expect(next(generator), "an item of a stream", right)

    def cancels(self) -> None:
        milliseconds = self.chance.uniform(0, 60)
        ref = spend.remote(milliseconds)
        after = add.remote(ref, 0) if self.chance.random() < 0.3 else ref
        self.spends()
        ray.cancel(ref, force=self.chance.random() < 0.3)
        self.expect(after, "cancelled", milliseconds.__eq__, TaskCancelledError)

    def counts(self) -> None:
        counted = self.chance.choice(self.counters)
        for _ in range(self.chance.randrange(1, 10)):
            ref = counted.handle.next.remote()
            self.under_way.append(Promise(ref, "count", counted.right, (ActorDiedError,), time.monotonic()))

    def replaces(self) -> None:
        place = self.chance.randrange(len(self.counters))
        if self.chance.random() < 0.5:
            ray.kill(self.counters[place].handle)
        self.counters[place] = Counted()  # the old one ends when the last of its calls is answered

    def keeps(self) -> None:
        counted = self.chance.choice(self.counters)
        kept = [ref for ref, _, _ in self.puts[:3]]
        self.expect(counted.handle.keep.remote(kept), "keep", len(kept).__eq__, ActorDiedError)

    def echoes(self) -> None:
        a = self.number()
        self.expect(self.echo.say.remote(a), "say", a.__eq__)
        if self.chance.random() < 0.3:
            self.expect(self.echo.through.remote(a), "through", (a + 1).__eq__)

    def async_echoes(self) -> None:
        for _ in range(self.chance.randrange(1, 10)):
            a = self.number()
            self.expect(self.async_echo.say.remote(a), "say later", a.__eq__)

    def waits(self) -> None:
        refs = list({promise.ref: None for promise in self.under_way})
        wanted = min(len(refs), self.chance.randrange(1, 10))
        if not refs:
            return
        begun = time.monotonic()
        ready, rest = ray.wait(refs, num_returns=wanted, timeout=BOUND)
        if len(ready) != wanted or len(ready) + len(rest) != len(refs):
            self.wrong.append(f"wait: {len(ready)} of {wanted} after {time.monotonic() - begun:.1f} s")

    def end(self) -> None:
        """Everything is answered and let go."""
        self.settle_all()
        self.puts.clear()
        self.counters.clear()
        del self.echo, self.async_echo


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
