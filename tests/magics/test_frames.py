"""What a failure looks like in a notebook: the user's lines, here and there, and none of ours."""

from __future__ import annotations

import re
import sys
import traceback

import pytest
from kernels import Kernel

import nbray
from nbray_magics.frames import users

pytestmark = pytest.mark.may_leak(
    "fds",
    "processes",
    "files",
    why="jupyter_client keeps an event loop, and the kernel of all tests here its pool",
)

DEFINE = """import threading
lock = threading.Lock()
if not nbray.is_initialized(): nbray.init(num_cpus=2)
def helper(x):
    return 10 / x

@nbray.remote
def work(x):
    return helper(x)

@nbray.remote
def outer(x):
    return nbray.get(work.remote(x))

@nbray.remote
def chained():
    try:
        {}["key"]
    except KeyError as error:
        raise RuntimeError("from it") from error

@nbray.remote
def stream():
    yield 1
    yield helper(0)

@nbray.remote
def uses():
    held = 1
    return lock
"""


@pytest.fixture
def defined(shared: Kernel) -> tuple[Kernel, str]:
    shared.ok(DEFINE)
    return shared, shared.value("f'In[{len(In) - 2}]'").strip("'")


def no_frame_of_ours(shown: str) -> bool:
    return "nbray/" not in shown and "skipping hidden" not in shown


@pytest.mark.parametrize(
    "cell",
    ["nbray.get(work.remote(0))", "await work.remote(0)", "nbray.get([work.remote(1), work.remote(0)])",
     "list(nbray.util.map_unordered(work, [1, 0, 1]))", "for ref in stream.remote(): nbray.get(ref)"],
)  # fmt: skip
def test_a_failure_shows_the_lines_here_and_there_and_ends_with_what_was_raised(defined, cell):
    kernel, where = defined
    shown = kernel.fails(cell)
    assert no_frame_of_ours(shown)
    assert f"----> 1 {cell}" in shown
    assert f"Cell {where}, line 5, in helper\n    return 10 / x\n" in shown
    assert shown.rstrip().endswith("ZeroDivisionError: division by zero")
    assert len(shown.splitlines()) < 20


def test_nested_and_chained_failures_are_told_from_the_first_to_the_last(defined):
    kernel, where = defined
    shown = kernel.fails("nbray.get(outer.remote(0))")
    assert no_frame_of_ours(shown)
    frames = [
        f"Cell {where}, line {line}, in {name}" for line, name in ((13, "outer"), (9, "work"), (5, "helper"))
    ]
    assert list(re.findall(r"Cell In\[\d+\], line \d+, in \w+", shown)) == frames
    shown = kernel.fails("nbray.get(chained.remote())")
    assert (
        shown.index("KeyError: 'key'") < shown.index("direct cause") < shown.rindex("RuntimeError: from it")
    )


def test_an_exception_of_the_user_during_one_of_ours_shows_both_without_our_frames(defined):
    kernel, _ = defined
    shown = kernel.fails(
        "try:\n    nbray.get(work.remote(0))\nexcept ZeroDivisionError:\n    raise TypeError('mine')"
    )
    assert no_frame_of_ours(shown)
    assert "During handling" in shown
    assert shown.rstrip().endswith("TypeError: mine")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("work.remote()", "TypeError: work() missing 1 required positional argument: 'x'"),
        ("work(1)", "use 'work.remote()'"),
        ("nbray.get(3)", "ValueError: get() takes an ObjectRef"),
        ("nbray.init(num_cpus=-1)", "ValueError: "),
        ("work.remote(lock)", "SerializationError: cannot pickle argument 1 (type _thread.lock)"),
        ("work.remote(x={'a': lock})", "cannot pickle argument 'x' (type dict): it has the item ['a']"),
    ],
)
def test_mistakes_show_the_line_that_made_them_and_a_sentence(defined, cell, says):
    kernel, _ = defined
    shown = kernel.fails(cell)
    assert no_frame_of_ours(shown)
    assert f"----> 1 {cell}" in shown
    assert says in shown


def test_what_cannot_be_pickled_is_named_with_its_line(defined):
    kernel, where = defined
    shown = kernel.fails("uses.remote()")
    assert no_frame_of_ours(shown)
    assert (
        f"function 'uses' (Cell {where}, line 27): it uses the global variable 'lock' (type _thread.lock)"
        in shown
    )
    assert f"('lock' is named at Cell {where}, line 30)" in shown


def test_scripts_have_the_whole_traceback_and_notebooks_the_users_part():
    def nested():
        nbray.get("no ref")

    with pytest.raises(ValueError) as caught:
        nested()
    whole = caught.value.__traceback__
    assert [frame.name for frame in traceback.extract_tb(whole)][-2:] == ["nested", "get"]
    mine = [frame.name for frame in traceback.extract_tb(users(whole))]
    assert mine[-1] == "nested"
    assert "get" not in mine


def test_a_traceback_of_ours_alone_stays_whole():
    try:
        nbray.get("no ref")
    except ValueError as error:
        ours = error.__traceback__.tb_next
    assert users(ours) is ours
    assert sys.exc_info() == (None, None, None)
