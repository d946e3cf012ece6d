"""The memory monitor of a node: looks at the figures, and has an executor ended before the kernel ends one of its choice."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from nbray.core.memory import Candidate, choose, pause, reason
from nbray.machine import Memory

logger = logging.getLogger("nbray.node")

#: Share of memory beyond which an executor is ended; 1 or more: never.
VARIABLE, DEFAULT = "NBRAY_MEMORY_USAGE_THRESHOLD", 0.95
#: Looks for which an executor that was told to go has time to do so, before the next one is chosen.
_PATIENCE = 10


def threshold_from_environment() -> float:
    """
    Raises:
        ValueError: the variable is set, and is no number above 0.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        threshold = float(text) if text else DEFAULT
    except ValueError:
        threshold = 0.0
    if not threshold > 0:
        raise ValueError(
            f"{VARIABLE} must be a number above 0, the share of memory that may be used, not {text!r}"
        )
    return threshold


def private_bytes(pid: int) -> int:
    """Bytes of memory that a process has and that are no file's; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class MemoryMonitor:
    """
    Args:
        read: gives the figures of this node.
        threshold: share of memory beyond which an executor is ended.
        candidates: gives those that may be ended.
        end: called with the chosen one and the reason.
    """

    def __init__(
        self,
        read: Callable[[], Memory],
        threshold: float,
        candidates: Callable[[], Sequence[Candidate]],
        end: Callable[[Candidate, str], None],
    ) -> None:
        self._read = read
        self._threshold = threshold
        self._candidates = candidates
        self._end = end
        self._going: int | None = None
        self._patience = 0
        self._told = False

    def look(self) -> float:
        """Look once; answers after how many seconds to look again."""
        used, total = self._read()
        if used <= self._threshold * total:
            self._going, self._told = None, False
        else:
            self._full(used, total)
        return pause(used, total, self._threshold)

    def _full(self, used: int, total: int) -> None:
        candidates = self._candidates()
        if any(one.number == self._going for one in candidates) and self._patience > 0:
            self._patience -= 1
            return
        chosen = choose([one for one in candidates if one.number != self._going])
        if chosen is not None:
            self._going, self._patience = chosen.number, _PATIENCE
            self._end(chosen, reason(chosen, candidates, used, total, self._threshold))
        elif not self._told:
            self._told = True
            logger.warning(
                "%.1f %% of the memory is used, but no executor has much of it: nothing is ended",
                100 * used / total,
            )
