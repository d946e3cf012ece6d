"""``num_returns="dynamic"``, Ray's older kind of generator: one ref, whose value has a ref for every item."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from nbray import _runtime
from nbray._object_ref import ObjectRef
from nbray.core.messages import ERROR
from nbray.wire.errors import dump_error

T = TypeVar("T")


class DynamicObjectRefGenerator(Generic[T]):
    """The refs of all items, each given once. Streaming, the default of generator functions, has each as soon as it is yielded.

    Example:
        >>> @nbray.remote(num_returns="dynamic")
        ... def numbers(n):
        ...     yield from range(n)
        >>> [nbray.get(ref) for ref in nbray.get(numbers.remote(3))]
        [0, 1, 2]
    """

    def __init__(self, refs: Iterable[ObjectRef[T]]) -> None:
        self._refs = deque(refs)

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        while self._refs:
            yield self._refs.popleft()

    def __len__(self) -> int:
        return len(self._refs)

    def __repr__(self) -> str:
        return f"DynamicObjectRefGenerator({len(self)} refs)"


def gathered(
    function: Callable[..., Iterator[T]], *, retried: bool
) -> Callable[..., DynamicObjectRefGenerator[T]]:
    """A function that answers a generator function's items in that form.

    Args:
        retried: exceptions may make it run again, so they are raised. Else one is the last item.
    """

    @functools.wraps(function)
    def gather(*args: Any, **kwargs: Any) -> DynamicObjectRefGenerator[T]:
        runtime = _runtime.current()
        refs: list[Any] = []
        try:
            for item in function(*args, **kwargs):
                refs.append(runtime.put(item))  # noqa: PERF401 (those before an error count)
        except Exception as error:
            if retried:
                raise
            refs.append(_failed(runtime, error, function.__qualname__.rpartition("<locals>.")[2]))
        return DynamicObjectRefGenerator(refs)

    return gather


def _failed(runtime: _runtime.Runtime, error: Exception, name: str) -> Any:
    """A ref whose ``get`` raises that."""
    owner = runtime.owner
    data = dump_error(error, name, os.getpid(), owner.node.hex(), raised=True)
    entry = owner.entry_type(owner.process, owner.new_id()[0])
    with owner.lock:
        owner.complete(entry, (ERROR, data))
    return entry
