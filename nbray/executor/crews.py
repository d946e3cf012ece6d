"""A threaded actor: its calls on threads of its process, several at a time.

The main thread, and whoever else polls, only hands calls out and sends answers off. A *crew* has the threads of one concurrency
group. Each takes the next call from the crew's queue, so calls start in the order in which they came.

Answers are gathered while more calls wait, because a message each, with sixteen threads that fight for the GIL at every
send, is four times as slow as one message for many. They never wait for user code: the first one gathered wakes
the main thread, and it sends all there are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core.messages import Message

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Answers that are sent by the thread that made the last of them.
_GATHER = 64


class Crew:
    """Up to ``size`` threads, started as they are needed, that run ``run(*item)`` for each item in turn."""

    def __init__(self, name: str, size: int, run: Callable[..., None], idle: Callable[[], None]) -> None:
        self.todo: deque[tuple[Any, Any]] = deque()
        self._name = name
        self._size = size
        self._run = run
        self._on_idle = idle
        self._started = 0
        self._gates: deque[threading.Lock] = (
            deque()
        )  # of the threads that wait for work, released to wake one

    def add(self, item: tuple[Any, Any]) -> None:
        """One more call. By one thread at a time."""
        self.todo.append(item)
        try:
            self._gates.pop().release()
        except IndexError:
            if self._started < self._size:
                self._started += 1
                name = f"nbray-{self._name}-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def at_rest(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self.todo and len(self._gates) == self._started

    def _work(self) -> None:
        gate = threading.Lock()
        gate.acquire()
        todo, gates = self.todo, self._gates
        while True:
            try:
                item = todo.popleft()
            except IndexError:
                gates.append(gate)
                if todo:
                    # It came between the two lines above: whoever added it may have missed our gate, or may release it.
                    try:
                        gates.remove(gate)
                    except ValueError:
                        gate.acquire()
                    continue
                self._on_idle()
                gate.acquire()
                continue
            self._run(*item)
            del item  # and with it the arguments, while this thread waits


class Crews:
    """
    Args:
        executor: whose instance is the actor.
        concurrency: threads for calls of no group. groups: threads by group.
    """

    def __init__(self, executor: Executor, concurrency: int, groups: Mapping[str, int]) -> None:
        self._executor = executor
        self._owner = executor.owner
        self._default = Crew("call", concurrency, self._run, self._idle)
        self._crews = {name: Crew(name, size, self._run, self._idle) for name, size in groups.items()}
        self._all = (self._default, *self._crews.values())
        self._answers: deque[tuple[Connection, Message]] = deque()
        self._woken = False  # somebody will flush who has not begun to

    def serve(self) -> None:
        """Hand out calls until the executor is to leave and all have ended. On the main thread."""
        executor, owner = self._executor, self._owner
        share = owner.on_flush

        def flush() -> None:
            self.flush()
            if share is not None:
                share()

        with owner.lock:
            executor.reply = self.gather
            owner.on_flush = flush
            executor.intake.on_calls = self.hand_out
            executor.intake.waiting = self.waiting
            self.hand_out()
        while True:
            owner.lead.run_until(lambda: self._ending and self.at_rest)
            with owner.lock:
                if self.at_rest:
                    executor.intake.on_calls = None
                    break
        self.flush()

    @property
    def _ending(self) -> bool:
        return self._executor.exiting or self._executor.retiring

    @property
    def at_rest(self) -> bool:
        return not self._executor.intake.queue and all(crew.at_rest for crew in self._all)

    def hand_out(self) -> None:
        """Give each call in the executor's queue to its crew. Under the lock."""
        queue, crews, default = self._executor.intake.queue, self._crews, self._default
        while queue:
            item = queue.popleft()
            extra = item[1][0][5]
            crew = default if extra is None or "group" not in extra else crews[extra["group"]]
            crew.add(item)

    def waiting(self) -> list[tuple[Any, Any]]:
        """The calls that no thread has taken."""
        return [item for crew in self._all for item in crew.todo.copy()]

    def _run(self, connection: Connection, slot: Any) -> None:
        if not self._executor.exiting:
            self._executor.execute(connection, slot)

    def gather(self, connection: Connection, message: Message) -> None:
        """An answer is to be sent."""
        answers = self._answers
        answers.append((connection, message))
        if len(answers) >= _GATHER or not any(crew.todo for crew in self._all):
            self.flush()
        elif not self._woken:
            self._woken = True
            self._owner.reactor.wake()

    def flush(self) -> None:
        """Send the answers that were gathered."""
        self._woken = False
        answers = self._answers
        if not answers:
            return
        with self._owner.lock:
            together: dict[Connection, list[Message]] = {}
            while answers:
                connection, message = answers.popleft()
                together.setdefault(connection, []).append(message)
            for connection, messages in together.items():
                self._executor.upstream.send_news(connection)
                connection.send(*messages)

    def _idle(self) -> None:
        if self._ending:
            self._owner.reactor.wake()
