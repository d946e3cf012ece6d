"""The agent of a node, in its Dask worker: gives leases their executors and carries messages between them and placement."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from distributed import WorkerPlugin

from nbray.core.effects import Place
from nbray.core.ids import Address
from nbray.core.messages import Loss, Message, Spec
from nbray.executor.node_config import StartError
from nbray.executor.outlet import Rest
from nbray.executor.upkeep import Sample
from nbray.scheduling import streams

logger = logging.getLogger("nbray.agent")

#: Leases whose owners are remembered: those that are over, too, because the last of them still have idle executors.
_OWNERS = 10_000


class NodeLike(Protocol):
    """What the agent needs of ``executor.supervisor.Node``."""

    on_up: Callable[[bytes, Message], None]
    on_hosted: Callable[[bytes, int, Address, bytes | None], None]
    on_exit: Callable[[int | None, bytes, Loss], None]
    on_output: Callable[[int | None, int, list[Rest]], None]
    on_sample: Callable[[Sample], None]

    @property
    def address(self) -> Address: ...
    @property
    def store_capacity(self) -> int: ...
    @property
    def most_processes(self) -> int: ...

    async def lane(
        self, lease_id: int, spec: Spec, owner_process: bytes, gpus: tuple[int, ...]
    ) -> Address: ...
    async def host(
        self, actor_id: bytes, epoch: int, lease_id: int, spec: Spec, creation: bytes, gpus: tuple[int, ...]
    ) -> Address: ...
    def end_lane(self, lease_id: int, kill: bool) -> None: ...
    def retire(self, lease_id: int) -> None: ...
    def owner_gone(self, process: bytes, driver: bool) -> None: ...
    def watch(self, seconds: float) -> None: ...
    def down(self, process_id: bytes, message: Message) -> None: ...


class NodeAgent(WorkerPlugin):
    """
    Args:
        node: running on this loop. Whoever made it closes it.
        totals: what it has, in ``RESOURCE_UNIT`` units; None: what the Dask worker has (threads are CPUs).
        labels: of the node.
    """

    name = streams.AGENT

    def __init__(
        self, node: NodeLike, totals: Mapping[str, int] | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        self.node = node
        self.totals = totals
        self.labels = dict(labels or {})
        self._held: dict[int, asyncio.Event] = {}
        self._owners: dict[int, bytes] = {}  # by lease, the oldest first
        self._over: set[int] = set()  # ended by themselves: placement's order to end them is on its way
        self._early: dict[int, None] = {}  # ended by order before their task began; the oldest first

    def setup(self, worker: Any) -> None:
        self._worker = worker
        node = self.node
        node.on_up = lambda process, message: self._report(streams.PASS_UP, process, message)
        node.on_hosted = self._hosted
        node.on_exit = self._exited
        node.on_output = self._printed
        node.on_sample = lambda sample: self._report(streams.SAMPLED, sample)
        worker.stream_handlers[streams.ORDER] = self._heard
        streams.hasten(worker.batched_stream)
        totals = None if self.totals is None else dict(self.totals)
        address = node.address
        self._report(
            streams.NODE_UP,
            address.node,
            tuple(address),
            platform.node(),
            totals,
            node.store_capacity,
            self.labels,
            node.most_processes,
        )

    async def hold(self, place: Place, creation: bytes) -> None:
        """The body of a lease's task: get an executor, report it, wait for the end."""
        lease = place.lease
        if lease in self._early:
            del self._early[lease]
            return
        ended = self._held[lease] = asyncio.Event()
        self._owners[lease] = place.owner
        if len(self._owners) > _OWNERS:
            del self._owners[next(iter(self._owners))]
        try:
            if place.actor is None:
                address = await self.node.lane(lease, place.spec, place.owner, place.gpus)
            else:
                address = await self.node.host(
                    place.actor, place.epoch, lease, place.spec, creation, place.gpus
                )
            if not ended.is_set():
                self._report(streams.GRANTED, lease, tuple(address))
                await ended.wait()
        except StartError as error:
            self._refuse(lease, error.loss)
        except Exception as error:
            logger.exception("lease %s could not be served", lease)
            self._refuse(lease, ("exit", repr(error), 0, 0, ""))

    def _refuse(self, lease: int, loss: Loss) -> None:
        if self._held.pop(lease, None) is not None:
            self._over.add(lease)
            self._report(streams.REFUSED, lease, loss)

    # --- orders ----------------------------------------------------------------------------------------------------
    def _heard(self, message: Message) -> None:
        try:
            kind, *fields = message
            if kind == streams.END:
                self._end(*fields)
            elif kind == streams.RETIRE:
                self.node.retire(*fields)
            elif kind == streams.WATCH:
                self.node.watch(*fields)
            elif kind == streams.OWNER_GONE:
                self.node.owner_gone(*fields)
            elif kind == streams.PASS_DOWN:
                self.node.down(*fields)
        except Exception:  # Dask would close the worker's link
            logger.exception("could not carry out %r", message[:1])

    def _end(self, lease: int, kill: bool) -> None:
        ended = self._held.pop(lease, None)
        if ended is not None:
            ended.set()
            self.node.end_lane(lease, kill)
        elif lease in self._over:
            self._over.remove(lease)
        else:
            self._early[lease] = None
            if len(self._early) > 1000:  # of tasks that Dask dropped before they began
                del self._early[next(iter(self._early))]

    # --- reports ---------------------------------------------------------------------------------------------------
    def _hosted(self, actor: bytes, epoch: int, address: Address, failure: bytes | None) -> None:
        self._report(streams.HOSTED, actor, epoch, tuple(address), failure)

    def _exited(self, lease: int | None, process: bytes, loss: Loss) -> None:
        self._report(streams.EXITED, lease, process, loss)
        if lease is not None and (ended := self._held.pop(lease, None)) is not None:
            self._over.add(lease)
            ended.set()

    def _printed(self, lease: int | None, pid: int, rest: list[Rest]) -> None:
        owner = None if lease is None else self._owners.get(lease)
        if owner is not None:
            self._report(streams.OUTPUT, owner, pid, self.node.address.node, [tuple(each) for each in rest])

    def _report(self, *report: Any) -> None:
        try:
            # Not ``batched_send``, which drops what is said before the worker is registered.
            self._worker.batched_stream.send({"op": streams.REPORT, "message": report})
        except Exception:  # the link is gone, and the worker with it in a moment
            logger.debug("could not report %r", report[:1], exc_info=True)
