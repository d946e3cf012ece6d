"""What the owner in an executor has to know of the call that its thread runs: on whose behalf it submits, and waits.

A task that waits lends its lease; what it does and awaits is told to whoever asks why something is not there. If only a thread of
it waits, the task may be at work all the same: then it lends while its process does next to nothing.
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
from nbray.executor.running import Current, current

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
        executor = self._executor
        with executor.owner.lock:
            if not self._lends(call):  # it ended meanwhile, without this thread
                return None
            self._thread.waits = call
            call.waiting += 1
            if not executor.waits:
                executor.waits = True
                executor.intake.give_back(call.connection)
                names, certain = self._inquiry.names(awaited)
                executor.owner.send_up(
                    ("lend", executor.lease, call.name, names, certain and deadline is None)
                )
        return None

    def _at_rest(self) -> bool:
        """Whether this process has done next to nothing since this thread looked last, in this wait."""
        before, now = self._thread.looked, (time.monotonic(), time.process_time())
        self._thread.looked = now
        return before is not None and now[1] - before[1] < _AT_REST * (now[0] - before[0])

    def _unblocked(self) -> None:
        call = current()
        if call is None:
            return
        call.awaits = None
        thread = self._thread
        thread.looked = None
        if thread.waits is call:
            thread.waits = None
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
        if awaited is None and call.on_cancel is not None:
            # A coroutine says nobody that it waits; what it has submitted and has not got is what it can be waiting for.
            awaited = self._inquiry.submitted(call.task_id) or None
        return None if awaited is None else self._inquiry.refs(awaited)
