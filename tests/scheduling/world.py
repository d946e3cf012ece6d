"""A real Dask scheduler and real workers over ``inproc://``, whose nodes are fakes that start nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from nbray.cluster import quiet
from nbray.core.ids import Address
from nbray.core.messages import RESOURCE_UNIT
from nbray.executor.node_config import StartError
from nbray.scheduling.agent import NodeAgent
from nbray.scheduling.plugin import PlacementPlugin, units

DRIVER = b"driver00"
TIMEOUT = 10.0


def spec(**resources: float) -> Any:
    return (
        tuple(sorted((name, int(n * RESOURCE_UNIT)) for name, n in (resources or {"CPU": 1}).items())),
        (),
        (),
    )


class FakeNode:
    """Executors are names. ``stall`` keeps new ones from being ready, ``refuse`` makes them fail."""

    def __init__(self, number: int) -> None:
        self.id = b"node-%03d" % number
        self.store_capacity = 1000
        self.most_processes = 1 << 20
        self.address = Address(b"agent%03d" % number, self.id, "/agent", "")
        self.on_up: Callable[..., None]
        self.on_hosted: Callable[..., None]
        self.on_exit: Callable[..., None]
        self.on_output: Callable[..., None]
        self.leases: dict[int, Address] = {}
        self.actors: dict[int, tuple[bytes, int, bytes]] = {}
        self.ended: list[tuple[int, bool]] = []
        self.retired: list[int] = []
        self.gone: list[tuple[bytes, bool]] = []
        self.heard: list[tuple[bytes, Any]] = []
        self.ready = asyncio.Event()
        self.ready.set()
        self.refuse: Any = None

    async def lane(self, lease: int, spec: Any, owner: bytes, gpus: Any = ()) -> Address:
        await self.ready.wait()
        if self.refuse is not None:
            raise StartError(self.refuse)
        address = self.leases[lease] = Address(b"exec%04d" % lease, self.id, f"/{lease}", "")
        return address

    async def host(
        self, actor: bytes, epoch: int, lease: int, spec: Any, creation: bytes, gpus: Any = ()
    ) -> Address:
        self.actors[lease] = (actor, epoch, creation)
        return await self.lane(lease, spec, b"")

    def end_lane(self, lease: int, kill: bool) -> None:
        self.ended.append((lease, kill))
        self.leases.pop(lease, None)

    def retire(self, lease: int) -> None:
        self.retired.append(lease)

    def owner_gone(self, process: bytes, driver: bool) -> None:
        self.gone.append((process, driver))

    def down(self, process: bytes, message: Any) -> None:
        self.heard.append((process, message))

    # --- what happens to executors
    def up(self, lease: int, *message: Any) -> None:
        self.on_up(self.leases[lease].process, message)

    def hosted(self, lease: int, failure: bytes | None = None) -> None:
        actor, epoch, _ = self.actors[lease]
        self.on_hosted(actor, epoch, self.leases[lease], failure)

    def exit(self, lease: int, loss: Any = ("signal", "SIGKILL", 1, 9, "")) -> None:
        self.on_exit(lease, self.leases.pop(lease).process, loss)


class World:
    """One scheduler, some nodes, one driver."""

    def __init__(self) -> None:
        self.nodes: list[FakeNode] = []
        self.workers: list[Any] = []
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.placement = PlacementPlugin(b"secret", fixed=False)

    async def __aenter__(self) -> World:
        with quiet.creating():
            self.scheduler = quiet.QuietScheduler(
                protocol="inproc", dashboard=False, validate=True, plugins=[self.placement]
            )
            await self.scheduler
        quiet.calm(self.scheduler)
        self.placement.connect(DRIVER, self.inbox.put_nowait)
        return self

    async def __aexit__(self, *error: object) -> None:
        for worker in self.workers:
            await worker.close(timeout=1, executor_wait=False, nanny=False)
        await self.scheduler.close()

    async def add_node(self, **resources: float) -> FakeNode:
        node = FakeNode(len(self.nodes))
        with quiet.creating():
            worker = quiet.QuietWorker(
                self.scheduler.address, nthreads=1, memory_limit=0, dashboard=False,
                plugins=(NodeAgent(node, units(resources or {"CPU": 1}), {"number": str(len(self.nodes))}),),
            )  # fmt: skip
            await worker
        quiet.calm(worker)
        self.nodes.append(node)
        self.workers.append(worker)
        await self.until(lambda: node.id in self.placement.placement.ledger.nodes)
        return node

    def say(self, *message: Any) -> None:
        self.placement.receive(DRIVER, message)
        self.placement.placement.validate()
        self.placement.directory.validate()

    async def hear(self, kind: str) -> Any:
        """The next message of that kind; others are dropped."""
        while True:
            message = await asyncio.wait_for(self.inbox.get(), TIMEOUT)
            if message[0] == kind:
                return message

    async def lease(self, shape: Any = None) -> int:
        self.say("want", shape or spec(), 1, None)
        return (await self.hear("granted"))[1]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Give the loop its turns until something is so."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)

    def tasks(self) -> set[str]:
        return {key for key in self.scheduler.tasks if str(key).startswith("nbray")}


def run(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that is a coroutine with a world of its own; nothing of it may stay pending."""

    def wrapper() -> None:
        async def main() -> None:
            async with World() as world:
                await test(world)

        silence = quiet.Silence()
        try:
            asyncio.run(main())
        finally:
            silence.end()

    wrapper.__name__ = test.__name__
    wrapper.__doc__ = test.__doc__
    return wrapper
