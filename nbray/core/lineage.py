"""How an object can be made again: the call that made it, and how that call's arguments can be made again.

A lineage must not keep values alive, or a loop ``x = step.remote(x)`` would fill the store with all it ever made. So of an
argument that can be made again it keeps the lineage and only a weak reference; other arguments (small values, puts, what other
processes own) it keeps as they are.

Of a generator's call all large items have one lineage, which knows them by their numbers. A method's call can run again only
while its actor is there, whom a lineage does not keep alive.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any
from weakref import ReferenceType, WeakValueDictionary, ref

from nbray.core.calls import Call
from nbray.core.ids import COPY, Address
from nbray.core.lanes import Pool
from nbray.core.messages import SHARED, WireValue
from nbray.core.ownership import Entry

#: Calls that may have to run one after the other to make one object again. Beyond, a chain begins anew with a value that is kept.
DEEPEST = 1000


class Known:
    """An argument that is there: its entry."""

    __slots__ = ("key", "entry")

    def __init__(self, key: Any, entry: Entry) -> None:
        self.key = key
        self.entry = entry


class Remade:
    """An argument that can be made again if nobody has it any more."""

    __slots__ = ("key", "sequence", "entry", "lineage")

    def __init__(self, key: Any, entry: Entry, lineage: Lineage) -> None:
        self.key = key
        self.sequence = entry.sequence
        self.entry = ref(entry)
        self.lineage = lineage


class Lineage:
    """
    Attributes:
        call: what was submitted, its arguments and entries taken out. arguments, entries: those; the latter weakly.
        depth: how many calls may have to run one after the other.
        items: large ones of a generator, by their numbers; None if it is none. wanted: those that are being made again.
        actor: the entry of the handle to whom the method belongs, weakly; None if it is a task.
    """

    __slots__ = ("call", "arguments", "entries", "depth", "items", "wanted", "actor")

    def __init__(
        self,
        call: Call,
        arguments: tuple[Known | Remade, ...],
        entries: list[ReferenceType[Entry]],
        depth: int,
    ) -> None:
        self.call = call
        self.arguments = arguments
        self.entries = entries
        self.depth = depth
        self.items: WeakValueDictionary[int, Entry] | None = None
        self.wanted: dict[int, Entry] = {}
        self.actor: ReferenceType[Entry] | None = None

    def index(self, entry: Entry) -> int:
        """The number of that item."""
        return entry.sequence - self.call.sequence - 1


def lineage_of(entry: Entry) -> Lineage | None:
    found: Lineage | None = entry.guard.lineage if entry.guard is not None else None
    return found


def remember(call: Call) -> Lineage | None:
    """The lineage of what a call returned or yields; None if it may not run again, or where a chain has become too long."""
    if call.retries == 0:
        return None
    arguments: list[Known | Remade] = []
    depth = 1
    for key, entry in call.slots:
        lineage = lineage_of(entry) if entry.owner is None else None
        if lineage is None:
            arguments.append(Known(key, entry))
        else:
            arguments.append(Remade(key, entry, lineage))
            depth = max(depth, lineage.depth + 1)
    if depth > DEEPEST:
        return None
    made = Lineage(_copy(call, (), []), tuple(arguments), [ref(entry) for entry in call.entries], depth)
    if type(call.pool) is not Pool:
        made.call.keep, handle = call.keep
        made.actor = ref(handle)
    if call.stream is not None:
        made.entries = []
        made.items = WeakValueDictionary()
        if (
            call.extra is not None
        ):  # nobody takes items from a run for lost ones, so it must not wait for that
            made.call.extra = {key: value for key, value in call.extra.items() if key != "ahead"} or None
    return made


def repeat(lineage: Lineage, slots: tuple[tuple[Any, Entry], ...], entries: list[Any]) -> Call:
    """The call once more. It costs a retry."""
    call = _copy(lineage.call, slots, entries)
    call.charge()
    return call


def _copy(call: Call, slots: tuple[tuple[Any, Entry], ...], entries: list[Any]) -> Call:
    copy = Call(
        call.sequence,
        call.function,
        call.payload,
        slots,
        entries,
        call.refs,
        call.keep,
        call.pool,
        call.retries,
        call.retry_exceptions,
    )
    copy.attempt = call.attempt
    copy.extra = call.extra
    copy.priority = call.priority
    copy.parent, copy.origin = call.parent, call.origin
    return copy


def place_of(value: WireValue | None) -> bytes | None:
    """The node that has a large value; None for others."""
    return value[2] if type(value) is tuple and value[0] == SHARED else None


def is_put(value: Any) -> bool:
    """Whether a large value was put, so that no call can make it again."""
    return len(value) > 8


def put_value(value: Any, replicas: Iterable[Address] = ()) -> tuple[Any, ...]:
    """The same SHARED value, as one that was put and that those processes have, too."""
    return (*value[:8], tuple(map(tuple, replicas)))


def elsewhere(value: Any, avoid: Container[bytes]) -> tuple[Any, ...] | None:
    """A SHARED value as its first replica on a node that is not among ``avoid`` has it; None if there is none."""
    if not is_put(value):
        return None
    replicas = [Address(*each) for each in value[8]]
    for where in replicas:
        if where.node not in avoid:
            replicas.remove(where)
            return at_copy(value, where, replicas)
    return None


def at_copy(value: Any, where: Address, replicas: Iterable[Address] = ()) -> tuple[Any, ...]:
    """A SHARED value as that process has a copy of it."""
    moved = (SHARED, value[1], where.node, copy_name(value[1]), *value[4:6], tuple(where), value[7])
    return put_value(moved, replicas) if is_put(value) else moved


def copy_name(oid: bytes) -> str:
    """The file name of a copy: known to all processes of a node, so that one pull serves them all."""
    return COPY + oid.hex()
