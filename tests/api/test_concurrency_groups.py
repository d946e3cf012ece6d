"""Concurrency groups: methods that do not stand in each other's way."""

import pytest
from gates import Gate

import nbray

pytestmark = pytest.mark.usefixtures("pool")


class Plain:
    @nbray.method(concurrency_group="io")
    def read(self, gate):
        gate.wait()
        return "read"

    @nbray.method(concurrency_group="compute")
    def compute(self, gate):
        gate.wait()
        return "computed"

    def other(self, gate=None):
        if gate is not None:
            gate.wait()
        return "other"


class Async:
    @nbray.method(concurrency_group="io")
    async def read(self, gate):
        import asyncio

        await asyncio.to_thread(gate.wait)
        return "read"

    @nbray.method(concurrency_group="compute")
    async def compute(self, gate):
        import asyncio

        await asyncio.to_thread(gate.wait)
        return "computed"

    async def other(self, gate=None):
        import asyncio

        if gate is not None:
            await asyncio.to_thread(gate.wait)
        return "other"


GROUPS = {"io": 2, "compute": 1}


@pytest.fixture(params=[Plain, Async])
def cls(request):
    return nbray.remote(concurrency_groups=GROUPS)(request.param)


def test_each_group_takes_as_many_calls_at_a_time_as_it_says(cls, tmp_path):
    io, compute = Gate(tmp_path, "io"), Gate(tmp_path, "compute")
    actor = cls.remote()
    refs = [actor.read.remote(io) for _ in range(5)] + [actor.compute.remote(compute) for _ in range(3)]
    io.until_came(2)
    compute.until_came(1)
    assert nbray.wait(refs, timeout=0.05)[0] == []
    assert (io.came(), compute.came()) == (2, 1)
    io.open()
    compute.open()
    assert nbray.get(refs) == ["read"] * 5 + ["computed"] * 3


def test_calls_of_no_group_run_beside_full_groups(cls, tmp_path):
    gate = Gate(tmp_path)
    actor = cls.remote()
    refs = [actor.read.remote(gate) for _ in range(3)] + [actor.compute.remote(gate) for _ in range(2)]
    gate.until_came(3)
    assert nbray.get([actor.other.remote() for _ in range(10)]) == ["other"] * 10
    gate.open()
    nbray.get(refs)


def test_a_call_may_choose_another_group(cls, tmp_path):
    gate = Gate(tmp_path)
    actor = cls.remote()
    full = [actor.read.remote(gate) for _ in range(2)]
    gate.until_came(2)
    waits = actor.other.options(concurrency_group="io").remote()
    passes = actor.other.options(concurrency_group="compute").remote()
    assert nbray.get(passes) == "other"
    assert nbray.wait([waits], timeout=0.05)[0] == []
    gate.open()
    assert nbray.get([waits, *full]) == ["other", "read", "read"]


def test_the_default_group_has_max_concurrency(tmp_path):
    gate = Gate(tmp_path)
    actor = nbray.remote(concurrency_groups=GROUPS, max_concurrency=3)(Plain).remote()
    refs = [actor.other.remote(gate) for _ in range(5)]
    gate.until_came(3)
    assert nbray.wait(refs, timeout=0.05)[0] == []
    gate.open()
    nbray.get(refs)


def test_a_handle_that_came_from_elsewhere_knows_the_groups(cls):
    actor = cls.remote()
    (back,) = nbray.get(nbray.put([actor]))
    assert nbray.get(back.other.options(concurrency_group="io").remote()) == "other"

    @nbray.remote(num_cpus=0)
    def call(handle):
        with pytest.raises(ValueError, match=r"'disk'.*'compute', 'io'"):
            handle.other.options(concurrency_group="disk")
        return nbray.get(handle.other.options(concurrency_group="compute").remote())

    assert nbray.get(call.remote(actor)) == "other"


def test_an_unknown_group_names_the_known_ones(cls):
    actor = cls.remote()
    with pytest.raises(ValueError, match=r"'disk'.*'compute', 'io'"):
        actor.other.options(concurrency_group="disk")


def test_a_method_with_a_group_that_its_actor_has_not_is_refused_when_one_is_created():
    with pytest.raises(ValueError, match=r"method compute.*'compute'.*none"):
        nbray.remote(Plain).remote()


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ({"io": 0}, ValueError),
        ({"io": 1.5}, TypeError),
        ({1: 1}, TypeError),
        ({"": 1}, TypeError),
        (["io"], TypeError),
    ],
)
def test_impossible_groups_are_refused_where_they_are_written(groups, kind):
    with pytest.raises(kind):
        nbray.remote(concurrency_groups=groups)(Plain)
