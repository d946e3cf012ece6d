"""Short tasks are cancelled at random moments: no other call may feel it, and what is said of each is so."""

import os
import random
import time

import pytest

import nbray
from nbray.exceptions import TaskCancelledError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def short(directory, number, seconds):
    """Leaves a file, and works for a moment; an interrupt it lets pass."""
    with open(f"{directory}/{number}", "w"):
        pass
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return number


@nbray.remote
class Counter:
    def short(self, directory, number, seconds):
        return short._exported.target(directory, number, seconds)


@nbray.remote
class Coroutines:
    async def short(self, directory, number, seconds):
        return short._exported.target(directory, number, seconds)


def actor(cls, **options):
    handle = cls.options(**options).remote()
    return handle.short


@pytest.mark.parametrize("kind", ["tasks", "actor", "threads", "coroutines"])
def test_only_what_was_cancelled_is_cancelled(tmp_path, kind):
    chance = random.Random(os.getpid() ^ time.monotonic_ns())
    target = {
        "tasks": lambda: short,
        "actor": lambda: actor(Counter),
        "threads": lambda: actor(Counter, max_concurrency=3),
        "coroutines": lambda: actor(Coroutines),
    }[kind]()
    numbers = iter(range(1_000_000))
    for _ in range(10):
        refs = {}
        chosen = []
        for _ in range(60):
            number = next(numbers)
            seconds = chance.choice([0, 0, 0.0001, 0.001])
            refs[number] = target.remote(str(tmp_path), number, seconds)
            if chance.random() < 0.4:
                chosen.append(number)
            if chosen and chance.random() < 0.4:
                nbray.cancel(refs[chosen[chance.randrange(len(chosen))]])
            if chance.random() < 0.02:
                time.sleep(chance.random() * 0.003)
        for number in chosen:
            nbray.cancel(refs[number])
        for number, ref in refs.items():
            try:
                assert nbray.get(ref, timeout=30) == number
            except TaskCancelledError as error:
                said = str(error)
            else:
                said = ""
            assert number in chosen or not said, "a call was cancelled that nobody cancelled"
            assert (tmp_path / str(number)).exists() or said
            assert not (tmp_path / str(number)).exists() or "before it ran" not in said
