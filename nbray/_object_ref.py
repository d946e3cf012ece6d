"""``ObjectRef``: the public face of an entry."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from nbray import _rich, _runtime
from nbray._rich import size
from nbray.core.ids import Address, call_of, object_id
from nbray.core.messages import INLINE, SHARED
from nbray.core.ownership import Entry
from nbray.wire.errors import describe_error
from nbray.wire.pickling import note_ref

if TYPE_CHECKING:  # 40 ms that most programs never need
    import asyncio
    import concurrent.futures

_MAIN = threading.main_thread().ident
#: Seconds between two looks of a loop that waits, and how much is awaited on loops of the main thread.
_LOOK = 0.1
_awaited: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TaskID(bytes):
    """The id of a task: that of its first return value."""

    __slots__ = ()

    def binary(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"TaskID({self.hex()})"

    __str__ = __repr__


class ObjectRef(Entry, Generic[T_co]):
    """A value that exists or will: what ``.remote()`` and ``put`` answer, and ``get`` turns into the value.

    Within a process there is one ``ObjectRef`` an object, so equal refs are the same ref. It may be passed as an argument (the
    task gets the value), inside a value (the task gets the ref), pickled, awaited, or given to ``wait``. The value lives as
    long as anybody anywhere has the ref.

    Example:
        >>> ref = square.remote(3)
        >>> nbray.get(ref)
        9
    """

    __slots__ = ()

    # Identity is equality, and object's own __eq__ and __hash__ run at C speed: none are defined here.

    def hex(self) -> str:
        """The object's id in hexadecimal digits, as in events and messages."""
        return self.id.hex()

    def binary(self) -> bytes:
        """The object's id, 16 bytes."""
        return bytes(self.id)

    def task_id(self) -> TaskID:
        """The id of the task that makes the value; a ``put`` counts as one."""
        return TaskID(object_id(self.owner_id, call_of(self.sequence)))

    def __await__(self) -> Generator[Any, None, T_co]:
        """The value, in a coroutine. Raises what ``get`` would.

        Cancelling the waiter leaves the task alone.
        """
        runtime = _runtime.current()
        if not self.ready:
            yield from arrival(runtime, self)
        value: T_co = runtime.get([self], None)[0]
        return value

    def future(self) -> concurrent.futures.Future[T_co]:
        """A ``concurrent.futures.Future`` that gets the value or the failure. Cancelling it leaves the task alone."""
        import concurrent.futures

        runtime = _runtime.current()
        future: concurrent.futures.Future[T_co] = concurrent.futures.Future()

        def arrived() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                value = runtime.get([self], None)[0]
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        runtime.on_ready(self, arrived)
        return future

    def as_future(self) -> asyncio.Future[T_co]:
        """An ``asyncio.Future`` of the running loop, for older programs for Ray; ``await ref`` does without."""
        import asyncio

        return asyncio.wrap_future(self.future())

    def __reduce__(self) -> tuple[Any, ...]:
        runtime = _runtime.current()
        if not note_ref(self):
            runtime.pin(self)
        oid = self.id
        # Whoever unpickles it in this process has to get this very entry.
        runtime.owner.canonical[oid] = self
        return _resolve, (bytes(oid), tuple(self.owner or runtime.address))

    def __copy__(self) -> ObjectRef[T_co]:
        return self

    def __deepcopy__(self, memo: object) -> ObjectRef[T_co]:
        return self

    if not TYPE_CHECKING:  # a checker shall go on to refuse what is not there

        def __getattr__(self, name: str) -> Any:
            hint = "" if name.startswith("_") else f": get() brings its value, which may have {name!r}"
            raise AttributeError(
                f"'ObjectRef' object has no attribute {name!r}{hint}", name=name, obj=None if hint else self
            )

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def _repr_html_(self) -> str:
        """For notebooks: the id and what is known of the value right now."""
        return _rich.line(repr(self), *_told(self))


_runtime.register(ObjectRef)


def _resolve(object_id: bytes, owner: tuple[Any, ...]) -> Any:
    return _runtime.current().resolve(object_id, Address(*owner))


def arrival(runtime: _runtime.Runtime, entry: Entry) -> asyncio.Future[None]:
    """A future of the running loop that is done once the entry is ready."""
    import asyncio

    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()
    if threading.get_ident() == _MAIN:
        waiting = _awaited.get(loop, 0)
        _awaited[loop] = waiting + 1
        if not waiting:
            loop.call_later(_LOOK, _look, loop)
    runtime.on_ready(entry, lambda: _tell(loop, arrived))
    return arrived


def _look(loop: asyncio.AbstractEventLoop) -> None:
    """A kernel's Ctrl-C in an ``await`` is a callback that its loop gets inside the signal handler. A loop that sleeps until a
    socket or a timer has something does not find it, so while anything is awaited on the main thread its loop looks around."""
    if _awaited.get(loop):
        loop.call_later(_LOOK, _look, loop)


def _tell(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(_arrive, loop, arrived)
    except RuntimeError:
        pass  # the loop was closed meanwhile, with whoever waited


def _arrive(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
    if loop in _awaited:
        _awaited[loop] -= 1
    if not arrived.done():
        arrived.set_result(None)


def _told(entry: Entry) -> tuple[str, list[str]]:
    """The state in a word, and what else is known of an object right now: why, size and place, owner, node."""
    runtime = _runtime.current_or_none()
    owner = runtime.owner if runtime is not None else None
    if owner is None or (entry.owner is None and entry.owner_id != owner.process):
        return "of a session that has ended", []
    whose = (
        f"owned by process {entry.owner_id.hex()[:8]}" if entry.owner is not None else "owned by this process"
    )
    if not entry.ready:
        call = owner.calls.under_way.get(call_of(entry.sequence))
        return "pending", [f"result of {call.function.name}" if call is not None else "", whose]
    value: Any = entry.value
    if entry.failed:
        return "failed", [describe_error(value[1]).strip().rpartition("\n")[2], whose]
    if type(value) is bytes:
        return "ready", [size(len(value)), whose]
    if value[0] == INLINE:
        return "ready", [size(len(value[1]) + sum(map(len, value[2]))), whose]
    if value[0] == SHARED:
        _, _, node, name, count, *_ = value
        here = node == owner.node
        place = "on disk" if here and owner.values.store.on_disk(name) else "in shared memory"
        where = f"node {node.hex()[:8]}"
        if node in owner.dead_nodes:
            return "lost", [size(count), f"{where} is gone", whose]
        return "ready", [f"{size(count)} {place}", f"{where}, this one" if here else where, whose]
    return "ready", [whose]
