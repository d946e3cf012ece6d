"""The option ``timeout`` of tasks: who runs for too long is interrupted, and a second later its process is ended.

It is watched here and not by the caller, who may be busy. The clock starts with the task: waiting for a CPU and for
arguments does not count.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nbray.core import messages as m
from nbray.exceptions import TaskTimeoutError
from nbray.executor.running import Current

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Seconds that an interrupted task has to end.
GRACE = 1.0


class Deadlines:
    """One thread, started by the first task that has a deadline; one deadline, as tasks run one after the other."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._changed = threading.Condition()
        self._watched: tuple[float, Current, float] | None = None
        self._thread: threading.Thread | None = None

    def start(self, call: Current, seconds: float) -> None:
        """``call`` starts; it may run for so long."""
        with self._changed:
            self._watched = (time.monotonic() + seconds, call, seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="nbray-deadlines", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                watched = self._watched
                if watched is None:
                    self._changed.wait()
                    continue
                due, call, seconds = watched
                left = due - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                # Later ones replace it; the interrupted task is looked at once more.
                self._watched = (due + GRACE, call, seconds) if call.overdue is None else None
            self._late(call, seconds)

    def _late(self, call: Current, seconds: float) -> None:
        executor = self._executor
        with executor.owner.lock:
            if not executor.cancelling.runs(call):  # it has ended, or it is about to begin and looks at this
                call.overdue, call.canceled = seconds, True
                self._forget(call)
            elif call.overdue is None:
                call.overdue = seconds
                executor.cancelling.cancel(call, False, True)
            else:
                text = f"{call.name} ran for more than {seconds:g} s and did not end within {GRACE:g} s of its interrupt"
                failure = executor.runner.failure(TaskTimeoutError(text), call.name)
                executor.give_back(call.connection)
                took = int(seconds * 1e6)
                call.connection.send(
                    (m.RESULT, call.sequence, m.FAILED, [failure], took, time.time() - seconds)
                )
                executor.leave_at_once("a task ran for too long")

    def _forget(self, call: Current) -> None:
        with self._changed:
            if self._watched is not None and self._watched[1] is call:
                self._watched = None
