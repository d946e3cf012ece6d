"""What a call has to say besides its result: lines that user code printed, and events; both go to whoever submitted the call."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.messages import Message
from nbray.executor.running import current
from nbray.executor.streams import Lines

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Seconds between two messages with what this process' own calls came to.
_SHARE = 0.02


class Upstream:
    """The way to the caller, and so on up to the driver. Replaces ``sys.stdout`` and ``sys.stderr``."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.owner = executor.owner
        self._pid = os.getpid()
        self.last: Connection | None = None
        self._events_sent = 0
        self._unsaid: deque[Message] = deque()
        self._shared = 0.0
        self.out = Lines(1, self._print)
        self.err = Lines(2, self._print)
        sys.stdout, sys.stderr = self.out, self.err

    def _print(self, number: int, text: str) -> None:
        running = current()
        who = running.name if running is not None else self._executor.class_name
        self._send_output((m.OUTPUT, who, number, text, os.getpid()))

    def pass_on(self, who: str, number: int, text: str, pid: int) -> None:
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
        running = current()
        if running is not None and not running.connection.closed:
            self.last = running.connection
        last = self.last
        return last if last is not None and not last.closed else None

    def share_events(self) -> None:
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

    def flush_lines(self) -> None:
        """Hand over what was printed without an end of line, before the call that printed it is answered."""
        if self.out.pending:
            self.out.flush()
        if self.err.pending:
            self.err.flush()

    def send_news(self, connection: Connection) -> None:
        """Events that came since the last ones were sent, if any. Under the lock."""
        if self.owner.feed.end != self._events_sent:
            self.send_events(connection)
