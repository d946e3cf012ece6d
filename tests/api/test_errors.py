"""Failures reach whoever asks, as what they were."""

import gc
import pickle
import threading
import time
import traceback

import pytest
from gates import Gate, Marks, until, within

import nbray
from nbray import _runtime
from nbray.exceptions import RayTaskError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(value):
    return value


@nbray.remote
def fail(error):
    raise error


def test_an_error_is_of_both_types():
    with pytest.raises(ValueError, match="bad") as caught:
        nbray.get(fail.remote(ValueError("bad")))
    assert isinstance(caught.value, RayTaskError)
    assert isinstance(caught.value.cause, ValueError)


def test_an_error_tells_function_line_and_process():
    @nbray.remote
    def culprit():
        return 1 / 0  # the line

    with pytest.raises(ZeroDivisionError) as caught:
        nbray.get(culprit.remote())
    text = str(caught.value)
    assert "culprit" in text
    assert "return 1 / 0  # the line" in text
    assert "pid=" in text
    assert "ZeroDivisionError: division by zero" in text


def test_an_error_can_be_raised_twice_and_keeps_a_short_local_traceback():
    ref = fail.remote(ValueError("x"))
    lengths = set()
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            nbray.get(ref)
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(lengths) == 1


def test_attributes_of_an_error_survive():
    with pytest.raises(FileNotFoundError) as caught:
        nbray.get(fail.remote(FileNotFoundError(2, "no such file", "name")))
    assert (caught.value.errno, caught.value.filename) == (2, "name")


def test_an_error_of_a_local_class_is_an_instance_of_it():
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a} and {b}")
            self.a, self.b = a, b

    @nbray.remote
    def odd():
        raise Odd(1, 2)

    with pytest.raises(RayTaskError, match="1 and 2") as caught:
        nbray.get(odd.remote())
    assert "Odd" in type(caught.value).__name__ or "Odd" in str(caught.value)


def test_an_error_of_a_type_that_is_not_made_from_its_arguments_is_an_instance_of_it():
    class WantsMore(Exception):
        def __new__(cls, *args, key):
            made = super().__new__(cls, *args)
            made.key = key
            return made

        def __init__(self, *args, key):
            super().__init__(*args)

    @nbray.remote
    def wants_more():
        raise WantsMore("a", key=3)

    @nbray.remote
    def out_of_memory():
        import numpy as np

        np.empty(1 << 60, "u1")

    with pytest.raises(MemoryError, match="Unable to allocate") as memory:
        nbray.get(out_of_memory.remote())
    assert isinstance(memory.value, RayTaskError) and memory.value.args == memory.value.cause.args

    with pytest.raises(WantsMore) as wants:
        nbray.get(wants_more.remote())
    assert (wants.value.args, wants.value.key) == (("a",), 3) and isinstance(wants.value, RayTaskError)


def test_dependents_fail_unrun_with_the_root_cause(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def after(_):
        marks.mark()

    first = fail.remote(KeyError("root"))
    last = after.remote(after.remote(first))
    with pytest.raises(KeyError, match="root"):
        nbray.get(last)
    with pytest.raises(KeyError):
        nbray.get(after.remote(first))
    assert marks.count() == 0


def test_every_return_of_a_failed_task_fails():
    @nbray.remote(num_returns=2)
    def both():
        raise KeyError

    for ref in both.remote():
        with pytest.raises(KeyError):
            nbray.get(ref)


def test_an_error_of_a_nested_task_goes_up_with_its_type():
    @nbray.remote
    def outer():
        return nbray.get(fail.remote(KeyError("inner")))

    with pytest.raises(KeyError, match="inner"):
        nbray.get(outer.remote())


def test_an_error_of_nbray_that_a_task_lets_through_is_of_both_types(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def impatient(refs):
        nbray.get(refs, timeout=0)

    @nbray.remote
    def unpicklable():
        return threading.Lock()

    with pytest.raises(RayTaskError, match="impatient") as caught:
        nbray.get(impatient.remote([nbray.remote(lambda: gate.wait()).remote()]))
    gate.open()
    assert isinstance(caught.value, nbray.exceptions.GetTimeoutError)
    with pytest.raises(RayTaskError, match="unpicklable") as caught:
        nbray.get(unpicklable.remote())
    assert isinstance(caught.value, TypeError)


def test_a_task_may_catch_what_its_own_task_raised():
    @nbray.remote
    def outer():
        try:
            nbray.get(fail.remote(KeyError("inner")))
        except KeyError as error:
            return type(error).__mro__[1].__name__

    assert nbray.get(outer.remote()) == "RayTaskError"


def test_an_error_may_be_a_value():
    assert isinstance(nbray.get(echo.remote(ValueError("x"))), ValueError)


def test_errors_can_be_pickled():
    with pytest.raises(ValueError) as caught:
        nbray.get(fail.remote(ValueError("x")))
    back = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(back, ValueError)
    assert isinstance(back, RayTaskError)


# --- what cannot be pickled -------------------------------------------------------------------------------------------


def test_an_argument_that_cannot_be_pickled_fails_at_the_call():
    with pytest.raises(TypeError, match="lock"):
        echo.remote(threading.Lock())
    with pytest.raises(TypeError, match="lock"):
        echo.remote({"deep": [threading.Lock()]})
    assert nbray.get(echo.remote(1)) == 1


def test_a_function_that_captures_what_cannot_be_pickled_names_it_at_the_call():
    the_captured_one = threading.Lock()

    @nbray.remote
    def capture():
        return the_captured_one

    with pytest.raises(TypeError, match="the_captured_one"):
        capture.remote()


def test_a_value_that_cannot_be_pickled_fails_at_put():
    with pytest.raises(TypeError, match="lock"):
        nbray.put(threading.Lock())


def test_a_result_that_cannot_be_pickled_fails_its_ref_and_the_process_lives():
    @nbray.remote
    def result(wrong):
        return threading.Lock() if wrong else 1

    with pytest.raises(TypeError, match="lock"):
        nbray.get(result.remote(True))
    assert nbray.get(result.remote(False)) == 1


def test_a_value_that_cannot_be_unpickled_here_fails_its_ref_and_the_channel_lives():
    class Trap:
        def __reduce__(self):
            return int, ("no number",)

    @nbray.remote
    def trap():
        return Trap()

    ref = trap.remote()
    for _ in range(2):
        with pytest.raises(Exception, match="no number"):
            nbray.get(ref)
    assert nbray.get(echo.remote(1)) == 1


def test_an_argument_that_cannot_be_unpickled_there_fails_the_task():
    class Trap:
        def __reduce__(self):
            return int, ("no number",)

    with pytest.raises(Exception, match="no number"):
        nbray.get(echo.remote(Trap()))
    assert nbray.get(echo.remote(1)) == 1


def test_an_exception_that_cannot_be_pickled_still_says_what_it_was():
    class Bad(Exception):
        def __reduce__(self):
            raise RuntimeError("will not")

    @nbray.remote
    def bad():
        raise Bad("the message")

    with pytest.raises(RayTaskError, match="the message"):
        nbray.get(bad.remote())
    assert nbray.get(echo.remote(1)) == 1


def test_an_exception_that_cannot_be_unpickled_still_says_what_it_was():
    class Bad(Exception):
        def __reduce__(self):
            return int, ("no number",)

    @nbray.remote
    def bad():
        raise Bad("the message")

    with pytest.raises(RayTaskError, match="the message"):
        nbray.get(bad.remote())
    assert nbray.get(echo.remote(1)) == 1


# --- retries of exceptions -----------------------------------------------------------------------------------------


def test_exceptions_are_not_retried_by_default(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def once():
        marks.mark()
        raise ValueError

    with pytest.raises(ValueError):
        nbray.get(once.remote())
    assert marks.count() == 1


@pytest.mark.parametrize("wanted", [True, [ValueError], [KeyError, Exception]])
def test_wanted_exceptions_are_retried_as_often_as_allowed(tmp_path, wanted):
    marks = Marks(tmp_path)

    @nbray.remote(max_retries=2, retry_exceptions=wanted)
    def often():
        marks.mark()
        raise ValueError("still")

    with pytest.raises(ValueError, match="still"):
        nbray.get(often.remote())
    assert marks.count() == 3


def test_other_exceptions_are_not_retried(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(retry_exceptions=[KeyError])
    def once():
        marks.mark()
        raise ValueError

    with pytest.raises(ValueError):
        nbray.get(once.remote())
    assert marks.count() == 1


def test_a_retry_that_succeeds_gives_the_value(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(retry_exceptions=True)
    def third():
        marks.mark()
        if marks.count() < 3:
            raise ValueError
        return "third"

    assert nbray.get(echo.remote(third.remote())) == "third"


def test_retries_without_end_go_on(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(retry_exceptions=True, max_retries=-1)
    def tenth():
        marks.mark()
        if marks.count() < 10:
            raise ValueError
        return marks.count()

    assert nbray.get(tenth.remote()) == 10


def test_a_task_without_returns_that_fails_leaves_the_pool_usable():
    nbray.remote(num_returns=0)(lambda: 1 / 0).remote()
    assert nbray.get(echo.remote(1)) == 1


def test_an_infeasible_request_is_an_error_within_a_second():
    from nbray.exceptions import TaskUnschedulableError

    def seconds():
        began = time.monotonic()
        ref = infeasible.remote(1)
        with pytest.raises(TaskUnschedulableError, match=named):
            nbray.get(ref, timeout=30)
        return time.monotonic() - began

    infeasible, named = echo.options(num_cpus=100), "100"
    within(1.0, seconds)
    infeasible, named = echo.options(resources={"unheard_of": 1}), "unheard_of"
    within(1.0, seconds)
    assert nbray.get(echo.remote(1)) == 1


def test_an_infeasible_actor_is_an_error_within_a_second():
    from nbray.exceptions import ActorUnschedulableError

    @nbray.remote(num_cpus=100)
    class Big:
        def m(self): ...

    def seconds():
        began = time.monotonic()
        big = Big.remote()
        with pytest.raises(ActorUnschedulableError, match="100"):
            nbray.get(big.m.remote(), timeout=30)
        return time.monotonic() - began

    within(1.0, seconds)


# --- refs in exceptions ------------------------------------------------------------------------------------------------


class WithRef(Exception):
    def __init__(self, ref, attempt=0):
        super().__init__(ref)
        self.attempt = attempt
        self.found = {"again": ref}


@nbray.remote
def fail_with_ref(size, marks=None):
    if marks is not None:
        marks.mark()
    raise WithRef(nbray.put(bytes(size)))


@nbray.remote(num_cpus=0)
class Failing:
    def fail(self, size):
        raise WithRef(nbray.put(bytes(size)))

    def kept_for_others(self):
        return len(_runtime.current().owner.holds)


SIZES = pytest.mark.parametrize("size", [10, 20_000, 1 << 20])


def ref_of(failed):
    with pytest.raises(WithRef) as caught:
        nbray.get(failed)
    assert caught.value.args[0] is caught.value.found["again"]
    return caught.value.args[0]


@SIZES
def test_a_ref_in_an_exception_can_be_got(size):
    failed = fail_with_ref.remote(size)
    ref = ref_of(failed)
    del failed
    assert nbray.get(ref, timeout=20) == bytes(size)


@SIZES
def test_dependents_and_tasks_around_it_hand_the_ref_on(size):
    @nbray.remote
    def outer():
        nbray.get(fail_with_ref.remote(size))

    dependent = echo.remote(fail_with_ref.remote(size))
    for failed in (outer.remote(), dependent):
        assert nbray.get(ref_of(failed), timeout=20) == bytes(size)


def test_a_ref_in_an_exception_of_a_method_lives_as_long_as_the_exception():
    actor = Failing.remote()
    ref = ref_of(actor.fail.remote(1 << 20))
    assert nbray.get(actor.kept_for_others.remote()) == 1
    assert nbray.get(ref, timeout=20) == bytes(1 << 20)
    del ref
    gc.collect()
    until(lambda: nbray.get(actor.kept_for_others.remote()) == 0)


def test_a_ref_in_an_exception_of_a_generator_or_an_async_method_can_be_got():
    @nbray.remote
    def items():
        yield 1
        raise WithRef(nbray.put(2))

    @nbray.remote(num_cpus=0)
    class Async:
        async def fail(self):
            raise WithRef(nbray.put(3))

    generator = items.remote()
    assert nbray.get(next(generator)) == 1
    actor = Async.remote()
    assert nbray.get(ref_of(next(generator))) == 2
    assert nbray.get(ref_of(actor.fail.remote())) == 3


def test_an_exception_outlives_the_process_that_raised_it_and_so_does_what_it_refers_to():
    actor = Failing.remote()
    failed = actor.fail.remote(1 << 20)
    nbray.wait([failed])
    nbray.kill(actor)
    with pytest.raises(nbray.exceptions.RayActorError):
        nbray.get(actor.kept_for_others.remote())
    assert nbray.get(ref_of(failed), timeout=20) == bytes(1 << 20)


@pytest.mark.parametrize(
    ("wanted", "runs"), [([WithRef], 3), ([KeyError], 1), ([KeyError, WithRef], 3), (True, 3)]
)
def test_exceptions_with_refs_are_retried_as_others_are(tmp_path, wanted, runs):
    marks = Marks(tmp_path)
    failed = fail_with_ref.options(max_retries=2, retry_exceptions=wanted).remote(1 << 20, marks)
    assert nbray.get(ref_of(failed), timeout=20) == bytes(1 << 20)
    assert marks.count() == runs


def test_a_process_that_gets_an_exception_from_its_owner_gets_its_refs():
    @nbray.remote
    def ask(refs):
        try:
            nbray.get(refs[0])
        except WithRef as error:
            return len(nbray.get(error.args[0]))

    failed = fail_with_ref.remote(20_000)
    nbray.wait([failed])
    assert nbray.get(ask.remote([failed])) == 20_000
