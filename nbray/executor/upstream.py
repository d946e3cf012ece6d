"""What a call has to say besides its result: lines that user code printed, and events; both go to whoever submitted the call."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.executor.beginnings import Beginnings
from nbray.executor.outlet import Outlet
from nbray.executor.running import Current, current
from nbray.executor.shown import Shown
from nbray.executor.streams import Key, Lines, NoInput
from nbray.owner.console import NOBODY, Author

if TYPE_CHECKING:
    from nbray.executor.main import Executor

By: TypeAlias = Current | Author | None

#: Seconds between two messages with what this process' own calls came to.
_SHARE = 0.02
#: Seconds between two messages about bars.
_REPORT = 0.1
#: Seconds for which lines are gathered after some were passed on.
_GATHER = 0.002
#: Bytes that wait in the files from which on print() waits.
_PATIENCE = 1 << 26


class Upstream:
    """The way to the caller, and so on up to the driver. Replaces ``sys.stdin``, ``sys.stdout`` and ``sys.stderr``.

    Lines go into the files of ``Outlet`` first and are passed on at once, unless the socket is full: then they wait there, not
    in memory. Whoever prints on all the same waits at ``_PATIENCE`` bytes.

    Attributes:
        recent: the call that began last. maker: the origin of the actor that this is.
        callers: all connections that may bring one.
        bars: of user code, which ``tell_news``.
    """

    def __init__(self, executor: Executor, path: str) -> None:
        self._executor = executor
        self.owner = executor.owner
        self.outlet = Outlet(path)
        self._pid = os.getpid()
        self.recent: Current | None = None
        self.maker = ""
        self.callers: list[Connection] = []
        self.bars: WeakSet[Any] = WeakSet()
        self._reports: dict[bytes, tuple[Any, ...]] = {}
        self._reported = 0.0
        self._events_sent = 0
        self._shared = 0.0
        self._pumped = 0.0
        self._filling: Connection | None = None  # has not given the system all of the last piece
        self._pumping, self._telling = threading.Lock(), threading.Lock()
        self.out = Lines(1, self._print)
        self.err = Lines(2, self._print)
        self._beginnings = Beginnings((self.out, self.err), self._beginner, self._note)
        self.out.on_flush = self.err.on_flush = self._flushed
        Shown(self._print).install()
        sys.stdin, sys.stdout, sys.stderr = NoInput(), self.out, self.err

    def _print(self, number: int, data: bytes) -> None:
        outlet = self.outlet
        if (
            os.getpid() != self._pid or self.owner.lock.held_here
        ):  # a fork of user code; a finalizer amid a transition
            outlet.write(number, data, None)
            return
        by: By = self.recent
        if by is None and self._executor.label:
            # A constructor: its lines wait for a caller, and by then the label is another.
            by = self._author(None)
        outlet.print(number, data, current() or by, by)
        if time.monotonic() - self._pumped < _GATHER:
            self.owner.lead.nudge()  # whoever polls next passes it on
            return
        self.pump()
        self._pumped = time.monotonic()
        if outlet.behind() > _PATIENCE:
            self._wait_for_room(_PATIENCE)

    def pump(self, last: bool = False) -> None:
        """Pass on what the socket takes, of this process's own output and of what it started.

        Args:
            last: beginnings of lines, too.
        """
        outlet = self.outlet
        filling = self._filling
        if filling is not None and (filling.closed or not filling.unsent):
            self._filling = None
            outlet.settle()
        while outlet.has_news():
            seen = outlet.sizes()
            if self.owner.lock.held_here or not self._pumping.acquire(blocking=last):
                return  # in the middle of a transition; or who pumps looks once more after he has let go
            try:
                self._pass_on(last)
            finally:
                self._pumping.release()
            if outlet.sizes() == seen:
                return

    def _pass_on(self, last: bool) -> None:
        outlet = self.outlet
        while (piece := outlet.next(last)) is not None:
            with self.owner.lock:
                target = self._upstream(piece.by)
                if target is None or target.unsent:
                    return
                target.send(
                    (
                        m.OUTPUT,
                        self._author(piece.by),
                        piece.stream,
                        piece.text,
                        self._pid,
                        self.owner.node,
                        piece.end,
                    )
                )
                outlet.passed(piece)
                if target.unsent:
                    self._filling = target
                    return
            outlet.settle()

    @property
    def origin(self) -> str:
        """The notebook cell to which belongs what no call does."""
        return self.recent.origin if self.recent is not None else self.maker

    def _author(self, by: By) -> Author:
        if isinstance(by, tuple):
            return by
        call = by or self.recent
        name = self._executor.label
        if call is None:
            return (name or NOBODY[0], self.maker, b"", self.owner.process)
        return (name or call.title, call.origin, call.task_id, self.owner.process)

    def pass_on(self, who: Author, number: int, text: str, pid: int, node: bytes) -> None:
        """Output of a call that our user code submitted."""
        self.pump()
        with self.owner.lock:
            target = self._upstream(current())
            if target is not None:
                target.send((m.OUTPUT, who, number, text, pid, node, 0))
                return
        self.outlet.print(number, text.encode("utf-8", "backslashreplace"), who, None)

    def _upstream(self, by: By) -> Connection | None:
        """Whoever waits for the call; if he is gone, or there is none, who called last; then anybody."""
        for call in (by, self.recent):
            if isinstance(call, Current) and not call.connection.closed:
                return call.connection
        self.callers = [caller for caller in self.callers if not caller.closed]
        return self.callers[-1] if self.callers else None

    def _wait_for_room(self, limit: int) -> None:
        """Until no more than ``limit`` bytes wait, or nobody is there who could take them."""
        while self.outlet.behind() > limit:
            target = self._upstream(current())
            if target is None:
                return

            def room(target: Connection = target) -> bool:
                return target.closed or not target.unsent

            self.owner.lead.run_until(room, time.monotonic() + 1.0)
            self.pump(last=limit == 0)

    def share_events(self) -> None:
        """While a task runs or after it: fifty times a second at most, what it submitted is news for the views."""
        self.pump()
        now = time.monotonic()
        beginnings = self._beginnings.due
        if (self._reports or self.bars or beginnings) and now - self._reported >= _REPORT:
            # The task may be long at what comes next, with no more to say meanwhile.
            for bar in list(self.bars):
                bar.tell_news(self._note)
            if beginnings:
                self._tell_beginnings()
            if self._reports:
                self.send_reports()
        if self.owner.feed.end != self._events_sent and now - self._shared >= _SHARE:
            self._shared = now
            with self.owner.lock:
                target = self._upstream(current())
                if target is not None:
                    self.send_events(target)

    def send_events(self, connection: Connection) -> None:
        """What this process submitted itself, to its caller's feed, and so on up to the driver. Under the lock."""
        raws, self._events_sent = self.owner.feed.raw_since(self._events_sent)
        if raws:
            connection.send((m.EVENTS, raws))
            self.owner.feed.trim()

    def end_lines(self, call: Current | None = None) -> None:
        """The call is about to be answered (None: the process to end): all that it has printed goes first."""
        if self.out.begun:
            self.out.end(call)
        if self.err.begun:
            self.err.end(call)
        outlet = self.outlet
        if call is None or self._executor.actor_id:  # whatever an actor redirects is so in its next call, too
            news = outlet.has_news()
        else:
            if sys.stdout is not self.out or sys.stderr is not self.err:
                sys.stdout, sys.stderr = self.out, self.err
            news = not outlet.at_rest()
            if news:
                outlet.restore()
        if news:
            self.pump(last=True)
            self._wait_for_room(0)
        if self._beginnings.told:
            self._tell_beginnings()
        if self._reports:
            self.send_reports()
        if call is not None:
            outlet.answered()

    def report(self, fields: tuple[Any, ...], now: bool) -> None:
        """A bar of user code: its last state counts, a few times a second (or ``now``), and before the call's answer."""
        self._reports[fields[0]] = fields
        if now or time.monotonic() - self._reported >= _REPORT:
            self.send_reports()
        else:
            self.owner.lead.nudge()

    def _note(self, fields: tuple[Any, ...]) -> None:
        self._reports[fields[0]] = fields

    def _flushed(self) -> None:
        if self._beginnings.due:
            self.owner.lead.nudge()

    def _tell_beginnings(self) -> None:
        if self._telling.acquire(blocking=False):  # or another thread does
            try:
                self._beginnings.tell()
            finally:
                self._telling.release()

    def _beginner(self, key: Key) -> Author:
        return self._author(key[1])

    def pass_reports(self, reports: list[Any]) -> None:
        """Those of the calls that our user code submitted. Under the lock."""
        self._reports.update({fields[0]: fields for fields in reports})
        self.owner.lead.nudge()

    def send_reports(self) -> None:
        """What bars there are to tell of."""
        if (
            self.owner.lock.held_here
        ):  # a bar that the garbage collector closes: the next one to poll sends it
            return
        with self.owner.lock:
            target = self._upstream(current())
            if target is not None and self._reports:
                reports, self._reports = self._reports, {}
                self._reported = time.monotonic()
                target.send((m.REPORTS, list(reports.values())))

    def send_news(self, connection: Connection) -> None:
        """Events that came since the last ones were sent, if any. Under the lock."""
        if self.owner.feed.end != self._events_sent:
            self.send_events(connection)
