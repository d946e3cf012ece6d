"""Cancelling in the process that runs the call: an interrupt that reaches one attempt, and never the next call.

    asked       under the owner's lock, on any thread: CANCEL has come
    begin, end  the main thread, around what may be interrupted: unpickling a task's arguments and its user code
    signalled   the main thread, between two bytecodes: the handler of SIGINT

A signal says nothing of whom it is for, and may be late. So ``asked`` marks the call itself (``Current.canceled``), and the
handler raises only if the call that is current *then* is marked, once a call. The main thread alone sets and clears what is
current, and runs the handler: between its look and its raise nothing can change.

1. The call ends before the handler runs: nothing is current, or another call that is not marked. The signal is swallowed.
2. CANCEL comes when the main thread has taken the call out of the queue and it is not current yet: it is noted in ``_missed``,
   where ``begin`` looks. Both write first and look then, so one of them finds it.
3. CANCEL for a call in the queue: both it and the main thread take the call out of its one-element list; who gets it has it.
4. Two calls are cancelled within one signal's way: the second signal is sent only when the first one's handler has run
   (``_signalled``), which looks at what is current then.
5. Somebody else's SIGINT, say ``os.kill`` in user code: no signal of ours is on its way, so it is Python's KeyboardInterrupt.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.messages import Message
from nbray.executor.leaving import leave_at_once
from nbray.executor.running import Current, NeverBegan

if TYPE_CHECKING:
    import asyncio

    from nbray.executor.main import Executor

Key = tuple[Connection, int]

#: Calls that are kept in mind although they have probably run.
_REMEMBERED = 1000


class Cancelling:
    """
    Attributes:
        elsewhere: calls that run as asyncio tasks or on other threads, by connection and sequence number. Whoever runs them
            puts them here and takes them out.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._main = threading.get_ident()
        self._current: Current | None = None
        self.elsewhere: dict[Key, Current] = {}
        self._missed: dict[Key, tuple[bool, bool]] = {}
        self._queued: dict[Key, list[Any]] | None = None
        self._signalled = False
        #: One bound method, so that ``stand_before`` knows it again.
        self._handler = self.signalled
        signal.signal(signal.SIGINT, self._handler)

    # -- the thread that runs the call --------------------------------------------------------------------------------------

    def begin(self, call: Current) -> None:
        """From here on ``call`` may be interrupted.

        Raises:
            NeverBegan: it was cancelled on its way here.
        """
        if threading.get_ident() == self._main:
            self._executor.owner.interrupts.stand_before(self._handler)
            self._current = call
        else:
            self.elsewhere[call.connection, call.sequence] = call
        self.look(call)

    def look(self, call: Current) -> None:
        """A call starts.

        Raises:
            NeverBegan: it was cancelled on its way here.
        """
        if self._missed:
            how = self._missed.pop((call.connection, call.sequence), None)
            if how is not None:
                call.canceled = True
        if call.canceled:
            raise NeverBegan

    def end(self, call: Current) -> None:
        """From here on it may not."""
        if self._current is call:
            self._current = None
        else:
            self.elsewhere.pop((call.connection, call.sequence), None)

    def idle(self) -> None:
        """Between calls, with an empty queue: what is noted of calls is old."""
        self._queued = None
        self._missed.clear()

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT."""
        ours, self._signalled = self._signalled, False
        call = self._current
        if call is None:
            return
        if not ours:
            raise KeyboardInterrupt
        if call.canceled and not call.interrupted:
            call.interrupted = True
            raise KeyboardInterrupt

    # -- under the owner's lock -------------------------------------------------------------------------------------

    def asked(self, connection: Connection, message: Message) -> None:
        """CANCEL: a call that came on this connection."""
        _, sequence, force, recursive = message
        key = (connection, sequence)
        if self._take(key):
            connection.context.outlets.pop(sequence, None)
            connection.send((m.RESULT, sequence, m.CANCELLED, [], 0, 0.0))
        elif not self._reach(key, force, recursive):
            if len(self._missed) >= _REMEMBERED:  # a call that is on its way to its thread is among the last
                del self._missed[next(iter(self._missed))]
            self._missed[key] = (force, recursive)
            if self._reach(key, force, recursive):
                self._missed.pop(key, None)

    def _take(self, key: Key) -> bool:
        """Take a call out of the queue, or out of what came before its lease; False if it is not there (any more)."""
        queued = self._queued
        if queued is None:
            queued = self._queued = {}
            for connection, waiting in self._executor.intake.waiting():
                try:
                    if connection is not None:
                        queued[connection, waiting[0][0]] = waiting
                except IndexError:  # the main thread has just taken it
                    pass
        try:
            call = (queued.get(key) or self._executor.intake.early(*key)).pop()
        except IndexError:
            return False
        self._executor.intake.refuse(call)
        return True

    def arrived(self, connection: Connection, slots: list[list[Any]]) -> None:
        """More calls are in the queue."""
        queued = self._queued
        if queued is None:
            return
        if len(queued) > _REMEMBERED:  # most of them have run: it is made anew when it is needed
            self._queued = None
        else:
            queued.update({(connection, slot[0][0]): slot for slot in slots})

    def _reach(self, key: Key, force: bool, recursive: bool) -> bool:
        call = self._current
        if call is None or (call.connection, call.sequence) != key:
            call = self.elsewhere.get(key)
            if call is None:
                return False
        self.cancel(call, force, recursive)
        return True

    def under_way(self) -> list[Current]:
        """The calls that run here."""
        main, elsewhere = self._current, list(self.elsewhere.values())
        return elsewhere if main is None else [main, *elsewhere]

    def runs(self, call: Current) -> bool:
        """Whether the main thread is still in it."""
        return self._current is call

    def cancel(self, call: Current, force: bool, recursive: bool, interrupt: bool = False) -> None:
        """Cancel a call that runs, and with ``recursive`` what it has submitted. A method of an actor is interrupted only if
        ``interrupt`` says so."""
        call.canceled = True
        call.recursive = recursive
        if recursive:
            self._executor.owner.cancelling.children(call.task_id, force)
        if force:
            leave_at_once(self._executor, "a call was cancelled with force")
        elif call.task is not None:
            call.task.get_loop().call_soon_threadsafe(_cancel_task, call.task, call)
        elif not call.interrupted and not self._signalled and (interrupt or not self._executor.actor_id):
            self._signalled = True
            signal.pthread_kill(self._main, signal.SIGINT)


def _cancel_task(task: asyncio.Task[None], call: Current) -> None:
    """On its loop. A task that has not begun would not run at all, and never answer: it looks for itself."""
    if call.began:
        task.cancel()
