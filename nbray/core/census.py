"""Which processes live, and who wants to know when one is gone. Pure.

A process is known from its first message or grant on, which is before anybody else can have heard of it; so one that is asked
for and not known is gone.
"""

from __future__ import annotations

from nbray.core.ids import ProcessId


class Census:
    def __init__(self) -> None:
        self._living: set[ProcessId] = set()
        self._watchers: dict[ProcessId, dict[ProcessId, None]] = {}

    def __contains__(self, process: ProcessId) -> bool:
        return process in self._living

    def born(self, process: ProcessId) -> None:
        self._living.add(process)

    def watch(self, watcher: ProcessId, process: ProcessId) -> bool:
        """Note that ``watcher`` wants to know; False if ``process`` is gone already."""
        if process not in self._living:
            return False
        self._watchers.setdefault(process, {})[watcher] = None
        return True

    def gone(self, process: ProcessId) -> list[ProcessId]:
        """``process`` ended; answers the living who wanted to know."""
        self._living.discard(process)
        return [watcher for watcher in self._watchers.pop(process, {}) if watcher in self._living]
