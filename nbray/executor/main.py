"""An executor: a lane or an actor. Its main thread reads calls, runs user code, and answers each call before the next.

While user code runs for long, the background thread of ``channel/leader.py`` serves the sockets: it takes calls in, gives
queued ones back, answers for what this process owns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from types import GeneratorType
from typing import Any, NoReturn

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import new_process_id
from nbray.core.messages import Message, WireValue
from nbray.core.ownership import Entry
from nbray.exceptions import TaskCancelledError
from nbray.executor import crash_points, forks
from nbray.executor.actor_host import become
from nbray.executor.actor_methods import ActorExit
from nbray.executor.behalf import Behalf
from nbray.executor.boot import Boot
from nbray.executor.cancelling import Cancelling
from nbray.executor.deadlines import Deadlines
from nbray.executor.drawing import Broken, draw
from nbray.executor.intake import Intake
from nbray.executor.leaving import DELIVERY_LOOK, exit_code, exit_process, leave
from nbray.executor.limits import Limits
from nbray.executor.running import ArgumentLost, Caller, Current, Runner, current, enter, running_call
from nbray.executor.upstream import Upstream
from nbray.owner.origin import follow
from nbray.owner.owner import Owner

#: What comes of an interrupt: itself, what a ``get`` in the task makes of it, or a handler's ``sys.exit``.
_INTERRUPTED = (KeyboardInterrupt, TaskCancelledError, SystemExit)


class Executor:
    """
    Args:
        boot: who we are. entry_type: the public ``ObjectRef``.
        started: called with this executor before any user code runs.
    """

    def __init__(self, boot: Boot, entry_type: type[Entry], started: Callable[[Executor], None]) -> None:
        self.boot = boot
        self.lease: int | None = None
        #: What the lease or the actor has, in units.
        self.resources: Iterable[tuple[str, int]] = ()
        self.last_lease = -1
        self.retiring = False
        #: This process ends itself: what runs goes on to its end, what has not started does not run.
        self.exiting = False
        self._exit_code = 0
        #: Sends an answer; not under the lock.
        self.reply = self._reply
        #: The task has lent the lease, and waits.
        self.waits = False
        self.actor_id: bytes = b""
        self.epoch = 0
        self.class_name = self.class_path = self.actor_name = ""
        #: What names this actor before its lines.
        self.label = ""
        #: Of the actor that this is, as ``owner/creating.py`` packs it.
        self.handle = b""
        self.intake = Intake(self)
        self.cancelling = Cancelling(self)
        self.deadlines = Deadlines(self)
        self.limits = Limits(self)
        self.owner = Owner(
            process=new_process_id(),
            node=boot.node_id,
            secret=boot.secret,
            store_dir=boot.store_dir,
            socket_path=f"{boot.session_dir}/e{boot.number}",
            tcp_host=boot.tcp_host,
            entry_type=entry_type,
            send_up=self._send_up,
            serve=boot.agent,
            environment=boot.handed_on,
        )
        owner = self.owner
        self.runner = Runner(owner)
        self.upstream = Upstream(self, boot.log_path)
        owner.reloads = lambda: self.runner.reloading.known
        follow(running_call)
        owner.on_flush = self.upstream.share_events
        owner.current_lease = lambda: self.lease
        owner.reported = self.upstream.pass_reports
        self.behalf = Behalf(self)
        owner.console.output = self.upstream.pass_on
        owner.peers.handlers.update(
            {
                m.ATTACH: self.intake.attach,
                m.ATTACH_ACTOR: self.intake.attach_actor,
                m.FUNCTION: self.intake.function,
                m.CALLS: self.intake.calls,
                m.RECALL: self.intake.recall,
                m.CANCEL: self.cancelling.asked,
                m.TAKEN: self.runner.generators.taken,
                m.CLOSE: self.runner.generators.close,
            }
        )
        self._control_handlers: dict[int, Callable[..., None]] = {
            m.LEASE: self._leased,
            m.UNLEASE: self._unleased,
            m.HOST: self._host,
            m.DOWN: owner.notice_locked,
            m.RETIRE: self._retire,
        }
        started(self)
        forks.watch(owner.reactor)
        with owner.lock:
            self.control = owner.reactor.connect(boot.agent)
            self.control.on_message = self._controlled
            self.control.on_close = self._control_closed
            self.control.send((m.READY, boot.number, os.getpid(), tuple(owner.address)))

    @property
    def current(self) -> Current | None:
        """The call that the calling thread or asyncio task runs."""
        return current()

    def enter(self, call: Current) -> None:
        """The calling thread or asyncio task runs that call from here on."""
        enter(call)
        self.upstream.recent = call

    # -- control channel: under the lock -----------------------------------------------------------------------------

    def _send_up(self, message: Message) -> None:
        self.control.send((m.UP, message))

    def _controlled(self, connection: Connection, message: Message) -> None:
        self._control_handlers[message[0]](*message[1:])

    def _control_closed(self, connection: Connection, error: BaseException | None) -> None:
        os._exit(1)  # the node agent is gone, and with it everything that could use this process

    def _leased(self, lease: int, owner: bytes, resources: Any) -> None:
        self.lease, self.resources = lease, resources
        self.intake.leased()

    def _unleased(self, lease: int) -> None:
        if self.lease == lease:
            self.lease, self.last_lease = None, lease

    def _host(self, actor_id: bytes, epoch: int, creation: bytes, resources: Any) -> None:
        self.actor_id, self.epoch, self.resources = actor_id, epoch, resources
        self.intake.queue.append((None, [creation]))

    def _retire(self) -> None:
        self.retiring = True
        self.owner.reactor.wake()

    # -- the main thread ------------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Serve until retired."""
        queue = self.intake.queue
        lead = self.owner.lead

        def something() -> bool:
            return bool(queue) or self.retiring or self.exiting

        while True:
            lead.run_until(something)
            while queue and not self.exiting:
                try:
                    connection, slot = queue.popleft()
                except IndexError:  # called back in this moment
                    break
                if connection is None:
                    become(self, slot.pop())
                elif connection.context.epoch >= 0 or self._may_start(connection):
                    lead.ensure_background()
                    self.execute(connection, slot)
            self.cancelling.idle()
            if self.exiting:
                exit_process(self, self._exit_code)
            if self.retiring and not queue:
                leave(self)

    def exit_soon(self, error: BaseException | None = None) -> None:
        """User code ends this process. Any thread."""
        self._exit_code = exit_code(error)
        self.exiting = True
        self.owner.reactor.wake()

    def _may_start(self, connection: Connection) -> bool:
        """Wait until the answers of earlier tasks are on their way; False if the owner has let go of the lane.

        If this process dies in the next task, its owner must not believe that an earlier one has not run.
        """
        if connection.undelivered:

            def delivered() -> bool:
                return connection.closed or not connection.undelivered

            # TCP does not tell when it has sent the last of it.
            while not self.owner.lead.run_until(delivered, time.monotonic() + DELIVERY_LOOK):
                pass
        # If it is closed its owner counts the lane as lost, and runs elsewhere what had not started.
        return not connection.closed

    # -- one call -------------------------------------------------------------------------------------------------------

    def execute(self, connection: Connection, slot: list[Any]) -> None:
        """Run one call and answer it."""
        try:
            call = slot.pop()
        except IndexError:  # cancelled
            return
        sequence, number, payload, slots, returns, extra, _ = call
        caller: Caller = connection.context
        peer = connection.peer
        assert peer is not None
        name = caller.names.get(number) or f"{self.class_name}.{number}"
        running = Current(connection, call, peer.process, name)
        self.enter(running)
        runner = self.runner
        started = running.started = time.time()
        begun = time.perf_counter_ns()
        keep: list[Any] = []
        cancelling = self.cancelling
        try:
            try:
                if extra is not None and "timeout" in extra:
                    self.deadlines.start(running, extra["timeout"])
                cancelling.begin(running)
                function = runner.find(caller, number)
                if extra is not None and "max_calls" in extra:
                    self.limits.count(running, function, extra["max_calls"])
                if payload or slots:
                    args, kwargs = runner.arguments(payload, slots, keep)
                    result = function(*args, **kwargs)
                    del args, kwargs
                else:
                    result = function()
                if returns == m.STREAMING:
                    runner.generators.run(running, result)
                    result, returns = None, 1
                elif type(result) is GeneratorType and returns:
                    result = draw(result, returns, name)
            finally:
                if forks.forked:
                    forks.leave()
                # If the interrupt comes before this, it is the only one and caught below.
                cancelling.end(running)
            if running.canceled and self.actor_id and running.overdue is None:
                status, values = m.CANCELLED, runner.cancelled(running, None)
            else:
                status, values = m.OK, runner.results(result, returns, name, peer, sequence)
            del result
        except ArgumentLost as lost:
            status, values = m.LOST, [lost.args]
        except BaseException as error:
            items: list[Any] = []
            if type(error) is Broken:
                items, error = error.items, error.error
            cancelling.end(running)
            if running.overdue is not None and isinstance(error, _INTERRUPTED):
                status, values = m.FAILED, runner.overdue(running, error)
            elif running.canceled and isinstance(error, _INTERRUPTED):
                status, values = m.CANCELLED, runner.cancelled(running, error)
            elif isinstance(error, ActorExit | SystemExit):
                self.exit_soon(error)
                enter(None)
                return  # whoever called hears that this process has ended
            else:
                status, values = m.FAILED, [runner.failure(error, name, peer)]
                values += runner.results_before(items, name, peer, sequence)
            if not keep:  # it did not come to unpickling its arguments
                self.intake.refuse(call)
        if self.waits:
            self.behalf.ended(running)
        duration = (time.perf_counter_ns() - begun) // 1000
        if extra is None or "timeout" not in extra or self.deadlines.end(running):
            self.answer(running, status, values, duration, started)
        enter(None)

    def answer(
        self, call: Current, status: int, values: list[WireValue], duration: int, started: float
    ) -> None:
        """Send a call's result, after everything that has to be known before it."""
        owner = self.owner
        self.upstream.end_lines(call)
        waiting = owner.holding.unacknowledged()
        if waiting:
            self.runner.acknowledged(waiting)
        outlets = call.connection.context.outlets
        if outlets:
            outlets.pop(call.sequence, None)
        if self.limits.spent:
            self.limits.settle()
        self.reply(call.connection, (m.RESULT, call.sequence, status, values, duration, started))

    def _reply(self, connection: Connection, message: Message) -> None:
        with self.owner.lock:
            self.upstream.send_news(connection)
            connection.send(message)

    def hosted(self, failure: bytes | None) -> None:
        """Tell the node agent how ``__init__`` ended."""
        with self.owner.lock:
            self.control.send((m.HOSTED, self.actor_id, self.epoch, failure))


def run(boot: Boot, entry_type: type[Entry], started: Callable[[Executor], None]) -> NoReturn:
    """Be executor ``boot.number`` until the end of the process."""
    executor = Executor(boot, entry_type, started)
    if crash_points.VARIABLE in os.environ:
        crash_points.arm(executor)
    executor.run()
