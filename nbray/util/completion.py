"""Results as they come, and tasks for many items without flooding anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import nbray

#: Refs waited for at a time, and tasks under way at a time, unless the caller says.
CHUNK, BACKPRESSURE = 10, 100


def _batch(refs: Sequence[Any], size: int, as_refs: bool, waiting: dict[str, Any]) -> tuple[list[Any], Any]:
    ready, others = nbray.wait(list(refs), num_returns=min(size, len(refs)), **waiting)
    return ready if as_refs else nbray.get(ready), others


def _check(chunk_size: int, waiting: dict[str, Any]) -> None:
    if chunk_size < 1:
        raise ValueError(f"'chunk_size' must be 1 or more, got {chunk_size}")
    if "num_returns" in waiting:
        raise ValueError("say 'chunk_size', not 'num_returns'")


def as_completed(
    refs: Sequence[Any], *, chunk_size: int = CHUNK, yield_obj_refs: bool = False, **kwargs: Any
) -> Iterator[Any]:
    """The values of refs as they become ready.

    Args:
        refs: each once.
        chunk_size: refs waited for at a time (default 10): 1 gives every value at once, more gives a batch at less cost.
        yield_obj_refs: give the refs that are ready, not their values.
        **kwargs: ``timeout`` in seconds and ``fetch_local``, as of ``wait``.

    Raises:
        ValueError: ``chunk_size`` below 1, or ``num_returns``. Whatever a task raised, when its turn comes.

    Example:
        >>> for value in nbray.util.as_completed(refs, chunk_size=1):
        ...     print(value)
    """
    _check(chunk_size, kwargs)
    left: Sequence[Any] = refs
    while left:
        found, left = _batch(left, chunk_size, yield_obj_refs, kwargs)
        yield from found


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = BACKPRESSURE,
    chunk_size: int = CHUNK,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Run a remote function on every item; the results as they become ready.

    Args:
        fn: a remote function of one argument.
        items: may be endless: no more of them are taken than tasks may be under way.
        backpressure_size: tasks under way at most (default 100; None: no limit).
        chunk_size, yield_obj_refs, **kwargs: as of ``as_completed``.

    Raises:
        ValueError: a size below 1, or ``num_returns``. Whatever a task raised, when its turn comes.

    Example:
        >>> sorted(nbray.util.map_unordered(square, range(4)))
        [0, 1, 4, 9]
    """
    if backpressure_size is not None and backpressure_size < 1:
        raise ValueError(f"'backpressure_size' must be positive or None, got {backpressure_size}")
    _check(chunk_size, kwargs)
    refs: list[Any] = []
    for item in items:
        refs.append(fn.remote(item))
        if backpressure_size is not None and len(refs) >= backpressure_size:
            found, refs = _batch(refs, chunk_size, yield_obj_refs, kwargs)
            yield from found
    yield from as_completed(refs, chunk_size=chunk_size, yield_obj_refs=yield_obj_refs, **kwargs)
