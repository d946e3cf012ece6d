from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbray_magics.cellcode import VALUE, CellCode, compile_cell


def of(source: str) -> CellCode:
    return compile_cell(source, "<cell>", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    ("cell", "reads"),
    [
        ("x + y", {"x", "y"}),
        ("x = 1\nx + y", {"y"}),
        ("x = x + 1", {"x"}),
        ("x += 1", {"x"}),
        ("import math\nmath.pi", set()),
        ("from a import b as c\nc", set()),
        ("[i * k for i in items]", {"k", "items"}),
        ("{i: j for i, j in pairs if j > least}", {"pairs", "least"}),
        ("def f(a, b=default):\n    c = a\n    return c + shift", {"default", "shift"}),
        ("def f():\n    def g():\n        return deep\n    return g", {"deep"}),
        ("f = lambda a: a + free", {"free"}),
        ("class C(Base):\n    limit = top\n    def m(self):\n        return other", {"Base", "top", "other"}),
        ("class C:\n    a = 1\n    b = a", set()),
        ("def f():\n    global g\n    g = 1\nf()\nprint(g)", {"print"}),
        ("@decorated\ndef f(): pass", {"decorated"}),
        ("f'{x!r:>{width}}'", {"x", "width"}),
        ("obj.x = 1\nseq[k] = v", {"obj", "seq", "k", "v"}),
        ("await task", {"task"}),
        ("async for a in source:\n    pass", {"source"}),
        ("if __name__ == '__main__':\n    x", {"x"}),
        ("if False:\n    never", set()),
        ("del x\nx", {"x"}),
        ("del x", {"x"}),
        ("x = 1\ndel x", set()),
        ("y = 1\ndel y\ny", {"y"}),
        ("", set()),
    ],
)
def test_what_a_cell_needs_from_outside(cell, reads):
    found = of(cell)
    assert found.reads == reads - found.perhaps
    assert not found.perhaps & found.reads


@pytest.mark.parametrize(
    ("cell", "perhaps"),
    [
        ("for x in y:\n    print(x)", {"x"}),
        ("with open(p) as f:\n    d = f.read()\nd", {"f", "d"}),
        ("if c:\n    x = 1\nx", {"x"}),
        ("try:\n    x = 1\nexcept E as e:\n    print(e)\nx", {"x", "e"}),
        ("def f():\n    return g()\ndef g():\n    return 1\nf()", {"g"}),
        ("if (n := size()) > 3:\n    n", {"n"}),
        ("if c:\n    x = 1\nelse:\n    x = 2\nx = 3\nx", set()),
    ],
)
def test_what_it_may_have_assigned_itself_is_needed_perhaps(cell, perhaps):
    assert of(cell).perhaps == perhaps


@pytest.mark.parametrize(
    ("cell", "assigns"),
    [
        ("a = b, c = 1, 2", {"a", "b", "c"}),
        ("a: int = 1\nb: int", {"a"}),
        ("def f(): x = 1\nclass C: y = 2\nimport m.n, o as p", {"f", "C", "m", "p"}),
        ("for i in r: (z := i)", {"i", "z"}),
        ("def f():\n    global g\n    g = 1", {"f", "g"}),
        ("[w := 1 for _ in r]", {"w"}),
    ],
)
def test_what_it_assigns(cell, assigns):
    assert of(cell).assigns == assigns


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1 + 1", 2),
        ("x = 3\nx * 2  # so", 6),
        ("x = 3\nx;", None),
        ("x = 3", None),
        ("for i in 1, 2: i", None),
        ("(\n  4\n)\n\n", 4),
        ("'a;'", "a;"),
        ("''", ""),
    ],
)
def test_the_value_of_the_last_expression(cell, value):
    found = of(cell)
    names: dict = {}
    exec(found.code, names)
    assert found.has_value is (VALUE in names)
    assert names.get(VALUE) == value


def test_a_cell_that_awaits_is_a_coroutine():
    assert of("await x").awaits
    assert not of("async def f(): await x").awaits
    with pytest.raises(SyntaxError):
        compile_cell("await x", "<cell>")


@pytest.mark.parametrize("cell", ["from math import *", "exec('x = 1')"])
def test_some_cells_do_not_tell_what_they_assign(cell):
    assert of(cell).opaque


@pytest.mark.parametrize(("cell", "line"), [("x = 1\ny = (", 2), ("x = 1\n\nreturn 3", 3), ("a b", 1)])
def test_a_syntax_error_has_its_line(cell, line):
    with pytest.raises(SyntaxError) as error:
        of(cell)
    assert error.value.lineno == line


NAMES = st.sampled_from("abc")
SIMPLE = st.one_of(
    st.builds("{} = {}".format, NAMES, NAMES),
    st.builds("{} = 1".format, NAMES),
    st.builds("del {}".format, NAMES),
    st.builds("for {} in ({}, 2): {} = 1".format, NAMES, NAMES, NAMES),
    st.builds("if {}: {} = 1".format, NAMES, NAMES),
    st.builds("def {}(): return {}".format, NAMES, NAMES),
    st.builds("print({})".format, NAMES),
)


@given(st.lists(SIMPLE, max_size=6))
def test_with_what_it_reads_a_cell_does_what_it_does_with_everything(lines):
    cell = "\n".join(lines)
    found = of(cell)

    def outcome(names: dict) -> str:
        try:
            exec(found.code, {**names, "print": lambda _: None})
        except Exception as error:
            return repr(error)
        return "done"

    everything = {"a": 1, "b": 2, "c": 3}
    sent = {name: value for name, value in everything.items() if name in found.reads | found.perhaps}
    expected, got = outcome(everything), outcome(sent)
    # What only gets deleted or passed over is not sent: nothing else may differ.
    assert got == expected or any(line.startswith("del") for line in lines)
