"""What tasks and actors have printed: raw events in, the last lines out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from nbray.events import ACTOR, PRINTED, RawEvent
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.processes import hexed
from nbray_widgets.text import plain, visible

MOST_LINES = 1_000
MOST_NAMES = 200
MOST_PROCESSES = 10_000
LONGEST_LINE = 1_000
_OURS = frozenset((ACTOR, PRINTED))


class LogReducer:
    """Feed it raw events with ``apply``; read ``snapshot``.

    Args:
        name: of a function, an actor's class or an actor, or a pid: only lines of that. None: of all.
    """

    def __init__(self, name: str | None = None) -> None:
        self._wanted = name
        self._wanted_processes: dict[str, None] = {}
        self._lines: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST_LINES)
        self._names: Counter[str] = Counter()
        self._count = 0
        self._last = 0.0
        self.skipped = 0

    # --- input -----------------------------------------------------------------------------------------------------

    def apply(self, raws: Iterable[RawEvent]) -> None:
        """Take in raw events, oldest first."""
        for raw in [raw for raw in raws if raw[0] in _OURS]:
            if raw[0] == PRINTED:
                self._printed(raw)
            elif self._wanted is not None and raw[4] == self._wanted and raw[7]:
                self._wanted_processes[hexed(raw[7])] = None
                if len(self._wanted_processes) > MOST_PROCESSES:
                    del self._wanted_processes[next(iter(self._wanted_processes))]

    def skip(self, events: int) -> None:
        """So many events were lost, and lines among them perhaps."""
        self.skipped += events

    def _printed(self, raw: RawEvent) -> None:
        _, time, _, _, name, stream, text, process, pid, node = raw
        wanted = self._wanted
        if wanted is not None and not (
            name == wanted
            or name.startswith(f"{wanted}.")
            or str(pid) == wanted
            or hexed(process) in self._wanted_processes
        ):
            return
        name = plain(name)
        lines = text.removesuffix("\n").split("\n")
        self._last = max(self._last, time)
        if name in self._names or len(self._names) < MOST_NAMES:
            self._names[name] += len(lines)
        number = self._count
        self._count += len(lines)
        keep = lines[-MOST_LINES:]
        number += len(lines) - len(keep)
        for line in keep:
            row = {
                "time": time,
                "name": name,
                "stream": "err" if stream == 2 else "out",
                "pid": pid,
                "node": hexed(node)[:8],
                "text": visible(line, LONGEST_LINE),
            }
            self._lines.append((str(number), row))
            number += 1

    # --- output ----------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        return 0

    def snapshot(self) -> State:
        """The last ``MOST_LINES`` lines, by their number; and how many there were of each name."""
        return {
            "lines": dict(self._lines),
            "names": dict(self._names),
            "about": {
                "skipped": self.skipped,
                "hidden": self._count - len(self._lines),
                "count": self._count,
                "last": self._last,
                "wanted": plain(self._wanted or ""),
            },
        }
