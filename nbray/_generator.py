"""``ObjectRefGenerator``: what the call of a generator answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from nbray import _rich, _runtime
from nbray._object_ref import ObjectRef, arrival
from nbray.core.ids import object_id

if TYPE_CHECKING:
    from nbray.core.ownership import Entry
    from nbray.core.streaming import Stream
    from nbray.owner.streams import Streams

T_co = TypeVar("T_co", covariant=True)


class ObjectRefGenerator(Generic[T_co]):
    """The items of a generator that runs as a task or in an actor: an iterator of refs, each there as soon as it is yielded.

    ``for ref in gen`` and ``async for ref in gen`` wait for the next item; ``wait([gen])`` waits for the next item of any of
    several. If the generator raises, or its process dies, the last ref's ``get`` raises that, and then the iteration ends.
    When nobody has it any more, or ``close`` is called, the remote generator is closed: its ``finally`` runs, items not taken
    are freed. Refs that were taken stay.

    One thread at a time may take items. It cannot be pickled: pass the refs.

    Example:
        >>> @nbray.remote
        ... def numbers(n):
        ...     yield from range(n)
        >>> [nbray.get(ref) for ref in numbers.remote(3)]
        [0, 1, 2]
    """

    __slots__ = ("_stream", "_streams", "__weakref__")

    def __init__(self, stream: Stream, streams: Streams) -> None:
        self._stream = stream
        self._streams = streams

    def __iter__(self) -> ObjectRefGenerator[T_co]:
        return self

    def __next__(self) -> ObjectRef[T_co]:
        """The ref of the next item; waits for it.

        Raises:
            StopIteration: there are no more. RaySystemError: the session ended.
        """
        __tracebackhide__ = True
        self._streams.wait(self._stream)
        ref = self._streams.take(self._stream)
        if ref is None:
            raise StopIteration
        return ref  # type: ignore[return-value]

    def __aiter__(self) -> ObjectRefGenerator[T_co]:
        return self

    async def __anext__(self) -> ObjectRef[T_co]:
        """The same in a coroutine. Cancelling it takes nothing."""
        first = self._stream.next
        if not first.ready:
            await arrival(_runtime.current(), first)
        ref = self._streams.take(self._stream)
        if ref is None:
            raise StopAsyncIteration
        return ref  # type: ignore[return-value]

    def completed(self) -> ObjectRef[None]:
        """A ref that is ready when the generator has ended. Its ``get`` raises if a crash ended it, not if the generator itself
        raised: that is its last item."""
        return self._stream.completed  # type: ignore[return-value]

    def is_finished(self) -> bool:
        """Whether it has ended and all its refs are taken. Does not wait."""
        return self._stream.dropped or self._stream.over

    def next_ready(self) -> bool:
        """Whether ``next`` would give a ref at once. Does not wait."""
        return self._stream.next.ready and not self.is_finished()

    def close(self) -> None:
        """End the remote generator at its next ``yield``, and free what was not taken. ``next`` then ends the iteration.

        A call that has not started never starts. An async generator that awaits something is cancelled there.
        """
        self._streams.close_now(self._stream)

    async def aclose(self) -> None:
        """``close`` under the name that async iterators have for it."""
        self.close()

    @property
    def _next(self) -> Entry:
        """What becomes ready when ``next`` need not wait any more."""
        return self._stream.next

    def __del__(self) -> None:
        self._streams.dropped(self._stream)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an ObjectRefGenerator cannot be pickled, so it cannot be passed or returned: only the process that made the "
            "call can iterate over it. Pass the refs that it gives, or list(gen)."
        )

    def __copy__(self) -> ObjectRefGenerator[T_co]:
        return self

    def __deepcopy__(self, memo: object) -> ObjectRefGenerator[T_co]:
        return self

    def __repr__(self) -> str:
        stream: Any = self._stream
        return f"ObjectRefGenerator({object_id(stream.end.owner_id, stream.sequence).hex()})"

    def _repr_html_(self) -> str:
        """For notebooks: how far it is, and how many items wait to be taken."""
        stream = self._stream
        waiting = len(stream.items) - 1
        state = (
            "closed"
            if stream.dropped
            else "finished"
            if stream.over
            else "ended"
            if stream.ended
            else "running"
        )
        items = f"{stream.taken} taken, {waiting} more there" if waiting else f"{stream.taken} taken"
        return _rich.line(repr(self), state, [f"items: {items}", "it raised" if stream.raised else ""])
