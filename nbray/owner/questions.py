"""Questions to placement, and the waits for their answers."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from nbray.exceptions import RaySystemError

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Questions:
    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._requests = itertools.count(1)
        self._answers: dict[int, tuple[Any, ...] | None] = {}

    def ask(self, operation: str, *fields: Any, timeout: float = 10.0) -> tuple[Any, ...]:
        """A question to placement and its answer.

        Raises:
            RaySystemError: no answer within ``timeout`` seconds.
        """
        owner = self.owner
        with owner.lock:
            request = next(self._requests)
            self._answers[request] = None
            owner.send_up((operation, request, *fields))
        owner.interrupts.install()
        owner.lead.run_until(lambda: self._answers[request] is not None, time.monotonic() + timeout)
        answer = self._answers.pop(request)
        if answer is None:
            raise RaySystemError(f"the scheduler did not answer within {timeout} s ({operation})")
        return answer

    def answered(self, request: int, *fields: Any) -> None:
        """Placement has answered. Under the lock."""
        if request in self._answers:
            self._answers[request] = fields
