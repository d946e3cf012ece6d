"""The option ``timeout`` of tasks and methods: who runs for too long is interrupted, and asked for no more than a second longer.

It is watched here and not by the caller, who may be busy. The clock starts with the call: waiting for a CPU, for arguments and in
an actor's queue does not count. What can be done about a call depends on where it runs:

    main thread     KeyboardInterrupt; after ``GRACE`` seconds more the process ends, and an actor restarts as it may
    crew's thread   no thread can be interrupted from outside: the call fails at once, ``is_canceled()`` is true, what the method
                    still answers counts for nothing
    asyncio task    CancelledError; after ``GRACE`` seconds more the call fails, and what it still answers counts for nothing
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from nbray.core import messages as m
from nbray.exceptions import TaskTimeoutError
from nbray.executor.leaving import leave_at_once
from nbray.executor.running import Current

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Seconds that an interrupted call has to end.
GRACE = 1.0


class Deadlines:
    """One thread, started by the first call that has a deadline, watches those that run on threads; asyncio tasks have a loop."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._changed = threading.Condition()
        #: When, and after how many seconds.
        self._watched: dict[Current, tuple[float, float]] = {}
        self._thread: threading.Thread | None = None

    def start(self, call: Current, seconds: float) -> None:
        """``call`` starts; it may run for so long."""
        with self._changed:
            self._watched[call] = time.monotonic() + seconds, seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="nbray-deadlines", daemon=True)
                self._thread.start()
            self._changed.notify()

    def end(self, call: Current) -> bool:
        """It has ended; False if it was answered in the meantime."""
        with self._changed:
            self._watched.pop(call, None)
            return not call.answered

    def give_up(self, call: Current, text: str, seconds: float) -> None:
        """Answer a call that goes on running."""
        call.answered = True
        executor = self._executor
        failure = executor.runner.failure(TaskTimeoutError(text), call.name, raised=False)
        outlet = call.connection.context.outlets.pop(call.sequence, None)
        if outlet is not None:
            outlet.close()
        result = (m.RESULT, call.sequence, m.FAILED, [failure], int(seconds * 1e6), time.time() - seconds)
        executor.reply(call.connection, result)

    def _watch(self) -> None:
        while True:
            with self._changed:
                if not self._watched:
                    self._changed.wait()
                    continue
                call, (due, seconds) = min(self._watched.items(), key=lambda item: item[1])
                left = due - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                if call.overdue is None:
                    self._watched[call] = due + GRACE, seconds  # it is looked at once more
                else:
                    del self._watched[call]
            self._late(call, seconds)

    def _late(self, call: Current, seconds: float) -> None:
        executor = self._executor
        with executor.owner.lock:
            if executor.cancelling.elsewhere.get((call.connection, call.sequence)) is call:
                call.overdue, call.canceled = seconds, True
                executor.owner.cancelling.children(call.task_id, False)
                with self._changed:
                    if self._watched.pop(call, None) is None:
                        return  # it has just ended
                    call.answered = True
                text = f"{call.name} ran for more than {seconds:g} s; its thread cannot be interrupted and goes on"
            elif not executor.cancelling.runs(call):
                # It has ended, or it is about to begin and looks at this.
                call.overdue, call.canceled = seconds, True
                with self._changed:
                    self._watched.pop(call, None)
                return
            elif call.overdue is None:
                call.overdue = seconds
                executor.cancelling.cancel(call, False, True, interrupt=True)
                return
            else:
                self._end_process(call, seconds)
        self.give_up(call, text, seconds)

    def _end_process(self, call: Current, seconds: float) -> None:
        """Its interrupt did not end it. Under the owner's lock."""
        executor = self._executor
        text = (
            f"{call.name} ran for more than {seconds:g} s and did not end within {GRACE:g} s of its interrupt"
        )
        if not executor.actor_id:
            executor.intake.give_back(call.connection)
        failure = executor.runner.failure(TaskTimeoutError(text), call.name, raised=False)
        took = int(seconds * 1e6)
        call.connection.send((m.RESULT, call.sequence, m.FAILED, [failure], took, time.time() - seconds))
        if executor.actor_id:
            os.kill(
                os.getpid(), signal.SIGKILL
            )  # no leave on purpose, after which an actor would not restart
        leave_at_once(executor, "a task ran for too long")
