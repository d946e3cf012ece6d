"""User values to wire values and back: inline if small, else in the node's shared memory; the refs they contain."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from nbray.core.ids import Address, ObjectId
from nbray.core.messages import ERROR, INLINE, SHARED, WireValue
from nbray.core.ownership import Entry, refs_in, with_refs
from nbray.exceptions import SerializationError
from nbray.owner.guards import Garbage, Guard, Segment
from nbray.store import segments
from nbray.store.store import Store
from nbray.wire.errors import dump_error, load_error
from nbray.wire.explain import explain_unpicklable
from nbray.wire.pickling import Dumped, dump, load

#: Bytes up to which a value stays with its owner and travels in messages.
INLINE_MOST = 100 * 1024
#: Bytes up to which a ready value travels inside the ref itself, which then needs no hold.
IN_REF_MOST = 4096


def pickled(value: Any, what: str) -> Dumped:
    """``dump``, with an error that names what cannot be pickled and where it was captured."""
    try:
        return dump(value)
    except Exception as error:
        raise SerializationError(explain_unpicklable(value, error, what)) from None


class Values:
    """
    Args:
        node: this process' node. store_dir: where its large objects lie.
        serve: the address from which other nodes can pull them.
        stored: told of each new segment, ``(object id, size, whether it is on disk, how it was made)``.
    """

    def __init__(
        self,
        node: bytes,
        store_dir: str,
        serve: Address,
        garbage: Garbage,
        stored: Callable[[bytes, int, bool, str], None],
    ) -> None:
        self.node = node
        self.serve = serve
        self._garbage = garbage
        self._stored = stored
        #: Of large objects that this process owns, arguments by value included.
        self.segments: WeakValueDictionary[bytes, Segment] = WeakValueDictionary()
        self.store = Store(store_dir)
        self.localize: Callable[[WireValue], WireValue] | None = None

    def keep(
        self, dumped: Dumped, object_id: ObjectId, made: str, *, own: bool = True, large: bool = False
    ) -> tuple[WireValue, Guard | None]:
        """The wire value, without refs (they are in the guard), and what keeps it alive.

        Args:
            made: how it came to be, for the feed: "put", "result", "arguments" or "function".
            own: this process owns the object and removes its segment at the end.
            large: it goes into shared memory whatever its size.

        Raises:
            OutOfDiskError: neither the node's shared memory nor its disk has room.
        """
        data, buffers, refs = dumped
        most = -1 if large else INLINE_MOST
        if not buffers and len(data) <= most:
            if not refs:
                return data, None
            value: WireValue = (INLINE, data, (), ())
        elif len(data) + sum(b.nbytes for b in buffers) <= most:
            value = (INLINE, data, tuple(map(bytes, buffers)), ())
            if not refs:
                return value, None
        else:
            name, size, layout, on_disk = self.store.write(object_id, data, buffers)
            value = (SHARED, object_id, self.node, name, size, layout, tuple(self.serve), ())
            guard = Guard()
            if own:
                guard.segment = self.segment(value)
            guard.contained = tuple(refs)
            self._stored(object_id, size, on_disk, made)
            return value, guard
        guard = Guard()
        guard.contained = tuple(refs)
        return value, guard

    def close(self) -> None:
        """Nothing is kept or read any more."""
        self.store.close()

    def segment(self, value: Any) -> Segment:
        """The guard of a SHARED value's file, for its owner."""
        made = Segment(self._garbage, value[1], value[2], value[3], value[4], value[6])
        self.segments[value[1]] = made
        return made

    def load(self, value: Any) -> Any:
        """The Python object. A failure is raised."""
        __tracebackhide__ = True
        if type(value) is bytes:
            return load(value)
        kind = value[0]
        if kind == INLINE:
            return load(value[1], value[2])
        if kind == SHARED:
            if value[2] != self.node and self.localize is not None:
                value = self.localize(value)
            data, buffers = segments.open_segment(
                self.store.directory, value[3], value[4], value[5], value[1]
            )
            return load(data, buffers)
        assert kind == ERROR, kind
        raise load_error(value[1])

    def failure(self, error: BaseException, name: str = "get") -> WireValue:
        """A failure, by itself: what it says and where it came from, but no refs.

        Args:
            name: of what failed.
        """
        return (ERROR, dump_error(error, name, os.getpid(), self.node.hex()))

    @staticmethod
    def error(value: Any) -> BaseException:
        """The exception in a failure."""
        return load_error(value[1])


def contained(entry: Entry) -> tuple[Entry, ...]:
    """The entries that an entry's value contains."""
    if entry.failed:
        return refs_in(entry.value)  # type: ignore[arg-type]
    guard = entry.guard
    return guard.contained if guard is not None else ()


__all__ = ["IN_REF_MOST", "INLINE_MOST", "Values", "contained", "pickled", "refs_in", "with_refs"]
