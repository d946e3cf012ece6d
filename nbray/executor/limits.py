"""The option ``max_calls`` of tasks: a process leaves after so many calls of a function, which frees what they leak.

1. As the last call begins, the owner hears of it (``LAST``), with what waits behind it: that goes back unrun. What was on its way
   meanwhile goes back when it comes.
2. Before the call is answered, the node agent hears of it (``SPENT``) and gives the process no other lease. So the owner, which
   gives the lease back after the answer, gives back one whose process nobody gets.
3. Without a lease the process leaves as any other that is told to: once nobody needs what it owns.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.executor.running import Current

if TYPE_CHECKING:
    from nbray.executor.main import Executor


class Limits:
    """
    Attributes:
        spent: this process runs its last call, or has run it.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        #: By path and code: another owner's copy of a function is the same function, and all lambdas have one name.
        self._calls: Counter[Any] = Counter()
        self.spent = False

    def count(self, call: Current, function: Any, most: int) -> None:
        """``call`` is about to run ``function``, of which this process runs so many calls."""
        executor = self._executor
        key = executor.runner.path(call), function.__code__
        self._calls[key] += 1
        if self._calls[key] >= most and not self.spent:
            with executor.owner.lock:
                self.spent = True
                call.connection.send((m.LAST, executor.intake.take_back(call.connection)))

    def refuse(self, connection: Connection, calls: Any) -> None:
        """Calls that were on their way when the last one began. Under the lock."""
        for call in calls:
            self._executor.intake.refuse(call)
        connection.send((m.RETURNED, [call[0] for call in calls], False))

    def settle(self) -> None:
        """The last call has ended: return once the node agent gives this process to nobody else."""
        executor = self._executor
        with executor.owner.lock:
            executor.control.send((m.SPENT,))
        executor.owner.lead.run_until(lambda: executor.retiring)
