"""Arguments are checked as a direct call would, at the price of comparing a length."""

import inspect
import pickle

import pytest

from nbray._signature import Signature


def plain(a, b=2): ...


def mixed(a, b=2, /, c=3, *rest, d, e=5, **more): ...


def words(*, a, b=1): ...


class Holder:
    def method(self, x, y=1): ...

    def loose(*args): ...


CALLS = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((1, 2, 3, 4), {"d": 1}),
    ((), {"a": 1}),
    ((1,), {"a": 1}),
]
CALLS += [((1,), {"d": 1, "zzz": 2}), ((), {"a": 1, "b": 2}), ((1,), {"zzz": 1}), ((), {"b": 1})]


def outcome(call):
    try:
        call()
    except TypeError as error:
        return str(error)
    return "fits"


@pytest.mark.parametrize("function", [plain, mixed, words, lambda: None, lambda *a, **k: None])
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_the_check_says_what_the_call_would_say(function, args, kwargs):
    signature = Signature(function.__qualname__, function)
    for each in (signature, pickle.loads(pickle.dumps(signature))):
        assert outcome(lambda: each.check(args, kwargs)) == outcome(lambda: function(*args, **kwargs))  # noqa: B023


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_bound_signature_fills_in_self(args, kwargs):
    signature = Signature("Holder.method", Holder.method, bound=True)
    expected = outcome(lambda: Holder().method(*args, **kwargs))
    assert outcome(lambda: signature.check(args, kwargs)) == expected


@pytest.mark.parametrize("function", [plain, mixed, words, lambda: None, lambda *a, **k: None])
def test_a_number_of_arguments_within_bounds_always_fits(function):
    signature = Signature("f", function)
    assert signature.least > signature.most  # nothing is known before the first look
    outcome(lambda: signature.check((), {}))
    for count in range(6):
        if signature.least <= count <= signature.most:
            function(*range(count))
        elif function is not words and function is not mixed:  # those never fit without keywords
            with pytest.raises(TypeError):
                function(*range(count))


def test_a_method_that_takes_self_among_its_arguments_has_bounds_from_zero():
    signature = Signature("Holder.loose", Holder.loose, bound=True)
    signature.check((), {})
    assert signature.least == 0


def test_keywords_may_be_called_like_anything_the_check_uses_itself():
    def odd(self, args, kwargs, name): ...

    Signature("odd", odd).check((), {"self": 1, "args": 2, "kwargs": 3, "name": 4})


def test_functions_that_tell_nothing_about_their_parameters_take_anything():
    Signature("dict", dict.fromkeys).check((1, 2), {})
    Signature("type", type).check((1, 2, 3), {"four": 4})


def test_the_displayed_signature_is_the_original_and_elsewhere_hides_defaults():
    def f(self, a: int, b: str = "x") -> None: ...

    here = Signature("f", f, bound=True)
    assert here.__signature__ == inspect.signature(lambda a, b: None).replace(
        parameters=list(inspect.signature(f).parameters.values())[1:], return_annotation=None
    )
    there = pickle.loads(pickle.dumps(here)).__signature__
    assert str(there) == "(a, b=Ellipsis)"
