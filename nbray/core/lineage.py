"""How an object can be made again: the call that made it, and how that call's arguments can be made again.

A lineage must not keep values alive, or a loop ``x = step.remote(x)`` would fill the store with all it ever made. So of an
argument that can be made again it keeps the lineage and only a weak reference; other arguments (small values, puts, what other
processes own) it keeps as they are.
"""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType, ref

from nbray.core.calls import Call
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
    """

    __slots__ = ("call", "arguments", "entries", "depth")

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


def lineage_of(entry: Entry) -> Lineage | None:
    found: Lineage | None = entry.guard.lineage if entry.guard is not None else None
    return found


def remember(call: Call) -> Lineage | None:
    """The lineage of what an ended task returned; None if it may not run again, or where a chain has become too long."""
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
    return Lineage(_copy(call, (), []), tuple(arguments), [ref(entry) for entry in call.entries], depth)


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
