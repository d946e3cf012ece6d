"""User values as bytes: pickle 5 with large buffers out-of-band, and the refs a value contains.

    dumped = dump(value)
    value = load(dumped.pickle, [bytearray(b) for b in dumped.buffers])

Three roads, the first that will do: one call into the C pickler for small plain values and for arrays of numbers; the C
pickler with our reducers; cloudpickle. The C pickler writes things of ``__main__`` as a name, which means nothing (or something
else) in another process, and does so without a word: its output is searched for that name, and cloudpickle does the work again
if it is there.

What ``dump`` returns are views of the user's memory. They have to be copied or sent before user code goes on.
"""

from __future__ import annotations

import io
import sys
import threading
from _pickle import dumps as _c_dumps
from collections import ChainMap
from collections.abc import Callable, Collection, Sequence
from copyreg import dispatch_table as _copyreg_table
from operator import is_not
from pickle import PickleBuffer, Pickler, PicklingError
from pickle import loads as _c_loads
from types import CodeType
from typing import Any, NamedTuple

import cloudpickle

from nbray.exceptions import SerializationError
from nbray.wire import reducers

PROTOCOL = 5
BUFFER_MIN = 4096
"""Bytes from which a buffer travels out-of-band. Below, one copy costs less than one more item to keep track of."""
LARGE_BYTES = 65536
"""Length from which ``bytes`` and ``bytearray`` go out-of-band too. Lower than that they would only leave the one-call road."""


class Dumped(NamedTuple):
    """A pickled value.

    Attributes:
        pickle: the pickle stream.
        buffers: its out-of-band buffers in order, flat views of the user's memory.
        refs: what ``note_ref`` was given meanwhile, in order, repeats included.
    """

    pickle: bytes
    buffers: Sequence[memoryview]
    refs: Sequence[Any]


class _Current(threading.local):
    refs: list[Any] | None = None


_current = _Current()
_new = tuple.__new__

#: What multiprocessing calls ``__main__`` in a process that it has spawned. Nobody else can import it either.
_SPAWNED_MAIN = {"__mp_main__"}
_NUMBERS = frozenset((type(None), bool, int, float, str))
_ATOMS = _NUMBERS | {bytes}
_CONTAINERS = frozenset((tuple, list, dict))
_LIFTABLE = frozenset((bytes, bytearray))
_FLAT = _ATOMS | _LIFTABLE
_FAST_LENGTH = 32
_LIFT_LENGTH = 64


def note_ref(entry: Any) -> bool:
    """Called by the ``__reduce__`` of refs and handles: says that the value being dumped contains ``entry``.

    False if this thread is in no ``dump`` (the user pickles on his own): nobody will then account for the copy.
    """
    refs = _current.refs
    if refs is None:
        return False
    refs.append(entry)
    return True


class RefCollector:
    """Collects the refs that are noted by this thread inside ``with``; what is outside gets none of them.

    >>> with RefCollector() as refs:
    ...     note_ref("entry")
    True
    >>> refs
    ['entry']
    """

    __slots__ = ("_outer", "_refs")

    def __init__(self, into: list[Any] | None = None) -> None:
        self._refs: list[Any] = [] if into is None else into

    def __enter__(self) -> list[Any]:
        self._outer = _current.refs
        _current.refs = self._refs
        return self._refs

    def __exit__(self, *_: object) -> None:
        _current.refs = self._outer


def dump(value: Any) -> Dumped:
    """Pickle ``value``.

    Raises whatever pickling raises, ``explain_unpicklable`` in ``wire/explain.py`` finds out why.
    """
    kind = type(value)
    if kind is tuple and len(value) <= _FAST_LENGTH and _NUMBERS.issuperset(map(type, value)):
        return _new(Dumped, (_c_dumps(value, PROTOCOL), (), ()))
    if kind in _CONTAINERS:
        if _is_plain(value):
            return _new(Dumped, (_c_dumps(value, PROTOCOL), (), ()))
    elif kind in _ATOMS:
        if kind is not bytes or len(value) < LARGE_BYTES:
            return _new(Dumped, (_c_dumps(value, PROTOCOL), (), ()))
        return Dumped(_BYTES_PICKLE, [memoryview(value)], ())
    elif kind is bytearray and len(value) >= LARGE_BYTES:
        return Dumped(_BYTEARRAY_PICKLE, [memoryview(value)], ())
    elif reducers.table.get(kind) is reducers.reduce_array and value.nbytes >= BUFFER_MIN:
        parts = reducers.reduce_array(value)
        if reducers.of_numbers(parts):
            return _dump_array(parts)
    return _dump_any(value)


def load(data: bytes, buffers: Sequence[Any] = ()) -> Any:
    """The value that ``dump`` pickled.

    Args:
        data: the pickle stream.
        buffers: the buffers in order. Arrays use the memory of writable ones; of ``bytes`` a writable copy is made first.

    Raises:
        SerializationError: the value cannot be made here, for instance because a module is missing.
    """
    try:
        if not buffers:
            return _c_loads(data)
        return _c_loads(data, buffers=[bytearray(b) if type(b) is bytes else b for b in buffers])
    except Exception as error:
        raise SerializationError(f"cannot unpickle the value: {type(error).__name__}: {error}") from error


def dump_function(function: Any, refs: list[Any] | None = None) -> bytes:
    """Pickle a function or class by cloudpickle, buffers included.

    Args:
        function: what to pickle; by value if it is of ``__main__``, local, a lambda, or of a module registered for that.
        refs: gets the refs that the function holds in its closure, globals or defaults. Without, ``note_ref`` answers
            them what it answers outside of any dump.
    """
    if refs is None:
        return _cloud_dump(function, None)
    with RefCollector(refs):
        return _cloud_dump(function, None)


# --- the roads -----------------------------------------------------------------------------------------------------


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Whether a small container holds nothing but atoms and small containers of them, as the arguments of most calls."""
    if len(value) > _FAST_LENGTH:
        return False
    items = value
    if type(value) is dict:
        if not _NUMBERS.issuperset(map(type, value)):
            return False
        items = value.values()
    if _NUMBERS.issuperset(map(type, items)):
        return True
    if not depth:
        return False
    for item in items:
        kind = type(item)
        if kind in _NUMBERS:
            continue
        if kind is bytes:
            if len(item) >= LARGE_BYTES:
                return False
        elif kind not in _CONTAINERS or not _is_plain(item, depth - 1):
            return False
    return True


class _Reduced:
    """Pickles as the object whose reduction it is given."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        return self._parts


def _dump_array(parts: Any) -> Dumped:
    """An array of numbers is its buffer and a few words: nothing in it needs cloudpickle, or is a ref."""
    buffers: list[PickleBuffer] = []
    data = _c_dumps(_Reduced(parts), PROTOCOL, buffer_callback=buffers.append)
    return _new(Dumped, (data, [buffer.raw() for buffer in buffers], ()))


def _dump_any(value: Any) -> Dumped:
    reducers.install_for_imported_modules()
    buffers: list[memoryview] = []
    refs: list[Any] = []

    def keep_large(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BUFFER_MIN:
            return True
        buffers.append(raw)
        return False

    if type(value) in _CONTAINERS:
        value = _lift(value, {})
    outer = _current.refs
    _current.refs = refs
    try:
        data = None
        if cloudpickle.list_registry_pickle_by_value() <= _SPAWNED_MAIN:
            try:
                data = _plain_dump(value, keep_large)
            except (PicklingError, AttributeError, TypeError):
                pass  # lambdas, local classes, modules: cloudpickle's work, or its error if it cannot either
        if data is None or b"_main__" in data:
            buffers.clear()
            refs.clear()
            data = _cloud_dump(value, keep_large)
    finally:
        _current.refs = outer
    return Dumped(data, buffers, refs)


def _plain_dump(value: Any, buffer_callback: Callable[[PickleBuffer], bool]) -> bytes:
    if not reducers.table:
        return _c_dumps(value, PROTOCOL, buffer_callback=buffer_callback)
    file = io.BytesIO()
    pickler = Pickler(file, PROTOCOL, buffer_callback=buffer_callback)
    # A plain dict, made anew: the C pickler looks a plain dict up without running Python code, and what users register
    # with copyreg at any time has to count.
    pickler.dispatch_table = _copyreg_table | reducers.table
    pickler.dump(value)
    return file.getvalue()


_reduce_code = cloudpickle.Pickler.dispatch_table[CodeType]


def reduce_code(code: CodeType) -> Any:
    """cloudpickle's reduction of a code object, and the file it came from.

    From 3.1.3 on cloudpickle leaves the file out, so that equal functions of different files pickle alike; we want
    tracebacks with the user's lines more.
    """
    return rebuild_code, (*_reduce_code(code)[1], code.co_filename)


def rebuild_code(*parts: Any) -> CodeType:
    """The other half of ``reduce_code``."""
    return CodeType(*parts[:-1]).replace(co_filename=parts[-1])


class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle with our reducers."""

    dispatch_table = ChainMap(
        reducers.table, {CodeType: reduce_code}, *cloudpickle.Pickler.dispatch_table.maps
    )

    def reducer_override(self, obj: Any) -> Any:
        """As cloudpickle's, but a class with slots has them in the other process too.

        cloudpickle makes it anew without: its instances then have a ``__dict__`` there, in which nobody who has the class
        itself can read them. A ``@dataclass(slots=True)`` of a script could not come back from a task.
        """
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and type(reduced) is tuple and reduced[0].__name__ == "_make_skeleton_class":
            slots = obj.__dict__.get("__slots__")
            # Not an iterator that the class used up. And a NamedTuple is made by a function that gives it its slots, and
            # refuses a body with any.
            if isinstance(slots, Collection) and NamedTuple not in getattr(obj, "__orig_bases__", ()):
                reduced[1][3]["__slots__"] = slots  # what the body of the new class begins with
        return reduced


def _cloud_dump(value: Any, buffer_callback: Callable[[PickleBuffer], bool] | None) -> bytes:
    spawned = sys.modules.get("__mp_main__")
    if spawned is not None:
        cloudpickle.register_pickle_by_value(spawned)
    file = io.BytesIO()
    CloudPickler(file, PROTOCOL, buffer_callback=buffer_callback).dump(value)
    return file.getvalue()


# --- large bytes ---------------------------------------------------------------------------------------------------


class _Lifted:
    """Stands for a large ``bytes`` or ``bytearray``, which the pickler would copy into its stream without asking."""

    __slots__ = ("kind", "view")

    def __init__(self, value: bytes | bytearray) -> None:
        self.kind = type(value)
        self.view = value

    def __reduce__(self) -> tuple[Any, ...]:
        return self.kind, (PickleBuffer(self.view),)


def _lift(value: Any, seen: dict[int, Any], depth: int = 3) -> Any:
    """``value``, with large bytes replaced where arguments have them: in tuples, and in flat lists and dicts.

    What is replaced twice must stay one object, and a list or dict that could be part of a cycle stays as it is.
    """
    kind = type(value)
    if kind not in _LIFTABLE and (kind not in _CONTAINERS or not value or len(value) > _LIFT_LENGTH):
        return value
    if id(value) in seen:
        return seen[id(value)]
    lifted = value
    if kind in _LIFTABLE:
        if len(value) >= LARGE_BYTES:
            lifted = _Lifted(value)
    elif kind is tuple:
        if depth:
            items = tuple([_lift(item, seen, depth - 1) for item in value])
            if any(map(is_not, items, value)):
                lifted = items
    else:
        items = value.values() if kind is dict else value
        kinds = set(map(type, items))
        if not kinds.isdisjoint(_LIFTABLE) and kinds <= _FLAT:
            changed = [_lift(item, seen, 0) for item in items]
            lifted = dict(zip(value, changed, strict=True)) if kind is dict else changed
    seen[id(value)] = lifted
    return lifted


def _stream_of(value: bytes | bytearray) -> bytes:
    return _c_dumps(_Lifted(value), PROTOCOL, buffer_callback=lambda _: False)


# The stream of a lifted value does not depend on its bytes.
_BYTES_PICKLE = _stream_of(b"")
_BYTEARRAY_PICKLE = _stream_of(bytearray())
