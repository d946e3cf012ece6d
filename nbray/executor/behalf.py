"""What the owner in an executor has to know of the call that its thread runs: on whose behalf it submits, and waits.

A task that waits lends its lease; what it does and awaits is told to whoever asks why something is not there.
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


class Behalf:
    """Made on the main thread, before any user code runs."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._main = threading.get_ident()
        owner = executor.owner
        owner.cause = self._cause
        owner.current_name = self._current_name
        owner.activity = self._activity
        owner.copies.caller = self._caller
        owner.waiting.on_block, owner.waiting.on_unblock = self._blocked, self.unblocked
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

    def _lends(self) -> bool:
        """Whether it is a task's main thread: one that lends its lease while it waits."""
        executor = self._executor
        return executor.lease is not None and threading.get_ident() == self._main and not executor.actor_id

    def _blocked(self, awaited: Sequence[Entry], deadline: float | None) -> None:
        call = current()
        if call is None:
            return
        call.awaits = awaited
        executor = self._executor
        if self._lends():
            with executor.owner.lock:
                executor.waits = True
                executor.intake.give_back(call.connection)
                names, certain = self._inquiry.names(awaited)
                executor.owner.send_up(
                    ("lend", executor.lease, call.name, names, certain and deadline is None)
                )

    def unblocked(self) -> None:
        """The call that waited goes on."""
        call = current()
        if call is None:
            return
        call.awaits = None
        executor = self._executor
        if self._lends():
            with executor.owner.lock:
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
