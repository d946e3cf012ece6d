"""``nbray.progress``: a bar for refs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, overload

from nbray import _runtime
from nbray._generator import ObjectRefGenerator
from nbray._object_ref import ObjectRef
from nbray.owner import waiting

if TYPE_CHECKING:
    from nbray.bars.shown import Progress

_ready = attrgetter("ready")


class Waited(list[Any]):
    """The refs that ``progress`` has waited for. As a cell's last value it shows nothing: the bar is there already."""

    def _ipython_display_(self) -> None:
        """Nothing more to show."""


@overload
def progress(refs: Any, *, desc: str = "", as_completed: Literal[False] = False) -> list[Any]: ...
@overload
def progress(refs: Any, *, desc: str = "", as_completed: Literal[True]) -> Iterator[Any]: ...
def progress(refs: Any, *, desc: str = "", as_completed: bool = False) -> list[Any] | Iterator[Any]:
    """Wait for refs under a progress bar; answers the list of the refs, whose values are there then.

    The bar counts what is done and what has failed, in all and by function, and shows what runs, the rate and the time left.
    After ten seconds without progress it says why. A failure ends nothing: ``get`` raises it. Ctrl-C ends the wait and not
    the tasks. The bar shows in notebooks and terminals, and nowhere else: ``NBRAY_PROGRESS=1`` shows it everywhere,
    ``NBRAY_PROGRESS=0`` nowhere.

    Args:
        refs: a ref, a generator (its items are counted), or lists, tuples, sets and dicts of them, nested in any way.
        desc: what stands before the bar (default: the functions' names).
        as_completed: answer an iterator that gives each ref as soon as it is there, those of generators' items too.

    Raises:
        TypeError: there is something else among them. ValueError: a generator that waits until its items are taken
            (``_generator_backpressure_num_objects``), without ``as_completed``.

    Example:
        >>> values = nbray.get(nbray.progress([train.remote(seed) for seed in range(100)]))
        >>> for ref in nbray.progress(refs, as_completed=True):
        ...     print(nbray.get(ref))
    """
    found = list(dict.fromkeys(_flat(refs)))
    if as_completed:
        return _iterate(found, desc)
    for each in found:
        if isinstance(each, ObjectRefGenerator) and each._stream.ahead:
            raise ValueError(
                "this generator waits until its items are taken (_generator_backpressure_num_objects): "
                "iterate, with progress(generator, as_completed=True)"
            )
    if found:
        _block(found, desc)
    return Waited(found)


def _flat(refs: Any) -> Iterator[Any]:
    """The refs and generators in it."""
    if isinstance(refs, ObjectRef | ObjectRefGenerator):
        yield refs
    elif isinstance(refs, Mapping):
        yield from _flat(list(refs.values()))
    elif isinstance(refs, list | tuple | set | frozenset):
        for each in refs:
            yield from _flat(each)
    elif isinstance(refs, Iterable) and not isinstance(refs, str | bytes):
        raise TypeError(
            f"progress() takes refs, generators of tasks, and lists or dicts of them, not {type(refs).__name__}: "
            "make a list of it first"
        )
    else:
        text = repr(refs)
        raise TypeError(
            f"progress() takes refs, generators of tasks, and lists or dicts of them, not {type(refs).__name__} "
            f"({text if len(text) < 80 else text[:77] + '...'})"
        )


def _block(found: list[Any], desc: str) -> None:
    """Until all of them are there; generators: have ended."""
    __tracebackhide__ = True
    entries = _ends(found)
    owner = _runtime.current_for(entries).owner
    bar = _bar(owner, found, desc)
    how = "interrupted"
    try:
        while True:
            with owner.interrupts.put_off():
                pause = bar.look(lambda: all(map(_ready, entries)))
            ready, _ = owner.waiting.wait(
                entries, len(entries), min(pause, waiting.LONG)
            )  # one bar is enough
            if len(ready) == len(entries):
                how = "done"
                return
    except Exception:
        how = "ended"
        raise
    finally:
        with owner.interrupts.put_off():
            bar.close(how)


def _ends(found: list[Any]) -> list[Any]:
    """What is ready when all is there."""
    return [each.completed() if isinstance(each, ObjectRefGenerator) else each for each in found]


def _bar(owner: Any, found: list[Any], desc: str) -> Progress:
    from nbray.bars.shown import Progress

    streams = [each._stream for each in found if isinstance(each, ObjectRefGenerator)]
    return Progress(
        owner.inquiry, _ends(found), desc, _items(streams) if len(streams) == len(found) else None
    )


def _items(streams: list[Any]) -> Any:
    def count() -> int:
        return sum(stream.taken + sum(map(_ready, stream.items)) - stream.ended for stream in streams)

    return count


def _iterate(found: list[Any], desc: str) -> Iterator[Any]:
    """Each as soon as it is there. The bar begins with the first ``next``."""
    if not found:
        return
    owner = _runtime.current_for(_ends(found)).owner
    bar = _bar(owner, found, desc)
    how = "interrupted"
    left: dict[Any, Any] = {_awaited(each): each for each in found}
    try:
        while left:
            missing = list(left)
            ready = list(compress(missing, map(_ready, missing)))
            if not ready:
                with owner.interrupts.put_off():
                    pause = bar.look(lambda: any(map(_ready, missing)))  # noqa: B023 - called before it changes
                ready, _ = owner.waiting.wait(missing, 1, min(pause, waiting.LONG))
            for entry in ready:
                each = left.pop(entry)
                if isinstance(each, ObjectRefGenerator):
                    try:
                        item = next(each)
                    except StopIteration:
                        continue
                    left[_awaited(each)] = each
                    yield item
                else:
                    yield each
                if bar.due:
                    with owner.interrupts.put_off():
                        bar.look(lambda: True)
        how = "done"
    except Exception:
        how = "ended"
        raise
    finally:
        with owner.interrupts.put_off():
            bar.close(how)


def _awaited(each: Any) -> Any:
    return each._next if isinstance(each, ObjectRefGenerator) else each
