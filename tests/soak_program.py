"""The program that ``soak.py`` runs: every kind of work in random order, and what each ref of it must come to."""

from __future__ import annotations

import collections
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import nbray as ray
from nbray.exceptions import ActorDiedError, ObjectLostError, TaskCancelledError

#: Seconds that anything may take; executors are stopped for one second at most, and killed every other second.
BOUND = 60.0
#: Refs under way at a time.
UNDER_WAY = 120


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
