"""How users say how their types are pickled, and ask why something is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbray.wire import reducers
from nbray.wire.explain import unpicklable_parts
from nbray.wire.pickling import dump_function


def register_serializer(
    cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> None:
    """Pickle instances of ``cls`` by functions of one's own, in this process from now on.

    Wherever the value arrives, ``deserializer`` makes it anew: nothing has to be registered there. A task or an actor whose
    *results* need it registers for itself.

    Args:
        cls: the type, exactly: instances of its subclasses are pickled as ever.
        serializer: from an instance to something that can be pickled.
        deserializer: from that to an instance. Pickled along.

    Raises:
        TypeError: ``cls`` is no type, or one of the functions cannot be called.

    Example:
        >>> nbray.util.register_serializer(
        ...     Connection, serializer=lambda connection: connection.url, deserializer=Connection
        ... )
    """
    if not isinstance(cls, type):
        raise TypeError(f"'cls' must be a type, not {type(cls).__name__}")
    for name, function in (("serializer", serializer), ("deserializer", deserializer)):
        if not callable(function):
            raise TypeError(f"{name!r} must be callable, not {type(function).__name__}")
    reducers.register(cls, lambda value: (deserializer, (serializer(value),)))


def deregister_serializer(cls: type) -> None:
    """Undo ``register_serializer``. Nothing happens if there was none."""
    reducers.unregister(cls)


def why_unpicklable(value: Any, depth: int) -> tuple[Exception, list[tuple[str, str, Any]]] | None:
    """None if a task could get ``value`` as an argument; else what pickling raised, and the way to the part that refuses.

    Args:
        depth: steps of that way at most. See ``unpicklable_parts``.
    """
    try:
        dump_function(value)
    except Exception as error:
        return error, unpicklable_parts(value, depth)
    return None
