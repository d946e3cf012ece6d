"""An executor: a lane or an actor. Its main thread reads calls, runs user code, and answers each call before the next.

While user code runs for long, the background thread of ``channel/leader.py`` serves the sockets: it takes calls in, gives
queued ones back, answers for what this process owns.
"""

from __future__ import annotations

import atexit
import contextvars
import os
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address, ProcessId, new_process_id, object_id
from nbray.core.messages import Message, WireValue
from nbray.core.ownership import Entry, with_refs
from nbray.executor.boot import Boot
from nbray.executor.streams import Lines
from nbray.owner.owner import Owner
from nbray.owner.values import pickled
from nbray.wire.errors import dump_error

#: Seconds for which an answer waits until owners have acknowledged what the callee keeps.
_ACK_LIMIT = 60.0
#: Seconds between two messages with what this process' own calls came to.
_SHARE = 0.02


class Caller:
    """What came over one connection from an owner: its functions, and which lease or actor it speaks to."""

    __slots__ = ("functions", "names", "lease", "epoch")

    def __init__(self) -> None:
        self.functions: dict[Any, Any] = {}
        self.names: dict[Any, str] = {}
        self.lease = -1
        self.epoch = -1


class Current:
    """The call that a thread (or an asyncio task) runs."""

    __slots__ = ("connection", "sequence", "owner", "name")

    def __init__(self, connection: Connection, sequence: int, owner: bytes, name: str) -> None:
        self.connection = connection
        self.sequence = sequence
        self.owner = owner
        self.name = name

    @property
    def task_id(self) -> bytes:
        return object_id(ProcessId(self.owner), self.sequence)


#: What the running thread or asyncio task is doing.
_running: contextvars.ContextVar[Current | None] = contextvars.ContextVar("nbray_call", default=None)


class Executor:
    """
    Args:
        boot: who we are. entry_type: the public ``ObjectRef``.
        started: called with this executor before any user code runs.
    """

    def __init__(self, boot: Boot, entry_type: type[Entry], started: Callable[[Executor], None]) -> None:
        self.boot = boot
        self.queue: deque[tuple[Connection | None, Any]] = deque()
        self.lease: int | None = None
        self._last_lease = -1
        self._early: list[tuple[Connection, Message]] = []
        self.retiring = False
        self._waits = False
        self.instance: Any = None
        self.actor_id: bytes = b""
        self.epoch = 0
        self.class_name = ""
        self._main = threading.get_ident()
        self._pid = os.getpid()
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
        owner.on_block, owner.on_unblock = self._blocked, self._unblocked
        owner.on_flush = self._share_events
        owner.parent_task = self._parent_task
        owner.current_lease = lambda: self.lease
        owner.peers.output = self._pass_on
        owner.peers.handlers.update(
            {
                m.ATTACH: self._attach,
                m.ATTACH_ACTOR: self._attach_actor,
                m.FUNCTION: self._function,
                m.CALLS: self._calls,
                m.RECALL: self._recall,
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
        with owner.lock:
            self.control = owner.reactor.connect(boot.agent)
            self.control.on_message = self._controlled
            self.control.on_close = self._control_closed
            self.control.send((m.READY, boot.number, os.getpid(), tuple(owner.address)))
        self._last: Connection | None = None
        self._events_sent = 0
        self._unsaid: deque[Message] = deque()
        self._shared = 0.0
        self._out = Lines(1, self._print)
        self._err = Lines(2, self._print)
        sys.stdout, sys.stderr = self._out, self._err

    @property
    def current(self) -> Current | None:
        """The call that the calling thread or asyncio task runs."""
        return _running.get()

    def enter(self, current: Current) -> None:
        """The calling thread or asyncio task runs that call from here on."""
        _running.set(current)
        self._last = current.connection

    # -- control channel: under the lock -----------------------------------------------------------------------------

    def _send_up(self, message: Message) -> None:
        self.control.send((m.UP, message))

    def _controlled(self, connection: Connection, message: Message) -> None:
        self._control_handlers[message[0]](*message[1:])

    def _control_closed(self, connection: Connection, error: BaseException | None) -> None:
        os._exit(1)  # the node agent is gone, and with it everything that could use this process

    def _leased(self, lease: int, owner: bytes, environment: Any) -> None:
        self.lease = lease
        early, self._early = self._early, []
        for connection, message in early:
            if not connection.closed:
                self._calls(connection, message)

    def _unleased(self, lease: int) -> None:
        if self.lease == lease:
            self.lease, self._last_lease = None, lease

    def _host(self, actor_id: bytes, epoch: int, creation: bytes) -> None:
        self.actor_id, self.epoch = actor_id, epoch
        self.queue.append((None, creation))

    def _retire(self) -> None:
        self.retiring = True
        self.owner.reactor.wake()

    # -- calls: under the lock -----------------------------------------------------------------------------------------

    def _attach(self, connection: Connection, message: Message) -> None:
        caller = connection.context = Caller()
        caller.lease = message[1]
        self.owner.job, self.owner.namespace = message[2:]

    def _attach_actor(self, connection: Connection, message: Message) -> None:
        caller = connection.context = Caller()
        if message[1] != self.actor_id or message[2] != self.epoch:
            connection.close()  # somebody who looks for an earlier incarnation
            return
        caller.epoch = message[2]

    def _function(self, connection: Connection, message: Message) -> None:
        _, number, blob, name = message
        connection.context.functions[number] = (blob,)
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
        self.queue.extend([(connection, call) for call in message[1]])

    def _recall(self, connection: Connection, message: Message) -> None:
        connection.send((m.RETURNED, self._take_back(connection, message[1]), self._waits))

    def _take_back(self, connection: Connection, n: int) -> list[int]:
        """Up to ``n`` calls of that connection that have not started, the last first out of the queue."""
        queue = self.queue
        back: list[int] = []
        others: list[Any] = []
        while queue and len(back) < n:
            try:
                item = queue.pop()
            except IndexError:  # the main thread was quicker
                break
            if item[0] is connection:
                back.append(item[1][0])
                self._refuse(item[1])
            else:
                others.append(item)
        queue.extend(reversed(others))
        back.reverse()
        return back

    def _refuse(self, call: Any) -> None:
        """A call goes back unrun: so do the holds that its owner counted for us."""
        self.owner.import_value(call[2], own=False)
        for _, value in call[3]:
            self.owner.import_value(value, own=False)

    # -- blocking in user code ------------------------------------------------------------------------------------------

    def _blocked(self) -> None:
        current = self.current
        if self.lease is None or current is None or threading.get_ident() != self._main or self.actor_id:
            return
        with self.owner.lock:
            self._waits = True
            back = self._take_back(current.connection, len(self.queue))
            current.connection.send((m.RETURNED, back, True))
            self._send_up(("lend", self.lease))

    def _unblocked(self) -> None:
        current = self.current
        if self.lease is None or current is None or threading.get_ident() != self._main or self.actor_id:
            return
        with self.owner.lock:
            self._waits = False
            self._send_up(("unlend", self.lease))
            current.connection.send((m.RETURNED, (), False))

    def _parent_task(self) -> bytes:
        current = self.current
        return current.task_id if current is not None else b""

    # -- output and events ----------------------------------------------------------------------------------------------

    def _print(self, number: int, text: str) -> None:
        current = self.current
        who = current.name if current is not None else self.class_name
        self._send_output((m.OUTPUT, who, number, text, os.getpid()))

    def _pass_on(self, who: str, number: int, text: str, pid: int) -> None:
        """Output of a call that our user code submitted."""
        self._send_output((m.OUTPUT, who, number, text, pid))

    def _send_output(self, message: Message) -> None:
        if os.getpid() != self._pid:  # forked by user code: the connections are the parent's
            os.write(message[2], message[3].encode())
            return
        if self.owner.lock.held_here:  # a finalizer that prints, in the middle of a transition
            self._unsaid.append(message)
            return
        with self.owner.lock:
            target = self._upstream()
            if target is not None:
                target.send(message)
            else:
                os.write(message[2], message[3].encode())

    def _upstream(self) -> Connection | None:
        current = self.current
        if current is not None and not current.connection.closed:
            self._last = current.connection
        last = self._last
        return last if last is not None and not last.closed else None

    def _share_events(self) -> None:
        """While a task runs or after it: fifty times a second at most, what it submitted is news for the views."""
        while self._unsaid:
            self._send_output(self._unsaid.popleft())
        now = time.monotonic()
        if self.owner.feed.end != self._events_sent and now - self._shared >= _SHARE:
            self._shared = now
            with self.owner.lock:
                target = self._upstream()
                if target is not None:
                    self.send_events(target)

    def send_events(self, connection: Connection) -> None:
        """What this process submitted itself, to its caller's feed, and so on up to the driver. Under the lock."""
        raws, self._events_sent = self.owner.feed.raw_since(self._events_sent)
        if raws:
            connection.send((m.EVENTS, raws))
            self.owner.feed.trim()

    # -- the main thread ------------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Serve until retired."""
        queue = self.queue
        lead = self.owner.lead

        def something() -> bool:
            return bool(queue) or self.retiring

        while True:
            lead.run_until(something)
            while queue:
                try:
                    connection, call = queue.popleft()
                except IndexError:  # called back in this moment
                    break
                if connection is None:
                    self._become(call)
                elif connection.closed and connection.context.epoch < 0:
                    pass  # its owner counts the lane as lost and runs elsewhere what had not started
                else:
                    lead.ensure_background()
                    self.execute(connection, call)
            if self.retiring and not queue:
                self._leave()

    def _leave(self) -> None:
        """Go, once nobody needs what this process owns."""
        owner = self.owner

        def owes_nothing() -> bool:
            return (not owner.holds and not owner.calls) or bool(self.queue)

        if owner.lead.run_until(owes_nothing) and self.queue:
            return
        self.end(0)

    def end(self, code: int) -> NoReturn:
        """End this process as a Python program ends: finalizers and ``atexit`` run."""
        self.instance = None
        try:
            atexit._run_exitfuncs()
        except BaseException:
            pass
        sys.stdout.flush()
        sys.stderr.flush()
        self.owner.flush()
        os._exit(code)

    # -- one call -------------------------------------------------------------------------------------------------------

    def execute(self, connection: Connection, call: Any) -> None:
        """Run one call and answer it."""
        sequence, number, payload, slots, returns = call
        caller: Caller = connection.context
        peer = connection.peer
        assert peer is not None
        name = caller.names.get(number) or f"{self.class_name}.{number}"
        current = Current(connection, sequence, peer.process, name)
        self.enter(current)
        started = time.time()
        begun = time.perf_counter_ns()
        keep: list[Any] = []
        try:
            function = self.find(caller, number)
            if payload or slots:
                args, kwargs = self.arguments(payload, slots, keep)
                result = function(*args, **kwargs)
                del args, kwargs
            else:
                result = function()
            status, values = m.OK, self.results(result, returns, name, peer, sequence)
            del result
        except BaseException as error:
            status, values = m.FAILED, [self.failure(error, name)]
        duration = (time.perf_counter_ns() - begun) // 1000
        self.answer(current, status, values, duration, started)
        _running.set(None)

    def find(self, caller: Caller, number: Any) -> Any:
        """The function or bound method that a call names."""
        if type(number) is str:
            return getattr(self.instance, number)
        function = caller.functions[number]
        if type(function) is tuple:
            with self.owner.lock:
                value, guard = self.owner.import_value(function[0], own=False)
            function = self.owner.values.load(value)
            caller.functions[number] = function
        return function

    def arguments(
        self, payload: WireValue, slots: Any, keep: list[Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` with the slots filled in; the entries of refs in them go to ``keep``."""
        owner = self.owner
        if type(payload) is not bytes or slots:
            with owner.lock:
                payload, guard = owner.import_value(payload, own=False)
                keep.append(guard)
                imported = []
                for key, value in slots:
                    value, guard = owner.import_value(value, own=False)
                    keep.append(guard)
                    imported.append((key, value))
        args, kwargs = owner.values.load(payload)
        if slots:
            filled = list(args)
            kwargs = kwargs or {}
            for key, value in imported:
                if type(key) is int:
                    filled[key] = owner.values.load(value)
                else:
                    kwargs[key] = owner.values.load(value)
            args = tuple(filled)
        return args, kwargs or {}

    def results(
        self, result: Any, returns: int, name: str, receiver: Address, sequence: int
    ) -> list[WireValue]:
        """Wire values for what a call returned; the receiver owns them as ``sequence`` and those after it."""
        if returns == 1:
            if result is None:
                return [_NONE]
            return [self._result(result, name, receiver, sequence)]
        if returns == 0:
            return []
        try:
            items = list(result)
        except TypeError:
            raise ValueError(
                f"{name} has num_returns={returns} but returned a {type(result).__name__}, which is not iterable"
            ) from None
        if len(items) != returns:
            raise ValueError(f"{name} has num_returns={returns} but returned {len(items)} values")
        return [self._result(item, name, receiver, sequence + i) for i, item in enumerate(items)]

    def _result(self, result: Any, name: str, receiver: Address, sequence: int) -> WireValue:
        dumped = pickled(result, f"the result of {name}")
        owner = self.owner
        if not dumped.buffers and not dumped.refs and len(dumped.pickle) < 65536:
            return dumped.pickle
        value, guard = owner.values.keep(dumped, object_id(ProcessId(receiver.process), sequence), own=False)
        if guard is not None and guard.contained:
            value = with_refs(value, self._export_result(guard.contained, receiver))
        return value

    def _export_result(self, entries: tuple[Entry, ...], receiver: Address) -> tuple[Any, ...]:
        """Wire refs whose holds the receiver has when it gets them: ours counted here, others' by their owners."""
        owner = self.owner
        requests = []
        held = set()
        with owner.lock:
            for entry in entries:
                if entry.owner is not None and type(entry.value) is not bytes:
                    requests.append(
                        owner.peers.ask_hold([(entry.id, receiver.process)], entry.owner, (entry,))
                    )
                    held.add(entry.id)
        if requests:
            self._acknowledged(requests)
        with owner.lock:
            return tuple(
                (oid, address, value, True) if oid in held and value is None else (oid, address, value, hold)
                for oid, address, value, hold in owner.export(entries, receiver.process)
            )

    def _acknowledged(self, requests: list[int]) -> None:
        peers = self.owner.peers
        self.owner.lead.run_until(
            lambda: all(map(peers.acknowledged, requests)), time.monotonic() + _ACK_LIMIT
        )

    def failure(self, error: BaseException, name: str) -> WireValue:
        return (m.ERROR, dump_error(error, name, os.getpid(), self.boot.node_id.hex()))

    def answer(
        self, current: Current, status: int, values: list[WireValue], duration: int, started: float
    ) -> None:
        """Send a call's result, after everything that has to be known before it."""
        owner = self.owner
        if self._out.pending:
            self._out.flush()
        if self._err.pending:
            self._err.flush()
        waiting = owner.peers.unacknowledged()
        if waiting:
            self._acknowledged(waiting)
        with owner.lock:
            if owner.feed.end != self._events_sent:
                self.send_events(current.connection)
            current.connection.send((m.RESULT, current.sequence, status, values, duration, started))

    # -- becoming an actor ----------------------------------------------------------------------------------------------

    def _become(self, creation: bytes) -> None:
        # It knows this file, so this file cannot know it at the top.
        from nbray.executor.actor_host import become

        become(self, creation)

    def hosted(self, failure: bytes | None) -> None:
        """Tell the node agent how ``__init__`` ended."""
        with self.owner.lock:
            self.control.send((m.HOSTED, self.actor_id, self.epoch, failure))


_NONE = pickle.dumps(None, 5)


def run(boot: Boot, entry_type: type[Entry], started: Callable[[Executor], None]) -> NoReturn:
    """Be executor ``boot.number`` until the end of the process."""
    executor = Executor(boot, entry_type, started)
    executor.run()
