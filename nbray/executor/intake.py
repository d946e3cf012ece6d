"""The calls that an executor has and has not begun: how they come, wait, and go back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.messages import Message
from nbray.executor.running import Caller

if TYPE_CHECKING:
    from nbray.executor.main import Executor


class Intake:
    """Under the owner's lock. The thread that runs calls takes them out of the queue without it.

    Attributes:
        queue: who sent it, and a list with the call: whoever takes it out of there has it. Without a connection: a creation.
        waiting: answers all of them that nobody has taken yet.
        on_calls: called when calls have come, where the main thread does not run them itself.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.queue: deque[tuple[Connection | None, list[Any]]] = deque()
        self.waiting: Callable[[], Iterable[tuple[Connection | None, list[Any]]]] = self.queue.copy
        self.on_calls: Callable[[], None] | None = None
        self._early: list[tuple[Connection, Message]] = []

    def attach(self, connection: Connection, message: Message) -> None:
        """ATTACH"""
        caller = connection.context = Caller()
        caller.lease = message[1]
        self._executor.upstream.callers.append(connection)
        self._executor.owner.job, self._executor.owner.namespace = message[2:]

    def attach_actor(self, connection: Connection, message: Message) -> None:
        """ATTACH_ACTOR"""
        caller = connection.context = Caller()
        if message[1] != self._executor.actor_id or message[2] != self._executor.epoch:
            connection.close()  # somebody who looks for an earlier incarnation
            return
        caller.epoch = message[2]
        self._executor.upstream.callers.append(connection)

    def function(self, connection: Connection, message: Message) -> None:
        """FUNCTION"""
        _, number, blob, name, reloads = message
        connection.context.functions[number] = (blob, reloads)
        connection.context.names[number] = name

    def calls(self, connection: Connection, message: Message) -> None:
        """CALLS"""
        executor = self._executor
        caller = connection.context
        if caller.epoch < 0 and caller.lease != executor.lease:
            if caller.lease > (executor.lease or executor.last_lease):
                # Granted and used before the node agent's word has come over the other socket.
                self._early.append((connection, message))
            else:
                connection.close()  # the lease is over: its owner hears it as a lost lane, and runs them elsewhere
            return
        if executor.limits.spent:
            executor.limits.refuse(connection, message[1])
            return
        for call in message[1]:
            if call[4] == m.STREAMING:
                executor.runner.generators.expect(connection, call[0], call[5])
        slots = [[call] for call in message[1]]
        executor.cancelling.arrived(connection, slots)
        self.queue.extend([(connection, slot) for slot in slots])
        if self.on_calls is not None:
            self.on_calls()

    def leased(self) -> None:
        """The lease is here for which some calls have come before it."""
        early, self._early = self._early, []
        for connection, message in early:
            if not connection.closed:
                self.calls(connection, message)

    def recall(self, connection: Connection, message: Message) -> None:
        """RECALL"""
        connection.send((m.RETURNED, self.take_back(connection, message[1]), self._executor.waits))

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
        self._executor.owner.passing.import_value(call[2], own=False)
        for _, value in call[3]:
            self._executor.owner.passing.import_value(value, own=False)

    def give_back(self, connection: Connection) -> None:
        """All calls that have not started go back to their owner. Under the lock."""
        connection.send((m.RETURNED, self.take_back(connection), True))
