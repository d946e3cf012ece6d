"""Why a value cannot be pickled: the way from the value to the part that refuses, in the user's words.

The search pickles parts and goes down into the first that fails, so what it names is what the pickler stumbles
over. It ends by itself: cycles are followed once, and a clock stops it in the middle of a large part.
"""

from __future__ import annotations

import dis
import functools
import time
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from nbray.wire.cells import place
from nbray.wire.pickling import PROTOCOL, CloudPickler, RefCollector

TIME_LIMIT = 1.0
"""Seconds after which the search says how far it has come."""
_DEPTH_LIMIT = 30
#: Steps of the way that a sentence tells before it goes on to the last one.
_STEPS_TOLD = 4


class _Part(NamedTuple):
    how: str  # how the whole comes to it: "captures the variable"
    value: Any
    name: str = ""  # under which name: "'x'"
    place: str = ""  # in the source where it does


class _GivenUp(Exception):
    """The search has taken too long or gone too deep; the path so far counts."""


class _Sink:
    """A file that forgets what is written, and the limits of the search."""

    def __init__(self, deadline: float, depth: int) -> None:
        self.deadline = deadline
        self.depth = depth

    def write(self, data: Any) -> int:
        self.check()
        return len(data)

    def check(self) -> None:
        if time.monotonic() > self.deadline:
            raise _GivenUp


def explain_unpicklable(value: Any, error: BaseException, what: str | None = None) -> str:
    """A sentence that names what in ``value`` cannot be pickled, and where the function is that uses it.

    Args:
        value: what could not be pickled.
        error: what pickling raised.
        what: how to call the value, for example "argument 'x' of f". By default its type and name.

    For a function that reads a lock it says: "cannot pickle function 'f' (cell.py:3): it uses the global variable 'lock'
    (type _thread.lock): TypeError: cannot pickle '_thread.lock' object".
    """
    path, complete = _way_to_culprit(value, _DEPTH_LIMIT)
    text = f"cannot pickle {what or _describe(value)}"
    skipped = range(_STEPS_TOLD, len(path) - 1)
    for number, part in enumerate(path):
        if number in skipped:
            if number == skipped[0]:
                text += (
                    f", and {len(skipped)} {'step' if len(skipped) == 1 else 'steps'} further on something"
                )
            continue
        how = f"{part.how} {part.name}" if part.name else part.how
        text += f"{': it' if number == 0 else ', which'} {how} ({_type_and_place(part.value)})"
    if path and not complete:
        text += ", in which something cannot be pickled"
    text += f": {_first_line(error)}"
    if path and path[0].place:
        text += f" ({path[0].name} is named at {path[0].place})"
    return text


def explain_arguments(args: tuple[Any, ...], named: dict[str, Any], error: BaseException) -> str:
    """The same for a call's arguments: it names the first that cannot be pickled."""
    with RefCollector():
        for name, value in [*enumerate(args, 1), *named.items()]:
            try:
                refuses = not _is_atom(value) and _fails(
                    value, _Sink(time.monotonic() + TIME_LIMIT, _DEPTH_LIMIT)
                )
            except _GivenUp:
                break
            if refuses:
                which = f"argument {name!r}" if isinstance(name, str) else f"argument {name}"
                return explain_unpicklable(value, error, f"{which} ({_type_and_place(value)})")
    return explain_unpicklable((args, named), error, "the arguments")


def unpicklable_parts(value: Any, depth: int = _DEPTH_LIMIT) -> list[tuple[str, str, Any]]:
    """The way from ``value``, which cannot be pickled, to the part that refuses; empty if it is ``value`` itself.

    Args:
        depth: steps at most.

    Returns:
        For each step how the part belongs to the whole ("captures the variable"), its name there ("x"; "" if it has none),
        and the part.
    """
    path, _ = _way_to_culprit(value, min(depth, _DEPTH_LIMIT))
    return [(part.how, part.name.strip("'"), part.value) for part in path]


def _way_to_culprit(value: Any, depth: int) -> tuple[list[_Part], bool]:
    """The way, and whether its end is the culprit: the search has limits."""
    path: list[_Part] = []
    # What is pickled here goes nowhere, so refs must not take note of it.
    with RefCollector():
        try:
            _search(value, _Sink(time.monotonic() + TIME_LIMIT, depth), path, {id(value)})
        except Exception:  # given up, or raised by reprs and reductions of the user's objects
            return path, False
    return path, True


def _fails(value: Any, sink: _Sink) -> bool:
    """Whether ``value`` cannot be pickled for a reason of its own."""
    sink.check()
    try:
        CloudPickler(sink, PROTOCOL, buffer_callback=lambda _: False).dump(value)
    except _GivenUp:
        raise
    except Exception:
        return True
    return False


def _search(value: Any, sink: _Sink, path: list[_Part], visited: set[int]) -> bool:
    """Put the way from ``value``, which fails, to the culprit at the end of ``path``.

    False if ``value`` fails only because it leads back to something that is looked at already (a cycle): the culprit is
    elsewhere then, and the path as it was.
    """
    if len(path) >= sink.depth:
        raise _GivenUp
    leads_back = False
    for part in _parts(value):
        sink.check()
        if id(part.value) in visited:
            leads_back = leads_back or not _is_atom(part.value)
            continue
        if _is_atom(part.value) or not _fails(part.value, sink):
            continue
        visited.add(id(part.value))
        path.append(part)
        if _search(part.value, sink, path, visited):
            return True
        path.pop()
        leads_back = True
    return not leads_back


def _is_atom(value: Any) -> bool:
    return type(value) in (type(None), bool, int, float, complex, str, bytes)


# --- what a value is made of ---------------------------------------------------------------------------------------


def _parts(value: Any) -> Iterator[_Part]:
    """What pickling ``value`` pickles, in the order in which a reader would look for it."""
    if isinstance(value, FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, MethodType):
        yield _Part("is a method of an object", value.__self__)
        yield _Part("is a method", value.__func__)
    elif isinstance(value, functools.partial):
        yield _Part("calls", value.func)
        for index, item in enumerate(value.args):
            yield _Part("has the argument", item, str(index))
        for name, item in value.keywords.items():
            yield _Part("has the argument", item, repr(name))
    elif isinstance(value, type):
        yield from _class_parts(value)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield _Part("has the item", item, f"[{index}]")
    elif type(value) in (set, frozenset):
        for item in value:
            yield _Part("has the element", item)
    elif type(value) is dict:
        for key, item in value.items():
            yield _Part("has the item", item, f"[{_short(key)}]")
        for key in value:
            yield _Part("has the key", key)
    elif not isinstance(value, (BuiltinFunctionType, ModuleType)):
        yield from _instance_parts(value)


def _function_parts(function: FunctionType) -> Iterator[_Part]:
    code = function.__code__
    places = {name: place(code.co_filename, line) for name, line in _lines_of_names(code).items()}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield _Part("captures the variable", cell.cell_contents, repr(name), places.get(name, ""))
        except ValueError:  # not assigned yet
            continue
    for name in sorted(_global_names(code)):
        if name in function.__globals__:
            yield _Part(
                "uses the global variable", function.__globals__[name], repr(name), places.get(name, "")
            )
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    for name, item in zip(positional[len(positional) - len(defaults) :], defaults, strict=True):
        yield _Part("has a default for its parameter", item, repr(name))
    for name, item in (function.__kwdefaults__ or {}).items():
        yield _Part("has a default for its parameter", item, repr(name))
    for name, item in function.__dict__.items():
        yield _Part("has the attribute", item, repr(name))
    for name, item in function.__annotations__.items():
        yield _Part("has an annotation of", item, repr(name))


def _global_names(code: CodeType) -> set[str]:
    """Global variables that the code and the functions inside it read or write."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname.endswith("_GLOBAL")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names


def _lines_of_names(code: CodeType) -> dict[str, int]:
    """Where the code, or a function inside it, first names each variable that is not its own."""
    lines: dict[str, int] = {}
    line = code.co_firstlineno
    starts = dict(dis.findlinestarts(code))
    for instruction in dis.get_instructions(code):
        line = starts.get(instruction.offset) or line
        if instruction.opname.endswith(("_GLOBAL", "_DEREF")):
            lines.setdefault(str(instruction.argval), line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            for name, inside in _lines_of_names(constant).items():
                lines.setdefault(name, inside)
    return lines


def _class_parts(kind: type) -> Iterator[_Part]:
    for name, item in list(vars(kind).items()):
        if name in ("__dict__", "__weakref__", "__module__", "__doc__"):
            continue
        if isinstance(item, (staticmethod, classmethod)):
            item = item.__func__
        if isinstance(item, property):
            for accessor in (item.fget, item.fset, item.fdel):
                if accessor is not None:
                    yield _Part("has the property", accessor, repr(name))
        elif isinstance(item, FunctionType):
            yield _Part("has the method", item, repr(name))
        else:
            yield _Part("has the class attribute", item, repr(name))
    for base in kind.__bases__:
        yield _Part("has the base class", base)


def _instance_parts(value: Any) -> Iterator[_Part]:
    """What ``__reduce_ex__`` gives: nothing if that is what refuses."""
    try:
        reduced = value.__reduce_ex__(PROTOCOL)
    except Exception:
        return
    if not isinstance(reduced, tuple):
        return
    rebuild, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    for layer in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if type(layer) is dict:
            for name, item in layer.items():
                yield _Part("has the attribute", item, _short(name))
        elif layer is not None:
            yield _Part("has the state", layer)
    for index, item in enumerate(items or ()):
        yield _Part("has the item", item, f"[{index}]")
    for key, item in pairs or ():
        yield _Part("has the item", item, f"[{_short(key)}]")
        yield _Part("has the key", key)
    for item in arguments:
        if item is type(value):
            yield _Part("is an instance of", item)
        else:
            yield _Part("is made from", item)
    yield _Part("is made by", rebuild)


# --- words ---------------------------------------------------------------------------------------------------------


def _describe(value: Any) -> str:
    if isinstance(value, FunctionType):
        return f"function {value.__qualname__!r} ({_place(value)})"
    if isinstance(value, type):
        return f"class {value.__qualname__!r}"
    return f"a value of type {_type_name(type(value))}"


def _type_and_place(value: Any) -> str:
    if isinstance(value, FunctionType):
        return f"function {value.__qualname__!r}, {_place(value)}"
    if isinstance(value, type):
        return f"class {value.__qualname__!r}"
    if isinstance(value, ModuleType):
        return f"module {value.__name__!r}"
    return f"type {_type_name(type(value))}"


def _place(function: FunctionType) -> str:
    return place(function.__code__.co_filename, function.__code__.co_firstlineno)


def _type_name(kind: type) -> str:
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _first_line(error: BaseException) -> str:
    message = str(error).strip()
    return f"{type(error).__name__}: {message.splitlines()[0]}" if message else type(error).__name__
