import asyncio
import linecache
import pickle
import sys
import threading
import traceback

import pytest

from nbray import exceptions
from nbray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError
from nbray.wire import errors
from nbray.wire.errors import add_source_lines, dump_error, load_error


def raised(exception):
    try:
        raise exception
    except BaseException as error:
        return error


def through(exception, name="f"):
    return load_error(dump_error(raised(exception), name, 42, "ab" * 8, raised=True))


class NeedsTwo(Exception):
    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right


class KeywordOnly(ValueError):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


class BothOfThem(KeywordOnly, LookupError):
    pass


class FailsToPickle(LookupError):
    def __reduce__(self):
        raise RuntimeError("never")


class FailsToUnpickle(LookupError):
    def __reduce__(self):
        return explode, ()


def explode():
    raise RuntimeError("never")


class BadStr(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class ExitsInStr(Exception):
    @property
    def __notes__(self):
        raise RuntimeError("no notes")


def test_the_error_is_of_both_types_and_tells_where_it_happened():
    error = through(ValueError("boom"))
    assert isinstance(error, RayTaskError) and isinstance(error, ValueError)
    assert error.args == ("boom",)
    assert (error.function_name, error.pid, error.node) == ("f", 42, "ab" * 8)
    assert "ValueError: boom" in error.traceback_str
    assert "in raised" in error.traceback_str and "raise exception" in error.traceback_str
    assert "pid=42" in str(error)


@pytest.mark.parametrize(
    ("exception", "attributes"),
    [
        (NeedsTwo("a", "b"), {"left": "a", "right": "b"}),
        (KeywordOnly(code=3), {"code": 3}),
        (OSError(2, "gone", "/x"), {"errno": 2, "filename": "/x"}),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), {"start": 0}),
        (ExceptionGroup("many", [ValueError(1), TypeError(2)]), {"message": "many"}),
        (StopIteration(5), {"value": 5}),
        (FailsToPickle("x"), {}),
        (FailsToUnpickle("x"), {}),
        (BadStr("x"), {}),
        (ExitsInStr("x"), {}),
        (KeyError(("a", 1)), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_type_of_the_users_exception_arrives(exception, attributes):
    error = through(exception)
    assert isinstance(error, type(exception)) and isinstance(error, RayTaskError)
    assert type(exception).__name__ in error.traceback_str
    for name, value in attributes.items():
        assert getattr(error.cause, name) == getattr(error, name) == value


def test_local_exception_types_arrive_by_value():
    class Local(Exception):
        def __init__(self, code):
            super().__init__("text")
            self.code = code

    error = through(Local(7))
    assert type(error.cause).__name__ == "Local" and error.cause.code == 7


def test_arguments_and_attributes_that_cannot_be_pickled_are_left_behind():
    exception = ValueError("kept", threading.Lock())
    exception.lock, exception.code = threading.Lock(), 3
    error = through(exception)
    assert isinstance(error, ValueError)
    assert error.args[0] == "kept" and "lock" in error.args[1]
    assert error.cause.code == 3 and not hasattr(error.cause, "lock")


@pytest.fixture
def without(monkeypatch):
    def read(exception, *types):
        """What a reader makes of a failure who does not have these types."""
        data = dump_error(raised(exception), "f", 1, "", raised=True)
        with monkeypatch.context() as reader:
            for missing in types:
                reader.delattr(sys.modules[__name__], missing.__name__)
            return load_error(data)

    return read


def test_a_type_that_the_reader_does_not_have_still_gives_name_text_and_attributes(without):
    error = without(NeedsTwo("a", "b"), NeedsTwo)
    assert isinstance(error, RayTaskError) and not isinstance(error, NeedsTwo)
    assert type(error.cause).__name__ == "NeedsTwo"
    assert error.left == "a" and "a and b" in error.traceback_str


def test_of_a_type_that_the_reader_does_not_have_the_bases_count(without):
    error = without(KeywordOnly(code=3), KeywordOnly)
    assert isinstance(error, RayTaskError) and isinstance(error, ValueError)
    assert error.code == 3


def test_a_base_that_the_reader_does_not_have_is_left_out(without):
    error = without(BothOfThem(code=3), BothOfThem, KeywordOnly)
    assert isinstance(error, ValueError) and isinstance(error, LookupError)
    assert not isinstance(error, KeywordOnly)


def test_an_exception_that_is_no_exception_by_its_bases_arrives_too():
    class Stop(BaseException):
        pass

    error = through(Stop("here"))
    assert isinstance(error, RayTaskError) and type(error.cause).__name__ == "Stop"
    assert isinstance(error, type(error.cause))


@pytest.mark.parametrize(
    "exception", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
def test_exceptions_that_end_processes_do_not_end_the_reader(exception):
    error = through(exception)
    assert type(error) is RayTaskError
    assert type(error.cause) is type(exception)


def test_a_rubbish_record_is_an_error_too():
    assert isinstance(load_error(b"rubbish"), RayTaskError)
    assert isinstance(load_error(pickle.dumps((1, 2))), RayTaskError)


def test_chained_exceptions_are_in_the_text():
    def chained():
        try:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise TypeError("second") from error
        except TypeError:
            raise ValueError("third")  # noqa: B904

    try:
        chained()
    except ValueError as error:
        text = load_error(dump_error(error, "f", 1, "")).traceback_str
    assert text.index("KeyError: 'first'") < text.index("direct cause") < text.index("TypeError: second")
    assert text.index("TypeError: second") < text.index("During handling") < text.index("ValueError: third")


def test_a_failure_of_a_nested_call_keeps_its_root_type_and_both_tracebacks():
    inner = through(NeedsTwo("a", "b"), "inner")
    outer = through(inner, "outer")
    assert isinstance(outer, NeedsTwo) and isinstance(outer, RayTaskError)
    assert type(outer.cause) is NeedsTwo and outer.cause.left == "a"
    assert outer.function_name == "outer"
    assert "inner (pid=42" in outer.traceback_str and "a and b" in outer.traceback_str


def test_a_nested_failure_without_a_cause_stays_a_task_error():
    error = through(RayTaskError("inner", "inner text", None, 1, ""), "outer")
    assert type(error) is RayTaskError
    assert "inner text" in error.traceback_str


def test_an_error_of_nbray_that_nobody_raised_is_told_once():
    told = load_error(dump_error(ActorDiedError("it was killed"), "A.m", 1, "node"))
    assert "".join(traceback.format_exception_only(told)).count("it was killed") == 1


def test_an_error_of_nbray_that_user_code_let_through_is_of_both_types():
    error = through(ActorDiedError("the actor died"), "outer")
    assert isinstance(error, RayTaskError) and isinstance(error, ActorDiedError)
    assert error.args == ("the actor died",)
    assert "outer (pid=42" in str(error) and "in raised" in str(error)


def test_an_error_of_nbray_instead_of_what_user_code_raised_is_itself_with_the_remote_traceback_as_a_note():
    error = load_error(dump_error(raised(TaskCancelledError("id", "cancelled")), "outer", 42, ""))
    assert type(error) is TaskCancelledError
    text = "".join(traceback.format_exception(error))
    assert "outer (pid=42" in text and "in raised" in text


def test_runtime_frames_are_left_out(tmp_path, monkeypatch):
    runtime = tmp_path / "loop.py"
    runtime.write_text("def run(f):\n    return f()\n")
    space = {}
    exec(compile(runtime.read_text(), str(runtime), "exec"), space)
    monkeypatch.setattr(errors, "_RUNTIME", str(tmp_path))

    def users():
        raise ValueError("boom")

    try:
        space["run"](users)
    except ValueError as error:
        text = dump_error(error, "f", 1, "")
    assert "in users" in load_error(text).traceback_str
    assert "in run\n" not in load_error(text).traceback_str


def test_frames_that_hide_themselves_are_left_out_in_chained_errors_and_groups_too():
    def hides(*errors):
        __tracebackhide__ = True
        if len(errors) > 1:
            raise ExceptionGroup("some", errors)
        raise errors[0]

    def shows():
        try:
            hides(ValueError("first"))
        except ValueError as first:
            try:
                hides(KeyError("second"))
            except KeyError as second:
                hides(first, second)

    with pytest.raises(ExceptionGroup) as caught:
        shows()
    text = errors.format_remote(caught.value)
    assert "in hides" not in text
    assert text.count("in shows") >= 3


def test_the_runtimes_own_directory_is_what_is_left_out():
    assert exceptions.__file__.startswith(errors._RUNTIME)


def test_very_long_messages_are_cut_in_the_middle():
    error = through(ValueError("x" * 1_000_000))
    assert len(error.traceback_str) < 101_000
    assert "characters left out" in error.traceback_str


def test_lines_of_notebook_cells_are_filled_in_by_the_process_that_has_them(monkeypatch):
    name = "/tmp/ipykernel_1/123.py"
    source = ["def f():\n", "    raise ValueError('x')\n"]
    text = f'Traceback (most recent call last):\n  File "{name}", line 2, in f\nValueError: x\n'
    assert add_source_lines(text) == text
    monkeypatch.setitem(linecache.cache, name, (10, None, source, name))
    filled = add_source_lines(text)
    assert filled == text.replace("in f\n", "in f\n    raise ValueError('x')\n")
    assert add_source_lines(filled) == filled
