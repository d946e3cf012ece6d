"""The large objects of a pool: raw events in, a row for each of the largest out, and sums over all.

An object costs some hundred bytes here as long as it lives, and nothing after. Choosing the largest of 100,000 at each look would
take 20 ms: the largest are kept apart, and chosen anew only when half of them have gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from typing import Any

from nbray.events import ACTOR, NODE, OBJECT, OBJECT_HELD, PROCESS, RawEvent
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.processes import GIVEN_BACK, Processes, hexed
from nbray_widgets.text import plain

MOST_ROWS = 300
MOST_OBJECTS = 500_000
MOST_HOLDERS = 8
_OURS = frozenset((PROCESS, ACTOR, NODE, OBJECT, OBJECT_HELD))


class Object:
    __slots__ = (
        "by", "changed", "copies", "holders", "key", "lost", "made", "node", "on_disk", "owner", "row", "seen", "size", "time",
    )  # fmt: skip

    def __init__(self, key: str, raw: RawEvent) -> None:
        self.key = key
        self.owner = key[:16]
        self.copies: list[str] = []
        self.holders: tuple[str, ...] = ()
        self.row: dict[str, Any] = {}
        self.stored(raw)

    def stored(self, raw: RawEvent) -> None:
        _, self.time, _, state, self.size, node, self.made, by = raw
        self.node, self.on_disk, self.lost = hexed(node), state == "spilled", False
        self.by = plain(by)
        self.changed, self.seen = True, -1


class ObjectReducer:
    """Feed it raw events with ``apply``; read ``snapshot``."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._owned: dict[str, set[str]] = {}
        self._largest: dict[str, Object] = {}
        self._floor = 0
        self._sizes = {"memory": 0, "disk": 0, "lost": 0}
        self._processes = Processes()
        self._nodes: set[str] = set()
        self._last = 0.0
        self.skipped = 0

    # --- input -----------------------------------------------------------------------------------------------------

    def apply(self, raws: Iterable[RawEvent]) -> None:
        """Count raw events, oldest first."""
        for raw in [raw for raw in raws if raw[0] in _OURS]:
            kind = raw[0]
            if kind == OBJECT:
                self._object(raw)
            elif kind == OBJECT_HELD:
                found = self._objects.get(hexed(raw[2]))
                if found is not None:
                    found.holders = tuple(map(hexed, raw[3]))
                    found.changed = True
            elif kind == NODE:
                self._nodes.add(hexed(raw[2]))
                if raw[3] == "down":
                    self._node_gone(hexed(raw[2]))
            else:
                self._processes.apply(raw)
                if kind == PROCESS and raw[3] == "down":
                    self._owner_gone(hexed(raw[2]), lives=raw[7] == GIVEN_BACK)

    def skip(self, events: int) -> None:
        """So many events were lost; what stands of them is told next."""
        self.skipped += events
        self._objects.clear()
        self._owned.clear()
        self._largest.clear()
        self._floor = 0
        self._sizes = dict.fromkeys(self._sizes, 0)

    def _object(self, raw: RawEvent) -> None:
        _, time, oid, state, _, node, *_ = raw
        key = hexed(oid)
        found = self._objects.get(key)
        self._last = max(self._last, time)
        if state == "freed":
            if found is not None:
                self._remove(found)
        elif state == "copied":
            if found is not None and hexed(node) not in (found.node, *found.copies):
                found.copies.append(hexed(node))
                found.changed = True
        elif state in ("stored", "spilled") and len(raw) == 8:
            if found is not None:  # made again, after its node was lost
                self._sizes[_place(found)] -= found.size
                found.stored(raw)
            elif len(self._objects) < MOST_OBJECTS:
                found = self._objects[key] = Object(key, raw)
                self._owned.setdefault(found.owner, set()).add(key)
                self._among_largest(found)
            if found is not None:
                self._sizes[_place(found)] += found.size

    def _among_largest(self, found: Object) -> None:
        if found.size >= self._floor:
            self._largest[found.key] = found
            if len(self._largest) > 2 * MOST_ROWS:
                self._choose(self._largest.values())

    def _choose(self, among: Iterable[Object]) -> None:
        chosen = nlargest(MOST_ROWS, among, key=lambda each: each.size)
        self._largest = {each.key: each for each in chosen}
        self._floor = chosen[-1].size if len(chosen) == MOST_ROWS else 0

    def _remove(self, found: Object) -> None:
        del self._objects[found.key]
        owned = self._owned[found.owner]
        owned.discard(found.key)
        if not owned:
            del self._owned[found.owner]
        self._sizes[_place(found)] -= found.size
        if self._largest.pop(found.key, None) is not None:
            few = len(self._largest) < MOST_ROWS // 2
            if few and len(self._objects) > len(self._largest):
                self._choose(self._objects.values())

    def _node_gone(self, node: str) -> None:
        for found in self._objects.values():
            if node in found.copies:
                found.copies.remove(node)
                found.changed = True
            if found.node == node and not found.lost:
                self._sizes[_place(found)] -= found.size
                if found.copies:
                    found.node, found.on_disk = found.copies.pop(0), False
                else:
                    found.lost = True
                self._sizes[_place(found)] += found.size
                found.changed = True

    def _owner_gone(self, process: str, *, lives: bool) -> None:
        """What nobody else has goes with its owner, and nobody tells of that. ``lives``: the process may have ended or not."""
        for key in list(self._owned.get(process, ())):
            found = self._objects[key]
            if not any(lives or self._processes[holder].up for holder in found.holders):
                self._remove(found)

    # --- output ----------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        return 0

    def snapshot(self) -> State:
        """Rows of the ``MOST_ROWS`` largest, and sums over all."""
        largest: Iterable[Object] = self._largest.values()
        if len(self._largest) > MOST_ROWS:
            largest = nlargest(MOST_ROWS, largest, key=lambda each: each.size)
        rows = {found.key: self._row(found) for found in largest}
        return {
            "objects": rows,
            "totals": {**self._sizes, "count": len(self._objects)},
            "about": {
                "skipped": self.skipped,
                "hidden": len(self._objects) - len(rows),
                "last": self._last,
            },
        }

    def _row(self, found: Object) -> dict[str, Any]:
        version = self._processes.version
        if found.changed or found.seen != version:
            found.changed, found.seen = False, version
            called = self._processes.called
            held = [called(holder) for holder in found.holders[:MOST_HOLDERS]]
            if len(found.holders) > MOST_HOLDERS:
                held.append(f"{len(found.holders) - MOST_HOLDERS} more")
            found.row = {
                "size": found.size,
                "place": _place(found),
                "nodes": [self._node(node) for node in (found.node, *found.copies)],
                "owner": called(found.owner),
                "holders": held,
                "made": _made(found),
                "time": found.time,
            }
        return found.row

    def _node(self, node: str) -> str:
        """Ids are long; a driver that is attached to a cluster is no node of it, and has a store of its own."""
        if node not in self._nodes and any(
            process.node == node for process in self._processes.up() if process.role == "driver"
        ):
            return "driver"
        return node[:8]


def _place(found: Object) -> str:
    return "lost" if found.lost else "disk" if found.on_disk else "memory"


def _made(found: Object) -> str:
    if found.made == "result":
        return f"result of {found.by}"
    if found.made == "put":
        return f"put by {found.by or 'the driver'}"
    what = {"arguments": "arguments by value", "function": "a function"}.get(found.made) or str(found.made)
    return f"{what}, of {found.by}" if found.by else what
