"""A node's processes: gives leases and actors their executors, and says why one went.

Lives on an asyncio loop, in a Dask worker's process or in the driver. How executors start and end is ``processes.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable

from nbray.channel.connection import Connection
from nbray.channel.reactor import Reactor
from nbray.core import messages
from nbray.core.ids import Address, new_process_id
from nbray.core.memory import ACTOR, IDLE, TASK, Candidate
from nbray.core.messages import Loss, Message, Spec
from nbray.executor.estates import Estates
from nbray.executor.memory import private_bytes
from nbray.executor.node_config import NodeConfig, StartError
from nbray.executor.outlet import Rest
from nbray.executor.pool import IdlePool, shape_of
from nbray.executor.process_limit import most_processes
from nbray.executor.processes import Processes
from nbray.executor.record import Record
from nbray.executor.replicator import Replicator
from nbray.executor.upkeep import Sample, Upkeep
from nbray.owner.serving import StoreServer
from nbray.store.directory import remove_store
from nbray.store.store import Store

__all__ = ["Node", "NodeConfig", "StartError"]

logger = logging.getLogger("nbray.node")


def _here() -> str:
    """This process's directory; / if that was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def _ignore(*_: object) -> None:
    """The callback of who does not want to know."""


class Node:
    """The processes of one node.

    Everything but ``start_template`` must be called on the loop that ``start`` ran on, and so are the callbacks, which
    must not raise.

    Attributes:
        on_up: (process id, message) an executor's owner has something for placement.
        on_hosted: (actor id, epoch, address, None or pickled failure) an actor's ``__init__`` has ended.
        on_output: (last lease id or None, pid, [Rest, ...]) what an executor that is gone had printed last; comes
            before ``on_exit``.
        on_sample: (sample) the node's figures, while it is watched.
        on_exit: (lease id or None, process id, loss) an executor is gone. Not called for those that never were ready, whose
            ``lane`` or ``host`` raises, nor after ``close``.
        reactor: the node agent's sockets.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config._replace(
            # Programs put paths of other types there, which Python's own imports ignore.
            sys_path=tuple(entry for entry in config.sys_path or sys.path if isinstance(entry, str)),
            cwd=config.cwd or _here(),
            keep=config.keep or os.cpu_count() or 1,
        )
        self.on_up: Callable[[bytes, Message], None] = _ignore
        self.on_hosted: Callable[[bytes, int, Address, bytes | None], None] = _ignore
        self.on_exit: Callable[[int | None, bytes, Loss], None] = _ignore
        self.on_output: Callable[[int | None, int, list[Rest]], None] = _ignore
        self._most = most_processes(os.environ)
        self.on_sample: Callable[[Sample], None] = _ignore
        self._store: Store | None = None
        self._server: StoreServer | None = None
        self._estates: Estates | None = None
        self._upkeep = Upkeep(self._candidates, self._out_of_memory)
        self.reactor = Reactor(Address(new_process_id(), config.node_id, "", ""), config.secret)
        self.reactor.on_accept = self._accepted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._processes = Processes(self.config, self.reactor, self._step, self._unusable, self._ended)
        self._leases: dict[int, Record] = {}
        self._pool = IdlePool(self.config.keep, self.config.linger)
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False

    # -- start and end ---------------------------------------------------------------------------------------

    def start_template(self) -> None:
        """Start the template process; returns at once, while it imports. May be called before ``start``, by any thread.

        Raises:
            RaySystemError: on Windows.
            OSError: the directory cannot be made, or the system gives no process.
        """
        self._processes.start_template()

    async def start(self) -> None:
        """Listen, and serve from the running loop. Starts the template if ``start_template`` was not called."""
        self._loop = asyncio.get_running_loop()
        self._processes.attach(self._loop)
        self._store = Store(self.config.store_dir)
        self._server = StoreServer(self._store)
        self._estates = Estates(self._server, self._loop)
        self._replicator = Replicator(self._store, self.reactor, lambda: self.address)
        self.reactor.listen_unix(f"{self.config.session_dir}/{secrets.token_hex(8)}.sock")
        if self.config.tcp_host:
            self.reactor.listen_tcp(self.config.tcp_host)
        self._loop.add_reader(self.reactor.fileno(), self._step)
        self._upkeep.start(self._store)

    @property
    def address(self) -> Address:
        """Where the node agent listens; complete after ``start``."""
        return self.reactor.address

    @property
    def store_capacity(self) -> int:
        """Bytes that objects may have in memory; known after ``start``."""
        assert self._store is not None
        return self._store.figures.capacity

    @property
    def most_processes(self) -> int:
        """So many of its processes may be lanes at a time."""
        return self._most

    def watch(self, seconds: float) -> None:
        """Call ``on_sample`` once a second for that long, from now on."""
        self._upkeep.watched(seconds, self.on_sample)

    async def close(self) -> None:
        """End every process of the node and remove its files, within 2 seconds. Nothing happens the second time."""
        if self._closed:
            return
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        self._upkeep.stop()
        if self._estates is not None:
            self._estates.close()
        asyncio.get_running_loop().remove_reader(self.reactor.fileno())
        await self._processes.close()
        self.reactor.close()
        self._processes.bury()
        self._leases.clear()
        if self._store is not None:
            self._store.close()
        remove_store(self.config.store_dir)
        shutil.rmtree(self.config.session_dir, ignore_errors=True)

    # -- leases ----------------------------------------------------------------------------------------------

    async def lane(
        self, lease_id: int, spec: Spec, owner_process: bytes, gpus: tuple[int, ...] = ()
    ) -> Address:
        """An executor for a lease: the most recently used idle one of the same shape, else a new one.

        ``gpus``: indices of the node's GPUs that it sees. Cancelled while it waits, it gives the executor back.

        Raises:
            StartError: the new executor died before it was ready.
        """
        shape = shape_of(spec, gpus)
        number = self._pool.take(shape)
        executor = self._processes.fork(shape) if number is None else self._processes.by_number[number]
        self._assign(executor, lease_id)
        self._processes.send(executor, (messages.LEASE, lease_id, owner_process, spec[0]))
        return await self._wait(executor, lease_id, kill=False)

    async def host(
        self,
        actor_id: bytes,
        epoch: int,
        lease_id: int,
        spec: Spec,
        creation: bytes,
        gpus: tuple[int, ...] = (),
    ) -> Address:
        """A new executor that becomes an actor; ``on_hosted`` tells when its ``__init__`` has ended.

        Cancelled while it waits, it ends the executor.

        Raises:
            StartError: the executor died before it was ready.
        """
        executor = self._processes.fork(shape_of(spec, gpus))
        executor.actor = True
        self._assign(executor, lease_id)
        self._processes.send(executor, (messages.HOST, actor_id, epoch, creation, spec[0]))
        return await self._wait(executor, lease_id, kill=True)

    def end_lane(self, lease_id: int, kill: bool) -> None:
        """The lease has ended: its executor is idle, or, with ``kill``, ended. An unknown lease is ignored."""
        executor = self._leases.pop(lease_id, None)
        if executor is None:
            return
        executor.lease = None
        if kill:
            self._processes.kill(executor, "its lease ended")
            return
        self._processes.send(executor, (messages.UNLEASE, lease_id))
        if executor.usable:
            self._pool.put(executor.number, executor.shape, self._now())
            self._plan_expiry()

    def retire(self, lease_id: int) -> None:
        """Ask the lease's executor to finish what it has and to leave; ``on_exit`` follows."""
        executor = self._leases.get(lease_id)
        if executor is not None:
            self._retire(executor)

    def down(self, process_id: bytes, message: Message) -> None:
        """Hand a message from placement to the owner in an executor; lost if that is gone."""
        executor = self._processes.by_process.get(process_id)
        if executor is not None:
            self._processes.send(executor, (messages.DOWN, message))

    # -- executors -------------------------------------------------------------------------------------------

    def _assign(self, executor: Record, lease_id: int) -> None:
        executor.lease = executor.served = lease_id
        executor.since = self._now()
        self._leases[lease_id] = executor

    async def _wait(self, executor: Record, lease_id: int, kill: bool) -> Address:
        try:
            return await asyncio.shield(executor.ready)
        except asyncio.CancelledError:
            self.end_lane(lease_id, kill)
            raise

    def _retire(self, executor: Record) -> None:
        executor.retired = True
        self._processes.send(executor, (messages.RETIRE,))

    def _now(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    def _plan_expiry(self) -> None:
        if self._expiry is None and self._loop is not None and (when := self._pool.next_expiry()) is not None:
            self._expiry = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        for number in self._pool.expire(self._now()):
            self._retire(self._processes.by_number[number])
        self._plan_expiry()

    def _candidates(self) -> list[Candidate]:
        return [
            Candidate(
                each.number,
                each.pid,
                IDLE if each.lease is None else ACTOR if each.actor else TASK,
                each.since,
                private_bytes(each.pid),
            )
            for each in self._processes.by_number.values()
            if each.pid and each.status is None
        ]

    def _out_of_memory(self, chosen: Candidate, reason: str) -> None:
        executor = self._processes.by_number[chosen.number]
        logger.warning("ending process %d: %s", chosen.pid, reason)
        if executor.lease is None and executor.usable:
            self._pool.discard(executor.number)
            self._retire(executor)  # what it owns may still be needed
        else:
            executor.memory = executor.killed is None
            self._processes.kill(executor, reason)

    # -- what executors say ----------------------------------------------------------------------------------

    def _step(self) -> None:
        try:
            self.reactor.step(0)
        except Exception:
            logger.exception("the node agent could not serve a message")

    def _accepted(self, connection: Connection) -> None:
        connection.on_message = self._heard

    def _heard(self, connection: Connection, message: Message) -> None:
        executor: Record | None = connection.context
        kind = message[0]
        if executor is None:
            if kind == messages.READY:
                self._processes.is_ready(connection, message)
            else:
                self._asked(connection, message)
        elif kind == messages.UP:
            self.on_up(executor.process, message[1])
        elif kind == messages.HOSTED:
            _, actor_id, epoch, failure = message
            assert executor.address is not None
            self.on_hosted(actor_id, epoch, executor.address, failure)
        elif kind == messages.SPENT:
            self._pool.discard(executor.number)
            self._retire(executor)
        elif kind == messages.LEAVING:
            executor.leaving = str(message[1])
            self._pool.discard(executor.number)
        else:
            self._asked(connection, message)

    def _asked(self, connection: Connection, message: Message) -> None:
        """The traffic of large objects, with processes here and on other nodes."""
        assert self._server is not None
        if message[0] == messages.PULL:
            self._server.asked(connection, message)
        elif message[0] == messages.FREE:
            self._server.freed(connection, message)
        elif message[0] == messages.ADOPT:
            self._server.adopted(message)
        elif message[0] == messages.REPLICATE:
            self._replicator.asked(connection, message)

    def _unusable(self, executor: Record) -> None:
        self._pool.discard(executor.number)

    def _ended(self, executor: Record, loss: Loss, rest: list[Rest]) -> None:
        if executor.lease is not None:
            self._leases.pop(executor.lease, None)
        self._upkeep.executor_ended()
        if rest:
            self.on_output(executor.served, executor.pid, rest)
        if executor.ready.done():
            self.on_exit(executor.lease, executor.process, loss)
        self.owner_gone(executor.process, driver=False)

    def owner_gone(self, process: bytes, driver: bool) -> None:
        """A process is dead, here or on another node: what large objects it has here go, unless somebody takes them over."""
        if not self._closed and self._estates is not None:
            self._estates.owner_gone(process, driver)
