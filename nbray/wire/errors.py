"""Failures as bytes: what user code raised, on its way from the executor to whoever calls ``get``.

The record around the exception holds only text and numbers, so it can always be read. The exception inside is pickled apart,
twice where its constructor may refuse: as it pickles itself, and as type, arguments and attributes, from which it is put
together without running its ``__init__``. If neither arrives, the text still tells type, message and traceback.
"""

from __future__ import annotations

import linecache
import os
import pickle
import re
import traceback
from contextlib import suppress
from typing import Any

from nbray import exceptions
from nbray.exceptions import RayError, RayTaskError
from nbray.wire.cells import in_cells
from nbray.wire.pickling import dump_function

_RUNTIME = os.path.join(os.path.dirname(os.path.abspath(exceptions.__file__)), "")
HIDE = "__tracebackhide__"
#: What ends, or steers, whoever lets it through; of asyncio's, which need not be imported here, CancelledError.
_ENDING = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError")
#: What every exception inherits from.
_ANY = (Exception, BaseException, object)
_TEXT_LIMIT = 100_000
_REPR_LIMIT = 200


def dump_error(
    exception: BaseException,
    function_name: str,
    pid: int,
    node: str,
    refs: list[Any] | None = None,
    *,
    raised: bool = False,
) -> bytes:
    """Pickle a failure. Never raises for what the exception is or does.

    Args:
        exception: what user code raised, with its traceback; or what is said in its place.
        function_name: the function or ``Class.method``.
        pid: this process. node: hex id of this node.
        refs: gets the refs that the exception holds, some of them twice.
        raised: user code let it through.
    """
    text = format_remote(exception)
    # A failure that a nested get handed on: what it was at first, in the words of both.
    cause = exception.cause if isinstance(exception, RayTaskError) else exception
    whole, parts = (
        (None, None) if cause is None else (_try_dump(_AsItIs(cause), refs), _dump_parts(cause, refs))
    )
    return pickle.dumps((function_name, text, pid, node, whole, parts, raised), 5)


def load_error(data: bytes) -> BaseException:
    """The exception to raise for a failure. Never raises.

    What user code raised is a ``RayTaskError`` that is also an instance of the exception's type, be it the user's or a
    ``RayError``, such as the death of an actor it asked (but not of ``SystemExit`` and the like, which would end the reader).
    What nbray says of a call, such as that it was cancelled, is that error itself, with a remote traceback as a note.
    """
    try:
        function_name, text, pid, node, whole, parts, raised = pickle.loads(data)
    except Exception as error:
        return RayTaskError("unknown", f"its failure cannot be read: {type(error).__name__}: {error}")
    text = add_source_lines(text)
    cause = _load_cause(whole, parts)
    failure = RayTaskError(function_name, text, cause, pid, node)
    if isinstance(cause, RayError) and not raised:
        if text.strip() != "".join(traceback.format_exception_only(cause)).strip():
            cause.add_note(str(failure))  # else nobody raised it, and there is nothing to add
        return cause
    if cause is None or _ends(cause):
        return failure
    try:
        return failure.as_instanceof_cause()
    except Exception:  # the metaclass or the attributes of the user's type
        return failure


def _ends(cause: BaseException) -> bool:
    return not isinstance(cause, Exception) and any(
        base.__name__ in _ENDING and base.__module__ in ("builtins", "asyncio.exceptions")
        for base in type(cause).__mro__
    )


def describe_error(data: bytes) -> str:
    """A failure in words, as its exception would print. No user code runs for it, and it never raises."""
    try:
        function_name, text, pid, node, *_ = pickle.loads(data)
    except Exception as error:
        return f"its failure cannot be read: {type(error).__name__}: {error}"
    return str(RayTaskError(function_name, add_source_lines(text), None, pid, node))


def read_error(data: bytes) -> tuple[str, int, bytes]:
    """The traceback of a failure, and the process and node it is from. No user code runs for it, and it never raises."""
    try:
        _, text, pid, node, *_ = pickle.loads(data)
        return add_source_lines(text), pid, bytes.fromhex(node)
    except Exception as error:
        return f"its failure cannot be read: {type(error).__name__}: {error}", 0, b""


# --- the exception itself ------------------------------------------------------------------------------------------


class _AsItIs:
    """Pickles as the exception in it does by itself: tblib, which distributed installs, has reducers for exceptions that lose
    what C-level types keep outside ``__dict__``."""

    __slots__ = ("_exception",)

    def __init__(self, exception: BaseException) -> None:
        self._exception = exception

    def __reduce__(self) -> Any:
        return self._exception.__reduce_ex__(pickle.HIGHEST_PROTOCOL)


def _try_dump(value: Any, refs: list[Any] | None) -> bytes | None:
    try:
        return dump_function(value, refs)
    except (Exception, SystemExit):
        return None


#: How an exception's types, arguments and attributes travel.
_Parts = tuple[list[bytes], tuple[str, str], list[bytes], dict[str, bytes]]


def _dump_parts(cause: BaseException, refs: list[Any] | None) -> _Parts | None:
    """Types (its own, those that it inherits from), arguments and attributes, each on its own, as far as they can be pickled."""
    kind = type(cause)
    if (
        kind.__module__ == "builtins"
        and not cause.__dict__
        and all(type(a) in (str, int) for a in cause.args)
    ):
        return None
    kinds = [_try_dump(each, refs) for each in kind.__mro__ if each not in _ANY]
    arguments = [_try_dump(argument, refs) or pickle.dumps(_short_repr(argument)) for argument in cause.args]
    attributes = {name: _try_dump(value, refs) for name, value in cause.__dict__.items()}
    return (
        [each for each in kinds if each is not None],
        (kind.__module__, kind.__qualname__),
        arguments,
        {name: value for name, value in attributes.items() if value is not None},
    )


def _load_cause(whole: bytes | None, parts: _Parts | None) -> BaseException | None:
    if whole is not None:
        try:
            cause = pickle.loads(whole)
            if isinstance(cause, BaseException):
                return cause
        except (Exception, SystemExit):
            pass  # typically an __init__ that wants other arguments than args; the parts do without it
    if parts is None:
        return None
    kinds, names, pickled_arguments, attributes = parts
    try:
        kind = _load_kind(kinds, *names)
        arguments = tuple(map(pickle.loads, pickled_arguments))
        try:
            made: BaseException = kind.__new__(kind, *arguments)
        except TypeError:  # it wants other arguments than args
            made = Exception.__new__(kind, *arguments)
        made.args = arguments
        for name, value in attributes.items():
            with suppress(Exception, SystemExit):  # of a type that is not here
                made.__dict__[name] = pickle.loads(value)
        return made
    except (Exception, SystemExit):
        return None


def _load_kind(kinds: list[bytes], module: str, name: str) -> type[BaseException]:
    """The exception's type. If it cannot be had here: one of its name, with those of its bases that can."""
    bases: list[type[BaseException]] = []
    for position, pickled in enumerate(kinds):
        try:
            kind = pickle.loads(pickled)
        except (Exception, SystemExit):
            continue
        if (kind.__module__, kind.__qualname__) == (module, name) and not position:
            return kind  # type: ignore[no-any-return]
        if not any(issubclass(base, kind) for base in bases):
            bases.append(kind)
    return type(name, tuple(bases) or (Exception,), {"__module__": module, "__qualname__": name})


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= _REPR_LIMIT else text[:_REPR_LIMIT] + "..."


# --- its text ------------------------------------------------------------------------------------------------------


def format_remote(exception: BaseException) -> str:
    """The traceback as text: the user's frames, chained exceptions and groups included, without nbray's own frames."""
    try:
        told = traceback.TracebackException.from_exception(exception, compact=True)
        _trim(told, exception, set())
        text = "".join(told.format())
    except Exception as error:  # __str__ and __notes__ are user code
        text = f"{type(exception).__qualname__} (its traceback cannot be formatted: {type(error).__name__})\n"
    if len(text) > _TEXT_LIMIT:
        half = _TEXT_LIMIT // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text


def _trim(told: traceback.TracebackException | None, error: BaseException | None, seen: set[int]) -> None:
    """Leave out the runtime's frames, and those of functions that hide themselves as pytest and IPython have it."""
    if told is None or error is None or id(told) in seen:
        return
    seen.add(id(told))
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    hidden = [HIDE in code.co_varnames for code in codes]
    if len(hidden) != len(told.stack):  # sys.tracebacklimit
        hidden = [False] * len(told.stack)
    told.stack[:] = [
        frame
        for frame, hides in zip(told.stack, hidden, strict=True)
        if not hides and not frame.filename.startswith(_RUNTIME)
    ]
    _trim(told.__cause__, error.__cause__, seen)
    _trim(told.__context__, error.__context__, seen)
    if isinstance(error, BaseExceptionGroup):
        for member, inner in zip(told.exceptions or (), error.exceptions, strict=False):
            _trim(member, inner, seen)


_FRAME_WITHOUT_SOURCE = re.compile(
    r'^( *(?:\| *)?)File "([^"\n]+)", line (\d+), in [^\n]*\n(?!\1  )', re.MULTILINE
)


def add_source_lines(text: str) -> str:
    """A traceback as this process can tell it: with lines of source that the executor did not have, and with notebook cells by
    their names."""

    def with_source(match: re.Match[str]) -> str:
        line = linecache.getline(match[2], int(match[3])).strip()
        return f"{match[0]}{match[1]}  {line}\n" if line else match[0]

    try:
        return in_cells(_FRAME_WITHOUT_SOURCE.sub(with_source, text))
    except Exception:  # loaders of modules are asked for source, and are anybody's code
        return text
