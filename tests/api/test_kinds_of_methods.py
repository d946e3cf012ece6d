"""What of a class counts as a method of its actors, beside plain functions."""

import functools

import numpy as np
import pytest

import nbray
from nbray._actor_handle import _methods_of

pytestmark = pytest.mark.usefixtures("pool")


class Shop:
    def price(self, item, count, *, currency="EUR"):
        return f"{count} {item} {currency}"

    dozen = functools.partialmethod(price, count=12)
    apples = functools.partialmethod(price, "apples")

    @classmethod
    def named(cls, name):
        return f"{cls.__name__} {name}"

    corner = functools.partialmethod(named, "corner")

    def items(self, n):
        yield from range(n)

    pair = functools.partialmethod(items, 2)


class Later:
    async def wait(self, value):
        return value

    ready = functools.partialmethod(wait, "ready")


def test_partial_methods_are_methods():
    shop = nbray.remote(num_cpus=0)(Shop).remote()
    refs = [shop.dozen.remote("eggs"), shop.apples.remote(3, currency="GBP"), shop.corner.remote()]
    assert nbray.get(refs) == ["12 eggs EUR", "3 apples GBP", "Shop corner"]


def test_arguments_of_partial_methods_are_checked_at_the_call():
    shop = nbray.remote(num_cpus=0)(Shop).remote()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'count'"):
        shop.apples.remote()


def test_a_partial_generator_method_streams():
    shop = nbray.remote(num_cpus=0)(Shop).remote()
    assert [nbray.get(ref) for ref in shop.pair.remote()] == [0, 1]


def test_methods_that_depend_on_the_type_of_the_argument_are_methods():
    class Describer:  # functools makes of it what cannot be pickled, so only classes of modules can have such methods
        @functools.singledispatchmethod
        def describe(self, value):
            return "something"

    assert list(_methods_of(Describer, {})) == ["describe"]


def test_partial_async_methods_are_awaited():
    class OnlyPartial:
        ready = functools.partialmethod(Later.wait, "ready")

    assert nbray.get(nbray.remote(num_cpus=0)(OnlyPartial).remote().ready.remote()) == "ready"
    assert nbray.get(nbray.remote(num_cpus=0)(Later).remote().ready.remote()) == "ready"


def test_a_class_that_cython_compiled_can_be_an_actor():
    generator = nbray.remote(num_cpus=0)(np.random.RandomState).remote(1)
    assert nbray.get(generator.randint.remote(0, 1000)) == np.random.RandomState(1).randint(0, 1000)


def test_an_actor_class_cannot_be_a_base():
    with pytest.raises(nbray.actor.ActorClassInheritanceException, match="plain class") as raised:

        class Derived(nbray.remote(Shop)):
            pass

    assert isinstance(raised.value, TypeError)


def test_rays_name_of_a_handle_in_annotations_is_there():
    def use(shop: nbray.actor.ActorProxy[Shop]) -> None: ...

    assert isinstance(nbray.remote(num_cpus=0)(Shop).remote(), nbray.actor.ActorProxy)
