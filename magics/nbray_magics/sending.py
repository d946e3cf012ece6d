"""From a cell's text and the notebook's variables to what goes into the pool."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import io
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import reduce
from operator import or_
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import nbray
from nbray.exceptions import SerializationError
from nbray_magics.cellcode import VALUE, CellCode, compile_cell
from nbray_magics.failures import syntax_error
from nbray_magics.grammar import NbrayUsageError
from nbray_magics.notebook import Notebook
from nbray_magics.parse import nearest
from nbray_magics.remote import Program

#: Of the shell's flags those of ``__future__``. Others say that more input may follow, and errors then say no more than that.
_FUTURES = reduce(or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names))


class Cell(NamedTuple):
    """A cell that is understood. ``source`` has the magic's line, so that lines count as the user sees them."""

    code: CellCode
    source: str
    filename: str


class Sent(NamedTuple):
    """What a cell reads, in the pool's store.

    Attributes:
        names: a ref to a function whose globals they are.
        left_out: those that it may not need and that cannot be pickled, with the reason.
    """

    names: Any
    left_out: dict[str, str]


def understand(notebook: Notebook, text: str, *, here: bool = False) -> Cell:
    """Compile a cell's text. ``here``: it will run in the notebook, so it may have magics and shell commands.

    Raises:
        CellFailed: a syntax error, shown as IPython shows one.
        NbrayUsageError: it has magics or shell commands, and is to run elsewhere.
    """
    shell = notebook.shell
    body = text if text.endswith("\n") else f"{text}\n"
    source = f"{notebook.magic}\n{body}"
    # Empty lines at the beginning get lost where IPython transforms a cell.
    python = shell.transform_cell(body.lstrip("\n")) if body.strip() else ""
    empty = len(body) - len(body.lstrip("\n"))
    if not here and python.count("get_ipython()") > body.count("get_ipython()"):
        line = _magic_line(body)
        instead = f"; put it above {notebook.magic.split()[0]}" if line.startswith("%%") else ""
        raise NbrayUsageError(
            f"{line!r} is for the notebook: magics and shell commands do not run in the pool{instead}"
        )
    filename = shell.compile.cache(source, notebook.count, raw_code=source)
    flags = shell.compile.flags & _FUTURES
    if shell.autoawait:
        flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        return Cell(compile_cell("\n" * (1 + empty) + python, filename, flags), source, filename)
    except SyntaxError as error:
        raise syntax_error(shell, error) from None


def _magic_line(body: str) -> str:
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    found = [line for line in lines if line.startswith(("%", "!", "?")) or line.endswith("?")]
    return (found or [line for line in lines if "%" in line or "!" in line] or lines)[0]


def wanted(cell: Cell, out: Sequence[str]) -> tuple[str, ...]:
    """``out``, with ``VALUE`` for a name that the cell does not have if its last expression can be meant.

    Raises:
        NbrayUsageError: the cell neither assigns nor reads a name.
    """
    code = cell.code
    known = code.assigns | code.reads | code.perhaps
    foreign = [name for name in out if name not in known]
    if not foreign or code.opaque:
        return tuple(out)
    # A name much like one of the cell's is a typo.
    if code.has_value and len(foreign) == 1 and not get_close_matches(foreign[0], known, cutoff=0.75):
        return tuple(VALUE if name == foreign[0] else name for name in out)
    if not code.assigns:
        raise NbrayUsageError(f"-o {foreign[0]}: the cell assigns nothing")
    meant = nearest(foreign[0], code.assigns)
    raise NbrayUsageError(f"-o {foreign[0]}: the cell assigns no {meant}")


def program(cell: Cell, names: tuple[str, ...]) -> Program:
    """What the executor gets."""
    return Program(cell.code.code, cell.source, cell.filename, cell.code.awaits, cell.code.has_value, names)


# --- names -----------------------------------------------------------------------------------------------------------


def send(notebook: Notebook, code: CellCode, given: frozenset[str] = frozenset()) -> Sent:
    """Put what the cell reads into the pool, once, however many copies of the cell there will be.

    Args:
        given: names that the cell gets otherwise.

    Raises:
        NbrayUsageError: something that it reads cannot be pickled; the text says what and of which type.
    """
    names = notebook.names
    reads = _there(notebook, code.reads - given)
    perhaps = _there(notebook, code.perhaps - given)
    left_out: dict[str, str] = {}
    while True:
        reader = _reader(reads | perhaps, names, code.code)
        try:
            return Sent(nbray.put(reader), left_out)
        except SerializationError as error:
            name = _culprit(reader)
            what = _what(name, str(error))
            if name not in perhaps:
                raise NbrayUsageError(f"the cell cannot be sent to the pool: it {what}") from None
            perhaps.discard(name)
            left_out[name] = what


def _there(notebook: Notebook, wanted: frozenset[str]) -> set[str]:
    """Those that the user has. IPython's own ``open``, ``exit`` and the like are not his: builtins do their work there."""
    names, hidden = notebook.names, getattr(notebook.shell, "user_ns_hidden", {})
    found = {
        name
        for name in wanted
        if name in names and not (hasattr(builtins, name) and hidden.get(name, builtins) is names[name])
    }
    for name in found & {"get_ipython", "exit", "quit"}:
        if hidden.get(name) is names[name]:
            raise NbrayUsageError(
                f"the cell uses {name}(), which is the notebook's: there is no IPython in the pool"
            )
    return found


def _reader(wanted: set[str], names: dict[str, Any], cell: CodeType) -> Callable[[], Any]:
    """A function that uses these globals. With the notebook's own dictionary, so that the functions among them share it.

    It uses each in the line where the cell does: that is what an error calls the place.
    """
    tree = ast.parse(f"def cell(): return ({''.join(f'{name}, ' for name in sorted(wanted))})")
    lines = _first_lines(cell)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.lineno = node.end_lineno = lines.get(node.id, 1)
    module = compile(tree, cell.co_filename, "exec")
    (code,) = (constant for constant in module.co_consts if isinstance(constant, CodeType))
    return FunctionType(code, names)


def _first_lines(code: CodeType) -> dict[str, int]:
    """Of each name that the code and what is defined in it mention: the line where it stands first."""
    found: dict[str, int] = {}
    places = [(step.argval, step.positions and step.positions.lineno) for step in dis.get_instructions(code)]
    inner = [_first_lines(part) for part in code.co_consts if isinstance(part, CodeType)]
    for name, line in [*places, *(item for lines in inner for item in lines.items())]:
        if isinstance(name, str) and line:
            found[name] = min(line, found.get(name, line))
    return found


def _culprit(reader: Callable[[], Any]) -> str:
    """The name that cannot be pickled, or through which it is reached."""
    _, failures = nbray.util.inspect_serializability(reader, "cell", depth=30, print_file=io.StringIO())
    return next((failure.path[1] for failure in failures if len(failure.path) > 1), "")


def _what(name: str, text: str) -> str:
    """The sentence after "the cell"."""
    return text.partition(": it ")[2] or f"uses {name!r}: {text}"
