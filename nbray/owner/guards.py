"""What must be undone when an entry goes. ``__del__`` may run anywhere, so it appends to a queue and does nothing else."""

from __future__ import annotations

from collections import deque
from typing import Any

from nbray.core.ids import Address

#: (DROP_SEGMENT, object id, node, name, size, serve address), (DROP_HOLD, object id, owner, n), (DROP_ACTOR, actor id),
#: (DROP_STREAM, stream), (DROP_FAILURE, author, error)
DROP_SEGMENT, DROP_HOLD, DROP_ACTOR, DROP_STREAM, DROP_FAILURE = range(5)

Garbage = deque[tuple[Any, ...]]


class Guard:
    """What one entry keeps alive: the entries its value contains, its bytes in shared memory, its hold at the owner, how it
    can be made again (``core/lineage.py``), and the failure that nobody has seen (``owner/unasked.py``).
    """

    __slots__ = ("contained", "segment", "hold", "life", "lineage", "failed")

    def __init__(self) -> None:
        self.contained: tuple[Any, ...] = ()
        self.segment: Segment | None = None
        self.hold: Hold | None = None
        self.life: ActorLife | None = None
        self.lineage: Any = None
        self.failed: Any = None


class Segment:
    """The file of a large object that this process owns."""

    __slots__ = ("_garbage", "object_id", "node", "name", "size", "serve", "__weakref__")

    def __init__(
        self, garbage: Garbage, object_id: bytes, node: bytes, name: str, size: int, serve: Any
    ) -> None:
        self._garbage = garbage
        self.object_id = object_id
        self.node = node
        self.name = name
        self.size = size
        self.serve = serve

    def moved(self, value: Any) -> None:
        """The file is gone with its node, a copy takes its place."""
        self.node, self.name, self.serve = value[2], value[3], value[6]

    def __del__(self) -> None:
        self._garbage.append((DROP_SEGMENT, self.object_id, self.node, self.name, self.size, self.serve))


class Hold:
    """This process' counts at the owner of a borrowed object.

    ``asked`` is the number of the HOLD request that the owner has not acknowledged yet, else None; ``fetching`` says that its
    value was asked for; ``lost`` is the node where it was not to be had any more, or b"", and ``put`` says that it was put there.
    """

    __slots__ = ("_garbage", "object_id", "owner", "count", "asked", "fetching", "lost", "put")

    def __init__(self, garbage: Garbage, object_id: bytes, owner: Address) -> None:
        self._garbage = garbage
        self.object_id = object_id
        self.owner = owner
        self.count = 0
        self.asked: int | None = None
        self.fetching = False
        self.lost: bytes = b""
        self.put = False

    def __del__(self) -> None:
        if self.count:
            self._garbage.append((DROP_HOLD, self.object_id, self.owner, self.count))


class ActorLife:
    """The creator's last word: when this goes, nobody has a handle any more."""

    __slots__ = ("_garbage", "actor_id")

    def __init__(self, garbage: Garbage, actor_id: bytes) -> None:
        self._garbage = garbage
        self.actor_id = actor_id

    def __del__(self) -> None:
        self._garbage.append((DROP_ACTOR, self.actor_id))
