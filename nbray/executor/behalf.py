"""What the owner in an executor has to know of the call that its thread runs: on whose behalf it submits, and waits.

A task that waits lends its lease; what it does and awaits is told to whoever asks why something is not there. If only a thread of
it waits, the task may be at work all the same: then it lends while its process does next to nothing. So it does for what it has
asked to be told of, by ``await ref`` or ``ref.future()``: nobody sees whether it waits for that.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbray.core import messages as m
from nbray.core.explaining import Activity, Ref, Running
from nbray.core.ids import Address
from nbray.core.ownership import Entry
from nbray.executor.running import Current, current, enter

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Seconds between two looks of a thread that waits at whether its task does nothing else,
_LOOK = 0.05
#: and the share of a CPU that counts as nothing.
_AT_REST = 0.05


class _Thread(threading.local):
    """
    Attributes:
        waits: the call for which this thread waits, and the lease is lent.
        looked: when it looked, and what CPU time the process had used.
    """

    waits: Current | None = None
    looked: tuple[float, float] | None = None


class Behalf:
    """Made on the main thread, before any user code runs."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._main = threading.get_ident()
        self._thread = _Thread()
        owner = executor.owner
        owner.cause = self._cause
        owner.current_name = self._current_name
        owner.activity = self._activity
        owner.copies.caller = self._caller
        owner.waiting.on_block, owner.waiting.on_unblock = self._blocked, self._unblocked
        owner.waiting.on_await = self._expects
        self._expected: tuple[Current, dict[Entry, None]] | None = None
        self._inquiry = owner.inquiry  # imported before the fork

    # -- who submits -----------------------------------------------------------------------------------------------

    def _cause(self) -> tuple[bytes, str]:
        call = current()
        return (call.task_id, call.origin) if call is not None else (b"", self._executor.upstream.origin)

    def _current_name(self) -> str:
        call = current()
        return call.name if call is not None else self._executor.class_name

    def _caller(self) -> Address | None:
        call = current()
        return call.connection.peer if call is not None else None

    # -- who waits -------------------------------------------------------------------------------------------------

    def _lends(self, call: Current) -> bool:
        """Whether it is the task that has the lease, be it that a thread of it waits."""
        executor = self._executor
        return executor.lease is not None and not executor.actor_id and executor.cancelling.runs(call)

    def _blocked(self, awaited: Sequence[Entry], deadline: float | None) -> float | None:
        call = current()
        if call is None:
            return None
        call.awaits = awaited
        if not self._lends(call):
            return None
        if threading.get_ident() != self._main and not self._at_rest():
            return _LOOK
        self._lend(call, awaited, deadline)
        return None

    def _lend(self, call: Current, awaited: Sequence[Entry], deadline: float | None) -> None:
        executor = self._executor
        with executor.owner.lock:
            if not self._lends(call):  # it ended meanwhile, without this thread
                return
            self._thread.waits = call
            call.waiting += 1
            if not executor.waits:
                executor.waits = True
                executor.intake.give_back(call.connection)
                names, certain = self._inquiry.names(awaited)
                executor.owner.send_up(
                    ("lend", executor.lease, call.name, names, certain and deadline is None)
                )

    def _at_rest(self) -> bool:
        """Whether this process has done next to nothing since this thread looked last, in this wait."""
        before, now = self._thread.looked, (time.monotonic(), time.process_time())
        self._thread.looked = now
        return before is not None and now[1] - before[1] < _AT_REST * (now[0] - before[0])

    def _unblocked(self) -> None:
        call = current()
        if call is None:
            return
        self._thread.looked = None
        self._go_on(call)

    def _go_on(self, call: Current) -> None:
        call.awaits = None
        if self._thread.waits is call:
            self._thread.waits = None
            with self._executor.owner.lock:
                call.waiting -= 1
                if call.waiting == 0 and self._executor.cancelling.runs(call):
                    self._take_back(call)

    def ended(self, call: Current) -> None:
        """The call has ended, though it waits: a thread that it left behind, or the interrupt came in the middle of saying that
        it does not any more."""
        with self._executor.owner.lock:
            self._take_back(call)

    def _take_back(self, call: Current) -> None:
        executor = self._executor
        if executor.waits:
            executor.waits = False
            executor.owner.send_up(("unlend", executor.lease))
            call.connection.send((m.RETURNED, (), False))

    # -- who has asked to be told ------------------------------------------------------------------------------------

    def _expects(self, entry: Entry) -> None:
        """The calling thread wants to be told once the entry is ready, and may do nothing else until then."""
        call = current()
        if call is None or not self._lends(call):
            return
        with self._executor.owner.lock:
            if entry.ready:
                return
            watched = self._expected is not None and self._expected[0] is call
            if not watched:
                self._expected = call, {}
            assert self._expected is not None
            expected = self._expected[1]
            expected[entry] = None
            entry.when_ready(lambda _: expected.pop(entry, None))
        if not watched:
            threading.Thread(
                target=self._watch, args=(call, expected), name="nbray-expecting", daemon=True
            ).start()

    def _watch(self, call: Current, expected: dict[Entry, None]) -> None:
        """Lend while the process is at rest, until the call expects nothing any more or has ended."""
        enter(call)
        owner = self._executor.owner

        def over() -> bool:
            return not expected or not self._lends(call)

        try:
            while True:
                if self._thread.waits is None:
                    time.sleep(_LOOK)  # whoever awaits one after the other has one thread for all
                else:
                    owner.lead.run_until(over, time.monotonic() + _LOOK)
                with owner.lock:
                    if over() or owner.closed:
                        if self._expected is not None and self._expected[0] is call:
                            self._expected = None
                        expected.clear()
                        return
                    awaited = tuple(expected)
                if not self._at_rest():
                    self._go_on(call)
                elif self._thread.waits is None:
                    call.awaits = awaited
                    self._lend(call, awaited, None)
        finally:
            self._unblocked()

    # -- for who asks ----------------------------------------------------------------------------------------------

    def _activity(self) -> Activity:
        now = time.time()
        executor = self._executor
        running = tuple(
            Running(
                call.task_id,
                call.name,
                max(now - call.started, 0.0) if call.started else 0.0,
                self._awaits(call),
            )
            for call in executor.cancelling.under_way()
        )
        beginning = bool(executor.class_name) and executor.runner.instance is None
        queued = sum(len(slot) for _, slot in executor.intake.waiting())
        return Activity(os.getpid(), executor.class_name, beginning, running, queued)

    def _awaits(self, call: Current) -> tuple[Ref, ...] | None:
        awaited = call.awaits
        if awaited is None and call.task is not None:
            # A coroutine says nobody that it waits; what it has submitted and has not got is what it can be waiting for.
            awaited = self._inquiry.submitted(call.task_id) or None
        return None if awaited is None else self._inquiry.refs(awaited)
