"""A node's executors as processes: how they start, and how it is known that one has ended, and why.

Nothing is forked here: a process with threads must not, and a template that only waits can clean up whatever happens here.

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
import signal
from collections.abc import Callable

from nbray.channel.connection import Connection
from nbray.channel.reactor import Reactor
from nbray.core.ids import Address
from nbray.core.messages import Loss, Message
from nbray.exceptions import RaySystemError
from nbray.executor import boot as frames
from nbray.executor.boot import Boot
from nbray.executor.loss import tail_of
from nbray.executor.node_config import NodeConfig, StartError
from nbray.executor.outlet import STREAMS, SUFFIXES, Rest, answered_of, rest_of
from nbray.executor.pool import Shape
from nbray.executor.record import Record
from nbray.executor.template_link import TemplateLink

logger = logging.getLogger("nbray.node")

#: Seconds that the second witness of an executor's end has after the first.
_GRACE = 0.5
#: Seconds from the wish for an executor until it must be ready.
_START_LIMIT = 60.0
#: Seconds between an executor's LEAVING and the end of its patience.
_LEAVING_GRACE = 5.0
#: Seconds the template has to end everything when the node closes.
_CLOSING_GRACE = 1.5


class Processes:
    """On the loop that ``attach`` was called on, but for ``start_template``.

    Args:
        reactor: the node agent's sockets. serve: reads what they hold.
        unusable: called with an executor that can serve no other lease from here on.
        ended: called with an executor that is gone, why, and what it had printed last. Not after ``close``.

    Attributes:
        by_number: all of them, from the wish for one until its end.
        by_process: those that have been ready.
    """

    def __init__(
        self,
        config: NodeConfig,
        reactor: Reactor,
        serve: Callable[[], None],
        unusable: Callable[[Record], None],
        ended: Callable[[Record, Loss, list[Rest]], None],
    ) -> None:
        self.by_number: dict[int, Record] = {}
        self.by_process: dict[bytes, Record] = {}
        self._config = config
        self._reactor = reactor
        self._serve = serve
        self._unusable = unusable
        self._ended = ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: TemplateLink | None = None
        self._link_up = False
        self._numbers = itertools.count(1)
        self._closed: asyncio.Event | None = None

    # -- the template ----------------------------------------------------------------------------------------

    def start_template(self) -> None:
        """See ``Node.start_template``."""
        os.makedirs(self._config.session_dir, mode=0o700, exist_ok=True)
        os.makedirs(f"{self._config.session_dir}/log", exist_ok=True)
        self._link_up = False
        self._link = TemplateLink(self._boot(0, Shape((), 1)))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear the template, which is started if it is not there."""
        self._loop = loop
        if self._link is None:
            self.start_template()
        assert self._link is not None
        self._link.attach(loop, self._told, self._template_gone)

    def _told(self, message: Message) -> None:
        if self._closed is not None:
            return
        kind = message[0]
        if kind == frames.STARTED:
            self._link_up = True
            return
        executor = self.by_number.get(message[1])
        if executor is None:
            return
        if kind == frames.FORKED:
            executor.pid = message[2]
        elif kind == frames.REFUSED:
            self._end(executor, ("exit", f"cannot start a process: {message[2]}", 0, 0, ""))
        elif kind == frames.EXITED:
            self._exited(executor, message[2])

    def _template_gone(self) -> None:
        """Its executors go with it; the kernel sees to that."""
        link, was_up, self._link = self._link, self._link_up, None
        assert link is not None and self._loop is not None
        link.bury()
        if self._closed is not None:
            self._closed.set()
            return
        self._serve()  # what they still said
        tail = tail_of(link.boot.log_path)
        text = f"the node's template process {link.reason or 'ended'}\n{tail}".strip()
        lost = list(self.by_number.values())
        # A template that never came up will not do so the next time either: wait for the next lease.
        if was_up:
            try:
                self.attach(self._loop)
            except OSError:
                logger.exception("the node's template process ended and cannot be started again now")
        for executor in lost:
            self._end(executor, ("signal", "SIGKILL", executor.pid, signal.SIGKILL.value, text))

    async def close(self) -> None:
        """End all of them, within ``_CLOSING_GRACE`` seconds. Then call ``bury``."""
        self._closed = asyncio.Event()
        if self._link is not None:
            if self._loop is None:  # never started
                self.attach(asyncio.get_running_loop())
            self._link.dismiss()
            try:
                await asyncio.wait_for(self._closed.wait(), _CLOSING_GRACE)
            except TimeoutError:
                self._link.bury()

    def bury(self) -> None:
        """Whoever waits for an executor hears that there will be none."""
        for executor in list(self.by_number.values()):
            self._forget(executor)
            killed = signal.SIGKILL.value
            _fail_start(executor, ("killed", "the node was closed", executor.pid, killed, ""))

    # -- one executor ----------------------------------------------------------------------------------------

    def _boot(self, number: int, shape: Shape) -> Boot:
        config = self._config
        return Boot(
            number=number,
            parent=os.getpid(),
            session_dir=config.session_dir,
            store_dir=config.store_dir,
            node_id=config.node_id,
            secret=config.secret,
            agent=self._reactor.address,
            tcp_host=config.tcp_host,
            sys_path=config.sys_path,
            cwd=config.cwd,
            env=config.env + shape.environment,
            handed_on=shape.environment,
            threads=shape.threads,
            gpus=shape.gpus,
            entry=config.entry,
        )

    def fork(self, shape: Shape) -> Record:
        """A new executor, which is not up yet; ``Record.ready`` tells.

        Raises:
            RaySystemError: the node is not running.
        """
        if self._loop is None or self._closed is not None:
            raise RaySystemError("the node is not running")
        if self._link is None:  # the last one died before it was up
            self.attach(self._loop)
        assert self._link is not None
        executor = Record(next(self._numbers), shape, self._loop.create_future())
        self.by_number[executor.number] = executor
        self._link.send(frames.FORK, self._boot(executor.number, shape).pack())
        limit = self._loop.call_later(
            _START_LIMIT, self.kill, executor, f"it was not ready after {_START_LIMIT:.0f} s"
        )
        executor.ready.add_done_callback(lambda _: limit.cancel())
        return executor

    def is_ready(self, connection: Connection, message: Message) -> None:
        """READY"""
        _, number, pid, address = message
        executor = self.by_number.get(number)
        if executor is None or executor.address is not None or executor.pid not in (0, pid):
            connection.close()  # of another template's time, or a fork of user code that believes it is an executor
            return
        executor.pid = pid
        executor.address = Address(*address)
        executor.process = executor.address.process
        executor.connection = connection
        self.by_process[executor.process] = executor
        connection.context = executor
        connection.on_close = self._channel_ended
        early, executor.early = executor.early, []
        for each in early:
            connection.send(each)
        if not executor.ready.done():
            executor.ready.set_result(executor.address)

    def send(self, executor: Record, message: Message) -> None:
        """Before the executor is connected messages wait, in order."""
        if executor.connection is None:
            executor.early.append(message)
        else:
            with self._reactor.lock:
                executor.connection.send(message)

    def kill(self, executor: Record, reason: str) -> None:
        """SIGKILL, by the template."""
        executor.killed = executor.killed or reason
        self._unusable(executor)
        if self._link is not None:
            self._link.send(frames.KILL, executor.number, signal.SIGKILL.value)

    # -- its end ---------------------------------------------------------------------------------------------

    def _channel_ended(self, connection: Connection, error: BaseException | None) -> None:
        executor: Record = connection.context
        if executor.status is not None:
            self._finish(executor)
            return
        self._unusable(executor)
        assert self._loop is not None
        delay = _LEAVING_GRACE if executor.leaving is not None else _GRACE
        self._loop.call_later(delay, self._kill_if_there, executor)

    def _kill_if_there(self, executor: Record) -> None:
        if executor.status is None:
            self.kill(executor, "it closed its channel to the node agent")

    def _exited(self, executor: Record, status: int) -> None:
        executor.status = status
        self._unusable(executor)
        if executor.connection is None or executor.connection.closed:
            self._finish(executor)
        else:
            assert self._loop is not None
            self._loop.call_later(_GRACE, self._finish, executor)

    def _finish(self, executor: Record) -> None:
        """Both witnesses have spoken, or had their time."""
        if executor.number in self.by_number:
            path = self._boot(executor.number, executor.shape).log_path
            self._end(executor, executor.loss(tail_of(path + STREAMS[1], answered_of(path))))

    def _end(self, executor: Record, loss: Loss) -> None:
        self._forget(executor)
        path = self._boot(executor.number, executor.shape).log_path
        rest = rest_of(path)
        for left in (
            *(path + suffix for suffix in SUFFIXES),
            executor.address.unix if executor.address else "",
        ):
            try:
                os.unlink(left)
            except OSError:
                pass
        self._ended(executor, loss, rest)
        _fail_start(executor, loss)

    def _forget(self, executor: Record) -> None:
        self.by_number.pop(executor.number, None)
        self.by_process.pop(executor.process, None)
        self._unusable(executor)
        if executor.connection is not None:
            with self._reactor.lock:
                executor.connection.close()


def _fail_start(executor: Record, loss: Loss) -> None:
    """Whoever waits for it hears why it will never be ready."""
    if not executor.ready.done():
        executor.ready.set_exception(StartError(loss))
        executor.ready.exception()  # seen: nobody may be waiting any more
