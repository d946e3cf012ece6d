"""An executor: a lane or an actor. Its main thread reads calls, runs user code, and answers each call before the next.

While user code runs for long, the background thread of ``channel/leader.py`` serves the sockets: it takes calls in, gives
queued ones back, answers for what this process owns.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.explaining import Activity, Ref, Running
from nbray.core.ids import Address, new_process_id
from nbray.core.messages import Message, WireValue
from nbray.core.ownership import Entry
from nbray.exceptions import TaskCancelledError
from nbray.executor import copies, crash_points
from nbray.executor.actor_host import become
from nbray.executor.actor_methods import ActorExit
from nbray.executor.boot import Boot
from nbray.executor.cancelling import Cancelling
from nbray.executor.deadlines import Deadlines
from nbray.executor.limits import Limits
from nbray.executor.running import ArgumentLost, Caller, Current, Runner, current, enter, running_call
from nbray.executor.upstream import Upstream
from nbray.owner.origin import follow
from nbray.owner.owner import Owner

#: Seconds between two looks whether TCP has passed on what was answered, where it had no room at first.
_DELIVERY_LOOK = 0.005
#: Seconds for which an actor that ends itself waits for its last answers to be taken.
_EXIT_LIMIT = 2.0


class Executor:
    """
    Args:
        boot: who we are. entry_type: the public ``ObjectRef``.
        started: called with this executor before any user code runs.
    """

    def __init__(self, boot: Boot, entry_type: type[Entry], started: Callable[[Executor], None]) -> None:
        self.boot = boot
        #: Who sent it, and a list with the call: whoever takes it out of there has it. Without a connection: a creation.
        self.queue: deque[tuple[Connection | None, list[Any]]] = deque()
        #: All of them that nobody has taken yet.
        self.waiting: Callable[[], Iterable[tuple[Connection | None, list[Any]]]] = self.queue.copy
        self.lease: int | None = None
        #: What the lease or the actor has, in units.
        self.resources: Iterable[tuple[str, int]] = ()
        self._last_lease = -1
        self._early: list[tuple[Connection, Message]] = []
        self.retiring = False
        #: This actor ends itself: what runs goes on to its end, what has not started does not run.
        self.exiting = False
        #: Called under the lock when calls have come, where the main thread does not run them itself.
        self.on_calls: Callable[[], None] | None = None
        #: Sends an answer; not under the lock.
        self.reply = self._reply
        self._waits = False
        self.actor_id: bytes = b""
        self.epoch = 0
        self.class_name = self.class_path = self.actor_name = ""
        #: Of the actor that this is, as ``owner/actors.py`` packs it.
        self.handle = b""
        self._main = threading.get_ident()
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
        )
        owner = self.owner
        self.runner = Runner(owner)
        self.upstream = Upstream(self, boot.log_path)
        owner.reloads = lambda: self.runner.reloading.known
        follow(running_call)
        owner.waiting.on_block, owner.waiting.on_unblock = self._blocked, self._unblocked
        owner.on_flush = self.upstream.share_events
        owner.cause = self._cause
        owner.current_name = self._current_name
        owner.copies.caller = self._caller
        owner.current_lease = lambda: self.lease
        owner.activity = self._activity
        owner.reported = self.upstream.pass_reports
        self.inquiry = owner.inquiry  # imported before the fork
        owner.console.output = self.upstream.pass_on
        owner.peers.handlers.update(
            {
                m.ATTACH: self._attach,
                m.ATTACH_ACTOR: self._attach_actor,
                m.FUNCTION: self._function,
                m.CALLS: self._calls,
                m.RECALL: self._recall,
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
        copies.watch(owner.reactor)
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
        early, self._early = self._early, []
        for connection, message in early:
            if not connection.closed:
                self._calls(connection, message)

    def _unleased(self, lease: int) -> None:
        if self.lease == lease:
            self.lease, self._last_lease = None, lease

    def _host(self, actor_id: bytes, epoch: int, creation: bytes, resources: Any) -> None:
        self.actor_id, self.epoch, self.resources = actor_id, epoch, resources
        self.queue.append((None, [creation]))

    def _retire(self) -> None:
        self.retiring = True
        self.owner.reactor.wake()

    # -- calls: under the lock -----------------------------------------------------------------------------------------

    def _attach(self, connection: Connection, message: Message) -> None:
        caller = connection.context = Caller()
        caller.lease = message[1]
        self.upstream.callers.append(connection)
        self.owner.job, self.owner.namespace = message[2:]

    def _attach_actor(self, connection: Connection, message: Message) -> None:
        caller = connection.context = Caller()
        if message[1] != self.actor_id or message[2] != self.epoch:
            connection.close()  # somebody who looks for an earlier incarnation
            return
        caller.epoch = message[2]
        self.upstream.callers.append(connection)

    def _function(self, connection: Connection, message: Message) -> None:
        _, number, blob, name, reloads = message
        connection.context.functions[number] = (blob, reloads)
        connection.context.names[number] = name

    def _calls(self, connection: Connection, message: Message) -> None:
        caller = connection.context
        if caller.epoch < 0 and caller.lease != self.lease:
            if caller.lease > (self.lease or self._last_lease):
                # Granted and used before the node agent's word has come over the other socket.
                self._early.append((connection, message))
            else:
                connection.close()  # the lease is over: its owner hears it as a lost lane, and runs them elsewhere
            return
        if self.limits.spent:
            self.limits.refuse(connection, message[1])
            return
        for call in message[1]:
            if call[4] == m.STREAMING:
                self.runner.generators.expect(connection, call[0], call[5])
        slots = [[call] for call in message[1]]
        self.cancelling.arrived(connection, slots)
        self.queue.extend([(connection, slot) for slot in slots])
        if self.on_calls is not None:
            self.on_calls()

    def _recall(self, connection: Connection, message: Message) -> None:
        connection.send((m.RETURNED, self.take_back(connection, message[1]), self._waits))

    def take_back(self, connection: Connection, n: int | None = None) -> list[int]:
        """Up to ``n`` calls of that connection that have not started, the last first out of the queue. None: all of them."""
        queue = self.queue
        n = len(queue) if n is None else n
        back: list[int] = []
        others: list[Any] = []
        while queue and len(back) < n:
            try:
                item = queue.pop()
            except IndexError:  # the main thread was quicker
                break
            if item[0] is connection:
                try:
                    call = item[1].pop()
                except IndexError:  # cancelled
                    continue
                back.append(call[0])
                connection.context.outlets.pop(call[0], None)
                self.refuse(call)
            else:
                others.append(item)
        queue.extend(reversed(others))
        back.reverse()
        return back

    def early(self, connection: Connection, sequence: int) -> list[Any]:
        """A list with that call, out of what came before its lease; else an empty one."""
        for sender, message in self._early:
            if sender is connection:
                for position, call in enumerate(message[1]):
                    if call[0] == sequence:
                        return [message[1].pop(position)]
        return []

    def refuse(self, call: Any) -> None:
        """A call goes back unrun: so do the holds that its owner counted for us."""
        self.owner.passing.import_value(call[2], own=False)
        for _, value in call[3]:
            self.owner.passing.import_value(value, own=False)

    # -- blocking in user code ------------------------------------------------------------------------------------------

    def _blocked(self, awaited: Sequence[Entry], deadline: float | None) -> None:
        call = current()
        if call is not None:
            call.awaits = awaited
        if self.lease is None or call is None or threading.get_ident() != self._main or self.actor_id:
            return
        with self.owner.lock:
            self._waits = True
            back = self.take_back(call.connection)
            call.connection.send((m.RETURNED, back, True))
            names, certain = self.inquiry.names(awaited)
            self._send_up(("lend", self.lease, call.name, names, certain and deadline is None))

    def _unblocked(self) -> None:
        call = current()
        if call is not None:
            call.awaits = None
        if self.lease is None or call is None or threading.get_ident() != self._main or self.actor_id:
            return
        with self.owner.lock:
            self._waits = False
            self._send_up(("unlend", self.lease))
            call.connection.send((m.RETURNED, (), False))

    def _caller(self) -> Address | None:
        call = current()
        return call.connection.peer if call is not None else None

    def _cause(self) -> tuple[bytes, str]:
        call = current()
        return (call.task_id, call.origin) if call is not None else (b"", self.upstream.origin)

    def _activity(self) -> Activity:
        now = time.time()
        running = tuple(
            Running(
                call.task_id,
                call.name,
                max(now - call.started, 0.0) if call.started else 0.0,
                self._awaits(call),
            )
            for call in self.cancelling.under_way()
        )
        beginning = bool(self.class_name) and self.runner.instance is None
        return Activity(
            os.getpid(), self.class_name, beginning, running, sum(len(slot) for _, slot in self.waiting())
        )

    def _awaits(self, call: Current) -> tuple[Ref, ...] | None:
        awaited = call.awaits
        if awaited is None and call.on_cancel is not None:
            # A coroutine says nobody that it waits; what it has submitted and has not got is what it can be waiting for.
            awaited = self.inquiry.submitted(call.task_id) or None
        return None if awaited is None else self.inquiry.refs(awaited)

    def _current_name(self) -> str:
        call = current()
        return call.name if call is not None else self.class_name

    # -- the main thread ------------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Serve until retired."""
        queue = self.queue
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
                self._exit_actor()
            if self.retiring and not queue:
                self._leave()

    def exit_soon(self) -> None:
        """This actor ends itself. Any thread."""
        self.exiting = True
        self.owner.reactor.wake()

    def _exit_actor(self) -> NoReturn:
        """Its callers hear the reason from placement."""
        owner = self.owner
        with owner.lock:
            self.control.send((m.LEAVING, m.EXIT_ACTOR))
            callers = owner.reactor.connections()

        def delivered() -> bool:
            return not any(caller.undelivered for caller in callers if not caller.closed)

        end = time.monotonic() + _EXIT_LIMIT
        while not owner.lead.run_until(delivered, time.monotonic() + _DELIVERY_LOOK):
            if time.monotonic() > end:
                break
        self.end(0)

    def _may_start(self, connection: Connection) -> bool:
        """Wait until the answers of earlier tasks are on their way; False if the owner has let go of the lane.

        If this process dies in the next task, its owner must not believe that an earlier one has not run.
        """

        if connection.undelivered:

            def delivered() -> bool:
                return connection.closed or not connection.undelivered

            # TCP does not tell when it has sent the last of it.
            while not self.owner.lead.run_until(delivered, time.monotonic() + _DELIVERY_LOOK):
                pass
        return (
            not connection.closed
        )  # its owner counts the lane as lost and runs elsewhere what had not started

    def _leave(self) -> None:
        """Go, once nobody needs what this process owns, or this process."""
        owner = self.owner

        def owes_nothing() -> bool:
            needed = self.lease is not None or owner.holds or owner.calls.under_way
            return not needed or bool(self.queue)

        if owner.lead.run_until(owes_nothing) and self.queue:
            return
        self.end(0)

    def end(self, code: int) -> NoReturn:
        """End this process as a Python program ends: finalizers and ``atexit`` run."""
        try:
            for last in (
                self._let_go,
                atexit._run_exitfuncs,
                self.upstream.end_lines,
                self.owner.flush,
            ):
                try:
                    last()
                except (
                    BaseException
                ):  # user code, or a stream that it put there: the others have their turn all the same
                    pass
        finally:
            os._exit(code)

    def leave_at_once(self, reason: str) -> NoReturn:
        """End this process on purpose, in the middle of a call."""
        self.control.send((m.LEAVING, reason))
        os._exit(1)

    def give_back(self, connection: Connection) -> None:
        """All calls that have not started go back to their owner. Under the lock."""
        connection.send((m.RETURNED, self.take_back(connection), True))

    def _let_go(self) -> None:
        self.runner.instance = None

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
            finally:
                if copies.copied:
                    copies.leave()
                cancelling.end(
                    running
                )  # if the interrupt comes before this, it is the only one and caught below
            if running.canceled and self.actor_id and running.overdue is None:
                status, values = m.CANCELLED, runner.cancelled(running, None)
            else:
                status, values = m.OK, runner.results(result, returns, name, peer, sequence)
            del result
        except ArgumentLost as lost:
            status, values = m.LOST, [lost.args]
        except ActorExit:
            self.exit_soon()
            enter(None)
            return  # whoever called hears that the actor is dead
        except BaseException as error:
            cancelling.end(running)
            if running.overdue is not None and isinstance(error, KeyboardInterrupt | TaskCancelledError):
                status, values = m.FAILED, runner.overdue(running, error)
            elif running.canceled and isinstance(error, KeyboardInterrupt | TaskCancelledError):
                status, values = m.CANCELLED, runner.cancelled(running, error)
            else:
                status, values = m.FAILED, [runner.failure(error, name, peer)]
            if not keep:  # it did not come to unpickling its arguments
                self.refuse(call)
        if self._waits:  # the interrupt came in the middle of saying that it does not any more
            self._unblocked()
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
