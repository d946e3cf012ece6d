"""How many calls of an async actor run at a time, and whose turn it is next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from nbray.executor.actor_host import Places


async def _work(places: Places, name: str, log: list[str], gate: asyncio.Event) -> None:
    if places.free:
        places.free -= 1
    else:
        await places.turn()
    log.append(name)
    try:
        await gate.wait()
    finally:
        places.leave()


class World:
    """Calls "a", "b", ... of a loop; each runs until its gate is opened."""

    def __init__(self, size: int) -> None:
        self.places = Places(size)
        self.log: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, names: str) -> None:
        for name in names:
            self.gates[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(_work(self.places, name, self.log, self.gates[name]))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        self.gates[name].set()
        await self.tasks[name]
        await self.settle()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_the_others_get_their_turns_in_the_order_in_which_they_came(runner: asyncio.Runner) -> None:
    async def story() -> None:
        world = World(2)
        await world.begin("abcd")
        assert world.log == ["a", "b"]
        await world.end("b")
        assert world.log == ["a", "b", "c"]
        await world.begin("e")  # there is no place that it could take before "d"
        await world.end("a")
        assert world.log == ["a", "b", "c", "d"]
        for name in "cde":
            await world.end(name)
        assert world.log == ["a", "b", "c", "d", "e"]
        assert world.places.free == 2

    runner.run(story())


def test_who_gives_up_while_waiting_is_passed_over(runner: asyncio.Runner) -> None:
    async def story() -> None:
        world = World(1)
        await world.begin("abc")
        world.tasks["b"].cancel()
        await world.settle()
        await world.end("a")
        assert world.log == ["a", "c"]
        await world.end("c")
        assert world.places.free == 1

    runner.run(story())


def test_who_gives_up_when_the_turn_has_just_come_passes_it_on(runner: asyncio.Runner) -> None:
    async def story() -> None:
        world = World(1)
        await world.begin("abc")
        world.places.leave()  # the turn of "b", which has not run since
        world.tasks["b"].cancel()
        await world.settle()
        assert world.log == ["a", "c"]
        assert world.tasks["b"].cancelled()

    runner.run(story())
