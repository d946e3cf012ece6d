"""Waiting: ``get``, ``wait``, and what happens around a wait that takes long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import compress, filterfalse, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from nbray.core.ownership import Entry
from nbray.exceptions import GetTimeoutError, ObjectLostError, RaySystemError

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

_ready = attrgetter("ready")
_failed = attrgetter("failed")
_value = attrgetter("value")

#: Seconds a blocked ``get`` of a task waits before it lends its slot.
GRACE = 0.002
#: Seconds after which a driver's ``get`` or ``wait`` is a long one.
LONG = 2.0


class Watch(Protocol):
    """Looks after one long wait."""

    def look(self) -> float:
        """Called on the waiting thread, without locks; answers the seconds until the next look."""

    def close(self, how: str) -> None:
        """It is over: "done", "interrupted", "timed out" or "ended" (with the session)."""


class Waiting:
    """No lock held. Whoever waits serves the sockets.

    Attributes:
        on_block: called when the user code of a task or actor waits for longer than a moment: for which entries, until when.
            Answers after how many seconds it wants to be called again, if the wait goes on; None: no more.
        on_unblock: called when it goes on.
        on_await: called when somebody wants to be told of an entry that is not ready: which.
        on_long: in a driver, called when a ``get`` or ``wait`` has taken ``LONG`` seconds; answers who looks after it from
            there on.
        after_wait: called after each ``wait`` with its refs and how many are ready, until it answers False.
        loop: while a ``wait`` blocks: when the first of those began that left the next one their refs, and with how many.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.on_block: Callable[[Sequence[Entry], float | None], float | None] | None = None
        self.on_unblock: Callable[[], None] | None = None
        self.on_await: Callable[[Entry], None] | None = None
        self.on_long: Callable[[Sequence[Entry], int], Watch] | None = None
        self.after_wait: Callable[[Sequence[Entry], int], bool] | None = None
        self.loop: tuple[float, int] | None = None
        self._began = (0.0, 0)
        self._left = (0, 0)  # how many, and the last one's identity: the refs must not be kept alive
        # For each ``get``, without a look at the owner.
        self._console = owner.console
        self._lead = owner.lead
        self._load = owner.values.load
        self._said_what_runs_on = False

    def get(self, refs: Sequence[Entry], timeout: float | None = None) -> list[Any]:
        """The values, in order; the first failure is raised, without waiting for the rest.

        Raises:
            GetTimeoutError: ``timeout`` seconds passed. The refs stay valid and nothing was cancelled.
        """
        __tracebackhide__ = True  # IPython shows the user's frames only
        deadline = None if timeout is None else time.monotonic() + timeout
        load = self._load
        while True:
            if not all(map(_ready, refs)):
                self._await(refs, timeout, deadline)
            if self._console.queue:  # another thread may have taken in the result, and what came before it
                self._console.write_out()
            try:
                return [load(value) for value in map(_value, refs)]
            except BaseException as error:
                self.owner.unasked.seen(refs)
                if not (isinstance(error, ObjectLostError) and self.owner.lineages.recover(refs, error)):
                    raise

    def _await(self, refs: Sequence[Entry], timeout: float | None, deadline: float | None) -> None:
        __tracebackhide__ = True
        self.owner.interrupts.install()
        position, count, failures = 0, len(refs), -1

        def done() -> bool:
            nonlocal position, failures
            while position < count and refs[position].ready:
                position += 1
            if position == count:
                return True
            if self.owner.failures != failures:
                failures = self.owner.failures
                return any(entry.failed for entry in refs)
            return False

        self.owner.borrowing.fetch(refs)
        if not self.wait_for(done, deadline, refs, count):
            self.check_open()
            missing = count - sum(map(_ready, refs))
            raise GetTimeoutError(
                f"{missing} of {count} objects were not ready after {timeout} s. Nothing was cancelled, the refs stay valid."
            )
        failed = next(compress(refs, map(_failed, refs)), None)
        if failed is not None:
            self._console.write_out()
            self.owner.unasked.seen(refs)
            self._load(failed.value)

    def wait(
        self, refs: list[Entry], num_returns: int, timeout: float | None
    ) -> tuple[list[Entry], list[Entry]]:
        """Up to ``num_returns`` ready refs and the others, both in the order given."""
        __tracebackhide__ = True
        if not refs or self._left != (len(refs), id(refs[-1])):
            self._began = time.monotonic(), len(refs)
        ready = _first_ready(refs, num_returns)
        if len(ready) < num_returns:
            self.owner.interrupts.install()
            deadline = None if timeout is None else time.monotonic() + timeout
            completions = -1

            def done() -> bool:
                nonlocal completions
                if completions == self.owner.completions:
                    return False
                completions = self.owner.completions
                return bool(sum(map(_ready, refs)) >= num_returns)

            self.owner.borrowing.fetch(refs)  # the value, or where it is; large bytes come with the get
            self.loop = self._began
            try:
                self.wait_for(done, deadline, refs, num_returns)
            finally:
                self.loop = None
            self.check_open()
            ready = _first_ready(refs, num_returns)
        if self._console.queue:
            self._console.write_out()
        if self.after_wait is not None and not self.after_wait(refs, len(ready)):
            self.after_wait = None
        if len(ready) < num_returns:
            last = len(refs)
        else:
            last = refs.index(ready[-1]) + 1
        others = refs[last:]
        if last > len(ready):
            # More may have become ready meanwhile; what is not among ``ready`` is among the others.
            others = list(filterfalse(set(ready).__contains__, refs[:last])) + others
        self._left = (len(others), id(others[-1])) if others else (0, 0)
        return ready, others

    def block(
        self, done: Callable[[], bool], deadline: float | None, awaited: Sequence[Entry], needed: int
    ) -> bool:
        """Serve the sockets until ``done()``, or the deadline. A task lends its CPU if that takes longer than a moment.

        Args:
            awaited: what it waits for, and how many of them are ``needed``: for those who ask.
        """
        __tracebackhide__ = True
        if self.on_block is None:
            long = time.monotonic() + LONG
            if self.on_long is None or (deadline is not None and deadline <= long):
                return self._lead.run_until(done, deadline)
            return self._lead.run_until(done, long) or self._watched(done, deadline, awaited, needed)
        grace = time.monotonic() + GRACE
        if deadline is not None and deadline <= grace:
            return self._lead.run_until(done, deadline)
        if self._lead.run_until(done, grace):
            return True
        try:
            while (again := self.on_block(awaited, deadline)) is not None:
                until = time.monotonic() + again
                if deadline is not None and deadline <= until:
                    break
                if self._lead.run_until(done, until):
                    return True
                if time.monotonic() < until:  # interrupted, or closed
                    return False
            return self._lead.run_until(done, deadline)
        finally:
            assert self.on_unblock is not None
            self.on_unblock()

    def _watched(
        self, done: Callable[[], bool], deadline: float | None, awaited: Sequence[Entry], needed: int
    ) -> bool:
        """It takes long. Somebody may want to show how far it is; he does it on this thread, between two looks at the sockets."""
        __tracebackhide__ = True
        if self.owner.closed or self.on_long is None:
            return done()
        watch = self.on_long(awaited, needed)
        how = "interrupted"
        try:
            while True:
                with self.owner.interrupts.put_off():  # half a bar is none
                    until = time.monotonic() + watch.look()
                if deadline is not None and deadline < until:
                    until = deadline
                if self._lead.run_until(done, until):
                    how = "done"
                    return True
                if self.owner.closed or time.monotonic() < until or until == deadline:
                    how = "timed out" if until == deadline else "ended"
                    return False
        finally:
            with self.owner.interrupts.put_off():
                watch.close(how)

    def wait_for(
        self, done: Callable[[], bool], deadline: float | None, awaited: Sequence[Entry], needed: int
    ) -> bool:
        """``block``, from which at the interpreter's end no thread returns that would only tell of it."""
        __tracebackhide__ = True
        try:
            return self.block(done, deadline, awaited, needed)
        except KeyboardInterrupt as interrupt:
            self._say_what_runs_on(interrupt)
            raise
        finally:
            if self.owner.exiting:
                stop_if_daemon()

    def _say_what_runs_on(self, interrupt: KeyboardInterrupt) -> None:
        """Ctrl-C ends the wait and not the work. Said once a session, to the driver that somebody sits at: a program's traceback
        is its end, and then nothing runs on.
        """
        if self.on_block is None and not self._said_what_runs_on and _has_a_prompt():
            self._said_what_runs_on = True
            interrupt.add_note("The tasks run on. nbray.cancel(ref) ends the one that makes a ref's value.")

    def check_open(self) -> None:
        if self.owner.closed:
            raise RaySystemError("nbray was shut down while this was waiting")

    def on_ready(self, entry: Entry, callback: Callable[[], None]) -> None:
        """Call ``callback()`` once the entry is ready, on some thread, without locks; at once if it is ready."""
        with self.owner.lock:
            if not entry.ready:
                entry.when_ready(lambda _: self.owner.deferred.append(callback))
                callback_now = False
            else:
                callback_now = True
        if callback_now:
            callback()
        else:
            self.owner.borrowing.fetch((entry,))
            self._lead.ensure_background()
            if self.on_await is not None:
                self.on_await(entry)


def _first_ready(refs: list[Entry], most: int) -> list[Entry]:
    return list(islice(compress(refs, map(_ready, refs)), most))


def stop_if_daemon() -> None:
    """At the interpreter's end: a daemon thread goes no further, as if it had been ended, instead of printing that it was."""
    if threading.current_thread() is not threading.main_thread():
        threading.Event().wait()


def _has_a_prompt() -> bool:
    """Whether this process goes on after an error: a REPL, ``python -i``, IPython, a notebook."""
    ipython = sys.modules.get("IPython")
    return (
        hasattr(sys, "ps1")
        or bool(sys.flags.inspect)
        or (ipython is not None and ipython.get_ipython() is not None)
    )
