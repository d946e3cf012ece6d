"""What processes and nodes are called: views speak of "Board (pid 12)" where events have an id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from nbray.events import ACTOR, PROCESS, RawEvent
from nbray_widgets.text import plain

Key: TypeAlias = "bytes | str"

MOST_GONE = 1_000
#: What a lane is ended with that was only given back: its process may live on, and keep what it has.
GIVEN_BACK = "given back"


class Process:
    """Attributes:
    role: "driver", "lane" or "actor". what: an actor's class. up: it has not ended, as far as is known.
    """

    __slots__ = ("node", "pid", "role", "up", "what")

    def __init__(self) -> None:
        self.role = self.what = self.node = ""
        self.pid = 0
        self.up = True


class Processes:
    """Feed it PROCESS and ACTOR events; unknown ones are passed over.

    Attributes:
        version: grows whenever a name may have changed.
    """

    def __init__(self) -> None:
        self.version = 0
        self._known: dict[str, Process] = {}
        self._gone: dict[str, None] = {}

    def apply(self, raw: RawEvent) -> None:
        if raw[0] == PROCESS:
            _, _, process, state, role, pid, node, *_ = raw
            key = hexed(process)
            known = self._of(key)
            known.role, known.pid, known.node = role, pid, hexed(node)
            known.up = state == "up"
            self._gone.pop(key, None)
            if not known.up:
                self._forget_later(key)
            self.version += 1
        elif raw[0] == ACTOR and raw[7]:
            key = hexed(raw[7])
            if key not in self._known or not self._known[key].what:
                self._of(key).what = plain(raw[3])
                self.version += 1

    def __getitem__(self, process: Key) -> Process:
        return self._known.get(hexed(process)) or Process()

    def up(self) -> Iterable[Process]:
        return [process for process in self._known.values() if process.up and process.role]

    def called(self, process: Key) -> str:
        """``driver``, ``Board (pid 12)``, ``tasks (pid 13)``, or for one that nobody has told of ``process 0a1b2c3d``."""
        known = self[process]
        if known.role == "driver":
            return "driver"
        what = known.what or {"lane": "tasks", "actor": "actor"}.get(known.role, "")
        return f"{what} (pid {known.pid})" if what and known.pid else f"process {hexed(process)[:8]}"

    def _of(self, key: str) -> Process:
        return self._known.setdefault(key, Process())

    def _forget_later(self, key: str) -> None:
        self._gone[key] = None
        if len(self._gone) > MOST_GONE:
            oldest = next(iter(self._gone))
            del self._gone[oldest], self._known[oldest]


def hexed(value: Key) -> str:
    """An id as it is shown; raw events have bytes."""
    return value.hex() if isinstance(value, bytes) else value
