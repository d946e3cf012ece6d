"""What runs in the executor for a ``%%nbray`` cell. Imported there, so it imports little."""

from __future__ import annotations

import asyncio
import linecache
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, NamedTuple

import nbray
from nbray.exceptions import SerializationError
from nbray_magics.cellcode import VALUE
from nbray_magics.figures import Figures


class Program(NamedTuple):
    """A cell on its way.

    Attributes:
        code: of the cell. source: of the whole cell with its first line, so that lines count as the user sees them.
        filename: what tracebacks call it. awaits: the code is a coroutine's.
        has_value: it leaves the value of its last expression under ``VALUE``.
        wanted: names that come back; ``VALUE`` among them is that value.
    """

    code: CodeType
    source: str
    filename: str
    awaits: bool
    has_value: bool
    wanted: tuple[str, ...]


class OnlyShown:
    """A value that cannot be pickled, as it looked where it was: it can be displayed, no more."""

    def __init__(self, type_name: str, bundle: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._type_name = type_name
        self._bundle = bundle
        self._metadata = metadata

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle, self._metadata

    def __repr__(self) -> str:
        return str(self._bundle.get("text/plain", f"<{self._type_name}>"))


def cell(program: Program, reader: Callable[[], Any], more: dict[str, Any], together: bool) -> Any:
    """Run the cell.

    Args:
        reader: a function whose globals are the names that the cell reads.
        more: names that only this copy has.
        together: answer a ref to the tuple of what is wanted; else the things themselves.
    """
    __tracebackhide__ = True
    names = _names(program, reader, more)
    try:
        with Figures() as figures:
            if program.awaits:
                asyncio.run(_awaited(program, names))
            else:
                exec(program.code, names)
            figures.value = names.get(VALUE)
    except BaseException as error:
        error.__traceback__ = _own_frames(error.__traceback__, program.filename)
        raise
    return _answer(program, names, together)


def cell_in_actor(
    instance: Any, program: Program, reader: Callable[[], Any], more: dict[str, Any], together: bool
) -> Any:
    """``cell`` with the actor as ``self``; on the actor's loop if it has one."""
    __tracebackhide__ = True
    more = {**more, "self": instance}
    if program.awaits and _has_loop():
        return _on_the_loop(program, reader, more, together)
    return cell(program, reader, more, together)


async def _on_the_loop(
    program: Program, reader: Callable[[], Any], more: dict[str, Any], together: bool
) -> Any:
    __tracebackhide__ = True
    names = _names(program, reader, more)
    try:
        with Figures() as figures:
            await _awaited(program, names)
            figures.value = names.get(VALUE)
    except BaseException as error:
        error.__traceback__ = _own_frames(error.__traceback__, program.filename)
        raise
    return _answer(program, names, together)


async def _awaited(program: Program, names: dict[str, Any]) -> None:
    __tracebackhide__ = True
    await eval(program.code, names)


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _names(program: Program, reader: Callable[[], Any], more: dict[str, Any]) -> dict[str, Any]:
    # Functions of the notebook that came along have the same globals: they see what the cell assigns, as they would there.
    names: dict[str, Any] = reader.__globals__
    names.update(more)
    names.setdefault("__name__", "__main__")
    lines = program.source.splitlines(keepends=True)
    linecache.cache[program.filename] = (len(program.source), None, lines, program.filename)
    return names


def _own_frames(traceback: TracebackType | None, filename: str) -> TracebackType | None:
    """From the cell's first frame on; what an event loop puts before it tells nobody anything."""
    frame = traceback
    while frame is not None and frame.tb_frame.f_code.co_filename != filename:
        frame = frame.tb_next
    return frame or traceback


def _answer(program: Program, names: dict[str, Any], together: bool) -> Any:
    __tracebackhide__ = True
    missing = [name for name in program.wanted if name != VALUE and name not in names]
    if missing:
        raise NameError(
            f"the cell has ended, and nothing is called {missing[0]!r}, which -o wants", name=missing[0]
        )
    values = tuple(names.get(name) for name in program.wanted)
    if not together:
        return values[0] if len(values) == 1 else values
    try:
        return nbray.put(values)
    except SerializationError as error:
        culprit = error
    for name, value in zip(program.wanted, values, strict=True):
        if name != VALUE:
            try:
                nbray.put(value)
            except SerializationError as error:
                raise _cannot_come_back(f"{name!r}", value, error) from None
            except TypeError:  # a ref, which nobody puts alone
                pass
    if VALUE not in program.wanted:
        raise culprit
    shown = tuple(
        _shown(value, culprit) if name == VALUE else value
        for name, value in zip(program.wanted, values, strict=True)
    )
    return nbray.put(shown)


def _cannot_come_back(what: str, value: object, error: SerializationError) -> SerializationError:
    reason = str(error).rpartition(": ")[2]
    return SerializationError(
        f"{what} (type {type(value).__qualname__}) cannot come back from the pool: {reason}"
    )


def _shown(value: Any, error: SerializationError) -> OnlyShown:
    try:
        from IPython.core.formatters import DisplayFormatter

        formatter: Any = DisplayFormatter()
        bundle, metadata = formatter.format(value)
        return OnlyShown(type(value).__qualname__, bundle, metadata)
    except Exception:  # no IPython there, or the value's own representation fails
        raise _cannot_come_back("the value of the last expression", value, error) from None
