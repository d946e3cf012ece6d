"""A node's processes: gives leases and actors their executors, and says why one went.

Lives on an asyncio loop, in a Dask worker's process or in the driver. It forks nothing itself: a process with threads must not,
and a template that only waits can clean up whatever happens here.

An executor's end has two witnesses, its channel's end of file and the template's ``waitpid``, in any order. The channel may
still hold the reason (``LEAVING``), and only the template knows the status, so both are awaited before anyone is told:

1. EXITED first: what the channel still holds is read; if a process that inherited the socket hides its end,
   ``_GRACE`` seconds must do.
2. End of file first: if EXITED does not follow within ``_GRACE`` seconds the executor lives without its agent, which is
   of no use. It gets SIGKILL; later, if it said that it is leaving.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable

from nbray.channel.connection import Connection
from nbray.channel.reactor import Reactor
from nbray.core import messages
from nbray.core.ids import Address, new_process_id
from nbray.core.memory import ACTOR, IDLE, TASK, Candidate
from nbray.core.messages import Loss, Message, Spec
from nbray.exceptions import RaySystemError
from nbray.executor import boot as frames
from nbray.executor.boot import Boot
from nbray.executor.estates import Estates
from nbray.executor.loss import tail_of
from nbray.executor.memory import private_bytes
from nbray.executor.node_config import NodeConfig, StartError
from nbray.executor.outlet import STREAMS, SUFFIXES, Rest, answered_of, rest_of
from nbray.executor.pool import IdlePool, Shape, shape_of
from nbray.executor.process_limit import most_processes
from nbray.executor.record import Record
from nbray.executor.replicator import Replicator
from nbray.executor.template_link import TemplateLink
from nbray.executor.upkeep import Sample, Upkeep
from nbray.owner.serving import StoreServer
from nbray.store.directory import remove_store
from nbray.store.store import Store

__all__ = ["Node", "NodeConfig", "StartError"]

logger = logging.getLogger("nbray.node")

#: Seconds that the second witness of an executor's end has after the first.
_GRACE = 0.5
#: Seconds from the wish for an executor until it must be ready.
_START_LIMIT = 60.0
#: Seconds between an executor's LEAVING and the end of its patience.
_LEAVING_GRACE = 5.0
#: Seconds the template has to end everything when the node closes.
_CLOSING_GRACE = 1.5


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
            cwd=config.cwd or os.getcwd(),
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
        self._link: TemplateLink | None = None
        self._link_up = False
        self._numbers = itertools.count(1)
        self._executors: dict[int, Record] = {}
        self._leases: dict[int, Record] = {}
        self._processes: dict[bytes, Record] = {}
        self._pool = IdlePool(self.config.keep, self.config.linger)
        self._expiry: asyncio.TimerHandle | None = None
        self._closed: asyncio.Event | None = None

    # -- start and end ---------------------------------------------------------------------------------------

    def start_template(self) -> None:
        """Start the template process; returns at once, while it imports. May be called before ``start``, by any thread.

        Raises:
            RaySystemError: on Windows.
            OSError: the directory cannot be made, or the system gives no process.
        """
        os.makedirs(self.config.session_dir, mode=0o700, exist_ok=True)
        os.makedirs(f"{self.config.session_dir}/log", exist_ok=True)
        self._link_up = False
        self._link = TemplateLink(self._boot(0, Shape((), 1)))

    async def start(self) -> None:
        """Listen, and serve from the running loop. Starts the template if ``start_template`` was not called."""
        self._loop = asyncio.get_running_loop()
        if self._link is None:
            self.start_template()
        self._store = Store(self.config.store_dir)
        self._server = StoreServer(self._store)
        self._estates = Estates(self._server, self._loop)
        self._replicator = Replicator(self._store, self.reactor, lambda: self.address)
        self.reactor.listen_unix(f"{self.config.session_dir}/{secrets.token_hex(8)}.sock")
        if self.config.tcp_host:
            self.reactor.listen_tcp(self.config.tcp_host)
        self._loop.add_reader(self.reactor.fileno(), self._step)
        self._attach()
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
        if self._closed is not None:
            return
        self._closed = asyncio.Event()
        if self._expiry is not None:
            self._expiry.cancel()
        self._upkeep.stop()
        if self._estates is not None:
            self._estates.close()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.reactor.fileno())
        if self._link is not None:
            if self._loop is None:  # never started
                self._loop = loop
                self._attach()
            self._link.dismiss()
            try:
                await asyncio.wait_for(self._closed.wait(), _CLOSING_GRACE)
            except TimeoutError:
                self._link.bury()
        self.reactor.close()
        for executor in list(self._executors.values()):
            self._forget(executor)
            self._fail_start(
                executor, ("killed", "the node was closed", executor.pid, signal.SIGKILL.value, "")
            )
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
        executor = self._fork(shape) if number is None else self._executors[number]
        self._assign(executor, lease_id)
        self._send(executor, (messages.LEASE, lease_id, owner_process, spec[0]))
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
        executor = self._fork(shape_of(spec, gpus))
        executor.actor = True
        self._assign(executor, lease_id)
        self._send(executor, (messages.HOST, actor_id, epoch, creation, spec[0]))
        return await self._wait(executor, lease_id, kill=True)

    def end_lane(self, lease_id: int, kill: bool) -> None:
        """The lease has ended: its executor is idle, or, with ``kill``, ended. An unknown lease is ignored."""
        executor = self._leases.pop(lease_id, None)
        if executor is None:
            return
        executor.lease = None
        if kill:
            self._kill(executor, "its lease ended")
            return
        self._send(executor, (messages.UNLEASE, lease_id))
        if executor.usable:
            self._pool.put(executor.number, executor.shape, self._now())
            self._plan_expiry()

    def kill_lease(self, lease_id: int, reason: str = "killed") -> None:
        """SIGKILL to the lease's executor; ``on_exit`` follows with ("killed", reason, ...)."""
        executor = self._leases.get(lease_id)
        if executor is not None:
            self._kill(executor, reason)

    def retire(self, lease_id: int) -> None:
        """Ask the lease's executor to finish what it has and to leave; ``on_exit`` follows."""
        executor = self._leases.get(lease_id)
        if executor is not None:
            self._retire(executor)

    def down(self, process_id: bytes, message: Message) -> None:
        """Hand a message from placement to the owner in an executor; lost if that is gone."""
        executor = self._processes.get(process_id)
        if executor is not None:
            self._send(executor, (messages.DOWN, message))

    # -- executors -------------------------------------------------------------------------------------------

    def _boot(self, number: int, shape: Shape) -> Boot:
        config = self.config
        return Boot(
            number=number,
            parent=os.getpid(),
            session_dir=config.session_dir,
            store_dir=config.store_dir,
            node_id=config.node_id,
            secret=config.secret,
            agent=self.address,
            tcp_host=config.tcp_host,
            sys_path=config.sys_path,
            cwd=config.cwd,
            env=config.env + shape.environment,
            threads=shape.threads,
            gpus=shape.gpus,
            entry=config.entry,
        )

    def _fork(self, shape: Shape) -> Record:
        if self._loop is None or self._closed is not None:
            raise RaySystemError("the node is not running")
        if self._link is None:  # the last one died before it was up
            self.start_template()
            self._attach()
        assert self._link is not None
        executor = Record(next(self._numbers), shape, self._loop.create_future())
        self._executors[executor.number] = executor
        self._link.send(frames.FORK, self._boot(executor.number, shape).pack())
        limit = self._loop.call_later(
            _START_LIMIT, self._kill, executor, f"it was not ready after {_START_LIMIT:.0f} s"
        )
        executor.ready.add_done_callback(lambda _: limit.cancel())
        return executor

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

    def _send(self, executor: Record, message: Message) -> None:
        """Before the executor is connected messages wait, in order."""
        if executor.connection is None:
            executor.early.append(message)
        else:
            with self.reactor.lock:
                executor.connection.send(message)

    def _kill(self, executor: Record, reason: str) -> None:
        executor.killed = executor.killed or reason
        self._pool.discard(executor.number)
        if self._link is not None:
            self._link.send(frames.KILL, executor.number, signal.SIGKILL.value)

    def _retire(self, executor: Record) -> None:
        executor.retired = True
        self._send(executor, (messages.RETIRE,))

    def _now(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    def _plan_expiry(self) -> None:
        if self._expiry is None and self._loop is not None and (when := self._pool.next_expiry()) is not None:
            self._expiry = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        for number in self._pool.expire(self._now()):
            self._retire(self._executors[number])
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
            for each in self._executors.values()
            if each.pid and each.status is None
        ]

    def _out_of_memory(self, chosen: Candidate, reason: str) -> None:
        executor = self._executors[chosen.number]
        logger.warning("ending process %d: %s", chosen.pid, reason)
        if executor.lease is None and executor.usable:
            self._pool.discard(executor.number)
            self._retire(executor)  # what it owns may still be needed
        else:
            executor.memory = executor.killed is None
            self._kill(executor, reason)

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
                self._is_ready(connection, message)
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

    def _is_ready(self, connection: Connection, message: Message) -> None:
        _, number, pid, address = message
        executor = self._executors.get(number)
        if executor is None or executor.address is not None or executor.pid not in (0, pid):
            connection.close()  # of another template's time, or a fork of user code that believes it is an executor
            return
        executor.pid = pid
        executor.address = Address(*address)
        executor.process = executor.address.process
        executor.connection = connection
        self._processes[executor.process] = executor
        connection.context = executor
        connection.on_close = self._channel_ended
        early, executor.early = executor.early, []
        for each in early:
            connection.send(each)
        if not executor.ready.done():
            executor.ready.set_result(executor.address)

    def _channel_ended(self, connection: Connection, error: BaseException | None) -> None:
        executor: Record = connection.context
        if executor.status is not None:
            self._finish(executor)
            return
        self._pool.discard(executor.number)
        assert self._loop is not None
        delay = _LEAVING_GRACE if executor.leaving is not None else _GRACE
        self._loop.call_later(delay, self._kill_if_there, executor)

    def _kill_if_there(self, executor: Record) -> None:
        if executor.status is None:
            self._kill(executor, "it closed its channel to the node agent")

    # -- what the template says ------------------------------------------------------------------------------

    def _attach(self) -> None:
        assert self._link is not None and self._loop is not None
        self._link.attach(self._loop, self._told, self._template_gone)

    def _told(self, message: Message) -> None:
        if self._closed is not None:
            return
        kind = message[0]
        if kind == frames.STARTED:
            self._link_up = True
            return
        executor = self._executors.get(message[1])
        if executor is None:
            return
        if kind == frames.FORKED:
            executor.pid = message[2]
        elif kind == frames.REFUSED:
            self._forget(executor)
            self._fail_start(executor, ("exit", f"cannot start a process: {message[2]}", 0, 0, ""))
        elif kind == frames.EXITED:
            self._exited(executor, message[2])

    def _exited(self, executor: Record, status: int) -> None:
        executor.status = status
        self._pool.discard(executor.number)
        if executor.connection is None or executor.connection.closed:
            self._finish(executor)
        else:
            assert self._loop is not None
            self._loop.call_later(_GRACE, self._finish, executor)

    def _finish(self, executor: Record) -> None:
        """Both witnesses have spoken, or had their time."""
        if executor.number not in self._executors:
            return
        self._forget(executor)
        self._upkeep.executor_ended()
        path = self._boot(executor.number, executor.shape).log_path
        tail = tail_of(path + STREAMS[1], answered_of(path))
        rest = rest_of(path)
        if rest:
            self.on_output(executor.served, executor.pid, rest)
        for left in (
            *(path + suffix for suffix in SUFFIXES),
            executor.address.unix if executor.address else "",
        ):
            try:
                os.unlink(left)
            except OSError:
                pass
        self._report(executor, executor.loss(tail))
        self.owner_gone(executor.process, driver=False)

    def owner_gone(self, process: bytes, driver: bool) -> None:
        """A process is dead, here or on another node: what large objects it has here go, unless somebody takes them over."""
        if self._closed is None and self._estates is not None:
            self._estates.owner_gone(process, driver)

    def _forget(self, executor: Record) -> None:
        self._executors.pop(executor.number, None)
        self._processes.pop(executor.process, None)
        self._pool.discard(executor.number)
        if executor.lease is not None:
            self._leases.pop(executor.lease, None)
        if executor.connection is not None:
            with self.reactor.lock:
                executor.connection.close()

    def _report(self, executor: Record, loss: Loss) -> None:
        if executor.ready.done():
            self.on_exit(executor.lease, executor.process, loss)
        else:
            self._fail_start(executor, loss)

    def _fail_start(self, executor: Record, loss: Loss) -> None:
        if not executor.ready.done():
            executor.ready.set_exception(StartError(loss))
            executor.ready.exception()  # seen: nobody may be waiting any more

    def _template_gone(self) -> None:
        """Its executors go with it; the kernel sees to that."""
        link, was_up, self._link = self._link, self._link_up, None
        assert link is not None
        link.bury()
        if self._closed is not None:
            self._closed.set()
            return
        self._step()  # what they still said
        tail = tail_of(link.boot.log_path)
        text = f"the node's template process ended\n{tail}".strip()
        lost = list(self._executors.values())
        # A template that never came up will not do so the next time either: wait for the next lease.
        if was_up:
            try:
                self.start_template()
                self._attach()
            except OSError:
                logger.exception("the node's template process ended and cannot be started again now")
        for executor in lost:
            self._forget(executor)
            self._report(executor, ("signal", "SIGKILL", executor.pid, signal.SIGKILL.value, text))
