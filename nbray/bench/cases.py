"""What is measured: every case once, against an object with Ray's verbs (``remote``, ``get``, ``wait``, ``put``).

A case is a generator function: it prepares, checks that the peer answers right, yields the step to be timed, and lets go of what
it made when it is closed. One step does ``amount`` of the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Step: TypeAlias = Callable[[], object]
Prepare: TypeAlias = Callable[[Any], Iterator[Step]]

MIB = 1024 * 1024
GIB = 1024 * MIB
LARGE = 32 * MIB
AT_ONCE = 1000
THREADS = 16
CHAIN = 100
NESTED = 200
ACTORS = 10


@dataclass(frozen=True)
class Case:
    """``unit`` is "calls/s", "GiB/s", "actors/s" or "s"; ``amount`` how much of it (without the "/s") one step does."""

    name: str
    title: str
    unit: str
    amount: float
    prepare: Prepare

    @property
    def higher_is_better(self) -> bool:
        return self.unit != "s"


CASES: dict[str, Case] = {}
COLD = "cold"


def case(name: str, title: str, unit: str, amount: float) -> Callable[[Prepare], Prepare]:
    def register(prepare: Prepare) -> Prepare:
        CASES[name] = Case(name, title, unit, amount, prepare)
        return prepare

    return register


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"the peer answered {found!r} instead of {wanted!r}")


# --- the work ----------------------------------------------------------------------------------------------------------


def small(*_: object) -> bytes:
    return b"ok"


def one_millisecond(*_: object) -> None:
    """Busy for 1 ms of wall time, so that a machine with n free CPUs does n × 1,000 a second at most."""
    from time import perf_counter  # some peers carry a function without its globals

    end = perf_counter() + 0.001
    while perf_counter() < end:
        pass


def increment(value: int) -> int:
    return value + 1


def produce(size: int) -> Any:
    import numpy as np

    return np.ones(size, np.uint8)


def size_of(array: Any) -> int:
    return int(array.nbytes)


class Sync:
    def ping(self) -> bytes:
        return b"ok"


class Async:
    async def ping(self) -> bytes:
        return b"ok"


# What a peer's pickler meets. `child` moves it to ``__main__``, where a user's functions live in a notebook or script.
WORK = (small, one_millisecond, increment, produce, size_of, Sync, Async)


# --- the cases ---------------------------------------------------------------------------------------------------------


@case(COLD, "cold process: import, init, first task's result", "s", 1)
def cold(_ray: Any) -> Iterator[Step]:
    raise AssertionError("measured from outside, by starting interpreters: see conductor.py")
    yield lambda: None


@case("tasks_sync", "tasks one by one", "calls/s", 1)
def tasks_sync(ray: Any) -> Iterator[Step]:
    task = ray.remote(small)
    expect(ray.get(task.remote()), b"ok")
    yield lambda: ray.get(task.remote())


@case("tasks_batch", "1,000 tasks at once", "calls/s", AT_ONCE)
def tasks_batch(ray: Any) -> Iterator[Step]:
    task = ray.remote(small)
    expect(ray.get([task.remote() for _ in range(3)]), [b"ok"] * 3)
    yield lambda: ray.get([task.remote() for _ in range(AT_ONCE)])


@case("tasks_1ms", "1,000 tasks of 1 ms at once", "calls/s", AT_ONCE)
def tasks_1ms(ray: Any) -> Iterator[Step]:
    task = ray.remote(one_millisecond)
    yield lambda: ray.get([task.remote() for _ in range(AT_ONCE)])


@case("tasks_chain", "chain of 100 dependent tasks", "calls/s", CHAIN)
def tasks_chain(ray: Any) -> Iterator[Step]:
    task = ray.remote(increment)

    def step() -> None:
        link = task.remote(0)
        for _ in range(CHAIN - 1):
            link = task.remote(link)
        expect(ray.get(link), CHAIN)

    yield step


@case("tasks_nested", "nested tasks: a task submits 200", "calls/s", NESTED)
def tasks_nested(ray: Any) -> Iterator[Step]:
    task = ray.remote(small)

    def submit(count: int) -> int:
        return len(ray.get([task.remote() for _ in range(count)]))

    parent = ray.remote(submit)
    expect(ray.get(parent.remote(3)), 3)
    yield lambda: ray.get(parent.remote(NESTED))


@case("wait", "wait one by one over 1,000 refs", "calls/s", AT_ONCE)
def wait(ray: Any) -> Iterator[Step]:
    task = ray.remote(small)

    def step() -> None:
        pending = [task.remote() for _ in range(AT_ONCE)]
        while pending:
            _, pending = ray.wait(pending)

    yield step


@case("actor_sync", "actor calls one by one", "calls/s", 1)
def actor_sync(ray: Any) -> Iterator[Step]:
    actor = ray.remote(num_cpus=0)(Sync).remote()
    expect(ray.get(actor.ping.remote()), b"ok")
    yield lambda: ray.get(actor.ping.remote())


@case("actor_batch", "1,000 actor calls at once", "calls/s", AT_ONCE)
def actor_batch(ray: Any) -> Iterator[Step]:
    actor = ray.remote(num_cpus=0)(Sync).remote()
    expect(ray.get(actor.ping.remote()), b"ok")
    yield lambda: ray.get([actor.ping.remote() for _ in range(AT_ONCE)])


@case("actor_threaded", "threaded actor, 16: 1,000 calls at once", "calls/s", AT_ONCE)
def actor_threaded(ray: Any) -> Iterator[Step]:
    actor = ray.remote(num_cpus=0, max_concurrency=THREADS)(Sync).remote()
    expect(ray.get(actor.ping.remote()), b"ok")
    yield lambda: ray.get([actor.ping.remote() for _ in range(AT_ONCE)])


@case("actor_to_actor", "actor to actor: 1,000 calls at once", "calls/s", AT_ONCE)
def actor_to_actor(ray: Any) -> Iterator[Step]:
    class Caller:
        def __init__(self, callee: Any) -> None:
            self.callee = callee

        def call(self, count: int) -> int:
            return len(ray.get([self.callee.ping.remote() for _ in range(count)]))

    callee = ray.remote(num_cpus=0)(Sync).remote()
    caller = ray.remote(num_cpus=0)(Caller).remote(callee)
    expect(ray.get(caller.call.remote(3)), 3)
    yield lambda: ray.get(caller.call.remote(AT_ONCE))


@case("async_sync", "async actor, one by one", "calls/s", 1)
def async_sync(ray: Any) -> Iterator[Step]:
    actor = ray.remote(num_cpus=0)(Async).remote()
    expect(ray.get(actor.ping.remote()), b"ok")
    yield lambda: ray.get(actor.ping.remote())


@case("async_batch", "async actor, 1,000 calls at once", "calls/s", AT_ONCE)
def async_batch(ray: Any) -> Iterator[Step]:
    actor = ray.remote(num_cpus=0)(Async).remote()
    expect(ray.get(actor.ping.remote()), b"ok")
    yield lambda: ray.get([actor.ping.remote() for _ in range(AT_ONCE)])


@case("actors_created", "10 actors created and called", "actors/s", ACTORS)
def actors_created(ray: Any) -> Iterator[Step]:
    actor_class = ray.remote(num_cpus=0)(Sync)

    def step() -> None:
        actors = [actor_class.remote() for _ in range(ACTORS)]
        expect(ray.get([actor.ping.remote() for actor in actors]), [b"ok"] * ACTORS)

    yield step


@case("get_small", "get of a small object", "calls/s", 1)
def get_small(ray: Any) -> Iterator[Step]:
    ref = ray.put(0)
    expect(ray.get(ref), 0)
    yield lambda: ray.get(ref)


@case("put_small", "put of a small object", "calls/s", 1)
def put_small(ray: Any) -> Iterator[Step]:
    expect(ray.get(ray.put(1)), 1)
    yield lambda: ray.put(0)


@case("put_large", "put 32 MiB", "GiB/s", LARGE / GIB)
def put_large(ray: Any) -> Iterator[Step]:
    array = produce(LARGE)
    expect(size_of(ray.get(ray.put(array))), LARGE)
    yield lambda: ray.put(array)


@case("get_large", "get 32 MiB again", "GiB/s", LARGE / GIB)
def get_large(ray: Any) -> Iterator[Step]:
    ref = ray.put(produce(LARGE))
    expect(int(ray.get(ref).sum()), LARGE)
    yield lambda: ray.get(ref)


@case("task_to_task", "32 MiB from task to task", "GiB/s", LARGE / GIB)
def task_to_task(ray: Any) -> Iterator[Step]:
    producer, consumer = ray.remote(produce), ray.remote(size_of)
    yield lambda: expect(ray.get(consumer.remote(producer.remote(LARGE))), LARGE)


@case("argument_large", "32 MiB argument by value", "GiB/s", LARGE / GIB)
def argument_large(ray: Any) -> Iterator[Step]:
    array = produce(LARGE)
    consumer = ray.remote(size_of)
    yield lambda: expect(ray.get(consumer.remote(array)), LARGE)


@case("put_get_1mib", "put and get 1 MiB", "GiB/s", MIB / GIB)
def put_get_1mib(ray: Any) -> Iterator[Step]:
    array = produce(MIB)
    yield lambda: expect(ray.get(ray.put(array)).nbytes, MIB)
