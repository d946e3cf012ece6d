"""A cell as code that runs elsewhere: what it reads, what it assigns, what its last expression is. Pure: text in, code out.

Names are taken from the bytecode and not from the tree: there every scope, comprehension and ``global`` is resolved already.
"""

from __future__ import annotations

import ast
import dis
import inspect
import io
import tokenize
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

#: Where the code leaves the value of its last expression.
VALUE = "_nbray_value"

_READS = frozenset(("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"))
_COMPOUND = (
    ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match,
)  # fmt: skip
_SKIPPED = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT))


class CellCode(NamedTuple):
    """
    Attributes:
        code: to be executed in a namespace that has the names it reads. A coroutine's, if the cell awaits.
        reads: names that it needs from outside.
        perhaps: names that it reads, but may have assigned itself by then.
        assigns: names that it may assign.
        has_value: it leaves the value of its last expression under ``VALUE``.
        opaque: it assigns names that the text does not tell (``import *``, ``exec``).
    """

    code: CodeType
    reads: frozenset[str]
    perhaps: frozenset[str]
    assigns: frozenset[str]
    has_value: bool
    opaque: bool

    @property
    def awaits(self) -> bool:
        return bool(self.code.co_flags & inspect.CO_COROUTINE)


def compile_cell(source: str, filename: str, flags: int = 0) -> CellCode:
    """Compile a cell.

    Args:
        source: Python, without magics.
        filename: what tracebacks call it.
        flags: of ``compile``: for instance ``ast.PyCF_ALLOW_TOP_LEVEL_AWAIT``, or what ``__future__`` has.

    Raises:
        SyntaxError: as for any source, with its line.
    """
    tree = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    body = list(tree.body)
    has_value = False
    if body and isinstance(body[-1], ast.Expr) and not _ends_in_semicolon(source):
        last = body[-1]
        kept = ast.Assign([ast.Name(VALUE, ast.Store())], last.value)
        body[-1] = ast.fix_missing_locations(ast.copy_location(kept, last))
        has_value = True
    code = _compiled(body, filename, flags)
    reads, perhaps, assigns, opaque = _names(tree.body, filename, flags)
    return CellCode(code, reads, perhaps, assigns, has_value, opaque)


def _compiled(body: list[ast.stmt], filename: str, flags: int) -> CodeType:
    code = compile(ast.Module(body, []), filename, "exec", flags, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def _ends_in_semicolon(source: str) -> bool:
    """As in any cell, a semicolon at the end says that the value is not wanted."""
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _SKIPPED:
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"


# --- names -----------------------------------------------------------------------------------------------------------


class _Scope(NamedTuple):
    """Names in the code of one statement: what it reads itself, what functions inside it read, what it assigns and deletes."""

    reads: set[str]
    inner: set[str]
    stores: set[str]
    deletes: set[str]
    opaque: bool


def _names(
    statements: list[ast.stmt], filename: str, flags: int
) -> tuple[frozenset[str], frozenset[str], frozenset[str], bool]:
    """Statement by statement: a name that was assigned for sure is not read from outside; one that may have been, perhaps."""
    scopes = [_scope(_compiled([statement], filename, flags)) for statement in statements]
    assigns = frozenset().union(*(scope.stores for scope in scopes)) if scopes else frozenset()
    reads: set[str] = set()
    perhaps: set[str] = set()
    surely: set[str] = set()
    maybe: set[str] = set()
    for statement, scope in zip(statements, scopes, strict=True):
        walrus = {node.target.id for node in ast.walk(statement) if isinstance(node, ast.NamedExpr)}
        unsure = scope.stores if isinstance(statement, _COMPOUND) else scope.stores & walrus
        open_reads = (scope.reads | scope.deletes) - surely  # what is deleted has to be there
        perhaps |= open_reads & (maybe | unsure)
        reads |= open_reads - maybe - unsure
        # A function may be called after what it reads was assigned further down.
        open_inner = scope.inner - surely
        perhaps |= open_inner & assigns
        reads |= open_inner - assigns
        maybe |= unsure
        surely |= scope.stores - unsure
        surely -= scope.deletes
    return (
        frozenset(filter(_is_users, reads)),
        frozenset(filter(_is_users, perhaps - reads)),
        assigns,
        any(scope.opaque for scope in scopes),
    )


def _scope(code: CodeType) -> _Scope:
    found = _Scope(set(), set(), set(), set(), "exec" in code.co_names)
    opaque = found.opaque
    for instruction in dis.get_instructions(code):
        name, operation = instruction.argval, instruction.opname
        if operation in _READS:
            found.reads.add(name)
        elif operation in ("STORE_NAME", "STORE_GLOBAL"):
            found.stores.add(name)
        elif operation in ("DELETE_NAME", "DELETE_GLOBAL"):
            found.deletes.add(name)
        elif operation == "IMPORT_STAR" or instruction.argrepr == "INTRINSIC_IMPORT_STAR":
            opaque = True
    for inner in _inside(code):
        own: set[str] = set()
        for instruction in dis.get_instructions(inner):
            name, operation = instruction.argval, instruction.opname
            if operation in _READS and name not in own:
                found.inner.add(name)
            elif operation == "STORE_NAME":  # of a class body
                own.add(name)
            elif operation == "STORE_GLOBAL":
                found.stores.add(name)
    return found._replace(opaque=opaque)


def _inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)


def _is_users(name: str) -> bool:
    return not (name.startswith("__") and name.endswith("__"))
