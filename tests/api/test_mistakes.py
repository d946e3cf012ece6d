"""The mistakes that everybody makes: each error says what to do instead, in a line."""

from __future__ import annotations

import sys
import warnings

import pytest

import nbray

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def double(x):
    return 2 * x


class Walker:
    def walk(self, steps):
        return steps

    def heat_is(self):
        return vars(self).get("heat", "as it was")


@pytest.fixture
def walker():
    return nbray.remote(Walker).remote()


def test_an_option_among_the_arguments(walker):
    for call in (double.remote, walker.walk.remote, nbray.remote(Walker).remote):
        with pytest.raises(TypeError, match=r"argument 'num_returns'; as an option: \.options\(num_returns="):
            call(num_returns=2)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'retries'$"):
        double.remote(1, retries=2)


def test_a_parameter_that_is_called_like_an_option():
    assert nbray.get(nbray.remote(lambda name: name).remote(name="Ada")) == "Ada"


def test_what_is_not_called_gives_no_ref(walker):
    for wrong in (double, walker.walk):
        with pytest.raises(ValueError, match=r"not \w+; a call of it gives one: \.remote\(\.\.\.\)"):
            nbray.get(wrong)
        with pytest.raises(TypeError, match=r"a call of it gives one: \.remote\(\.\.\.\)"):
            nbray.get([wrong])


def test_lists_in_a_list_and_a_ref_that_is_none():
    ref = double.remote(1)
    for take in (nbray.get, nbray.wait):
        with pytest.raises(
            TypeError, match=r"contain.* list .*; get each of the lists, or put their refs into one"
        ):
            take([[ref], [ref]])
    with pytest.raises(ValueError, match=r"or a list of ObjectRefs, not tuple$"):
        nbray.get((ref, ref))
    with pytest.raises(TypeError, match=r"got a single one: \[ref\]"):
        nbray.wait(ref)


def test_an_attribute_of_the_value_is_looked_for_at_the_ref():
    ref = double.remote(1)
    with pytest.raises(
        AttributeError, match=r"no attribute 'real': get\(\) brings its value, which may have"
    ):
        _ = ref.real
    assert not hasattr(ref, "__array__")
    assert nbray.get(ref) == 2


def test_an_attribute_that_is_set_on_a_handle_is_not_the_actors(walker):
    with pytest.warns(UserWarning, match="'heat' is set on this handle, not on the actor") as told:
        walker.heat = 500
    assert told[0].filename == __file__
    assert walker.heat == 500  # as with Ray
    assert nbray.get(walker.heat_is.remote()) == "as it was"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walker.walk.remote(1)  # looked up for the first time: kept on the handle


def test_the_class_was_edited_and_the_actor_is_of_the_old_one(monkeypatch):
    old = nbray.remote(Walker).remote()
    new = type("Walker", (), {"walk": lambda self, steps, heat=1: steps, "reheat": lambda self: None})
    monkeypatch.setattr(sys.modules["__main__"], "Walker", nbray.remote(new), raising=False)
    with pytest.raises(
        AttributeError, match=r"no method 'reheat'; Walker was defined anew since, and this actor is older"
    ):
        _ = old.reheat
    with pytest.raises(TypeError, match="argument 'heat'; Walker was defined anew since"):
        old.walk.remote(1, heat=2)
    with pytest.raises(AttributeError, match=r"no method 'wlak'; did you mean 'walk'\?$"):
        _ = old.wlak
    with pytest.raises(TypeError, match=r"5 were given$"):
        nbray.remote(new).remote().walk.remote(1, 2, 3, 4)


def test_kill_is_for_good_unless_told_otherwise():
    walker = nbray.remote(Walker).options(max_restarts=1).remote()
    nbray.get(walker.walk.remote(1))
    nbray.kill(walker)
    with pytest.raises(
        nbray.exceptions.ActorDiedError, match=r"killed by nbray\.kill; no_restart=False would have let"
    ):
        nbray.get(walker.walk.remote(1))


def test_a_name_that_lives_is_taken_and_how_to_find_it():
    first = nbray.remote(Walker).options(name="ada").remote()
    with pytest.raises(
        ValueError, match=r"get_actor\('ada'\) finds it, and so does \.remote\(\) with the option get_if"
    ):
        nbray.remote(Walker).options(name="ada").remote()
    assert nbray.remote(Walker).options(name="ada", get_if_exists=True).remote() == first
