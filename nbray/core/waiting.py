"""The queue of who waits for a lease. Pure.

All wants of a *shape* (same resources, same rules for labels) fit a node or none does, so an event costs a look at the heads of
the few shapes that wait, however long their queues are.
"""

from __future__ import annotations

import heapq
from typing import TypeAlias

from nbray.core.ids import ActorId, LeaseId, ProcessId
from nbray.core.ledger import Asks, Resources
from nbray.core.messages import Spec

#: What must be free, what is then held, and whether it is a lane: of those a node takes only so many.
ShapeKey: TypeAlias = "tuple[Asks, Resources, bool]"


class Want:
    """What one owner wants of one spec, or one actor's place. ``asks`` must be free, ``spec`` is what it then holds."""

    __slots__ = (
        "actor", "asks", "depth", "epoch", "failures", "job", "owner", "parent", "placing", "shape", "spec", "ticket",
        "wanted", "priority",
    )  # fmt: skip

    def __init__(self, owner: ProcessId, spec: Spec, asks: Asks, actor: ActorId | None = None) -> None:
        self.owner = owner
        self.spec = spec
        self.asks = asks
        self.shape: ShapeKey = (
            self.asks,
            tuple((name, units) for name, units in spec[0] if units),
            actor is None,
        )
        self.wanted = 0  # not yet granted ...
        self.placing = 0  # ... and of those, on their way
        self.parent: LeaseId | None = None
        self.job = owner
        self.depth = 0
        self.priority = 0
        self.ticket = 0
        self.failures = 0.0
        self.actor = actor
        self.epoch = 0

    @property
    def unmet(self) -> int:
        return self.wanted - self.placing


class Shape:
    """Everybody who waits for the same resources. An entry of a heap whose ticket is not its want's any more is stale."""

    __slots__ = ("asks", "blocked", "claims", "holds", "jobs", "key", "lane", "passed")

    def __init__(self, key: ShapeKey) -> None:
        self.key = key
        self.asks, self.holds, self.lane = key
        self.blocked = False  # no node has room; until one gains some, nobody here needs a look
        self.passed = 0  # placements of other shapes since this one was first blocked
        self.claims: dict[Want, None] = {}  # children of blocked tasks, see placement; the newest last
        self.jobs: dict[ProcessId, list[tuple[tuple[int, int], int, Want]]] = {}

    def heads(self) -> list[Want]:
        """The first of every job."""
        found = []
        for job in list(self.jobs):
            heap = self.jobs[job]
            while heap and not (heap[0][1] == heap[0][2].ticket and heap[0][2].unmet > 0):
                heapq.heappop(heap)
            if heap:
                found.append(heap[0][2])
            else:
                del self.jobs[job]
        return found


class WaitingList:
    def __init__(self) -> None:
        self.shapes: dict[ShapeKey, Shape] = {}
        self._children: dict[LeaseId, dict[Want, None]] = {}  # by the lease that they were submitted under
        self._last_ticket = 0

    def add(self, want: Want) -> Shape:
        """Queue a want: behind those of its job that are as deep. Again, to go to the end."""
        shape = self.shapes.get(want.shape)
        if shape is None:
            shape = self.shapes[want.shape] = Shape(want.shape)
        self._last_ticket += 1
        want.ticket = self._last_ticket
        heapq.heappush(
            shape.jobs.setdefault(want.job, []), ((-want.priority, -want.depth), want.ticket, want)
        )
        if want.parent is not None:
            self._children.setdefault(want.parent, {})[want] = None
        return shape

    def remove(self, want: Want) -> None:
        """Forget it; its heap entry turns stale."""
        want.ticket = 0
        shape = self.shapes.get(want.shape)
        if shape is not None:
            shape.claims.pop(want, None)
        if want.parent is not None and want.parent in self._children:
            siblings = self._children[want.parent]
            siblings.pop(want, None)
            if not siblings:
                del self._children[want.parent]

    def children(self, lease: LeaseId) -> list[Want]:
        return list(self._children.get(lease, ()))

    def orphan(self, lease: LeaseId) -> None:
        """The lease ended: its children wait on, without a claim."""
        for want in self._children.pop(lease, ()):
            want.parent = None
            self.shapes[want.shape].claims.pop(want, None)

    def unblock(self) -> None:
        for shape in self.shapes.values():
            shape.blocked = False

    def all(self) -> list[Want]:
        """Everybody who waits."""
        entries = (entry for shape in self.shapes.values() for heap in shape.jobs.values() for entry in heap)
        return [want for _, ticket, want in entries if ticket == want.ticket and want.unmet > 0]
