"""What a pool tells its feed of nodes, large objects and actors: the events that the views read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import nbray
from nbray import events
from nbray.events import ActorChanged, NodeChanged, NodeSampled, ObjectChanged, ObjectHeld, ProcessChanged
from nbray.testing import Cluster

MIB = 1 << 20


def told(wanted: Callable[[Any], bool], *, watch: int | None = None, patience: float = 60.0) -> Any:
    """The first record that is wanted, waited for."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if watch is not None:
            nbray.feed().watch(watch)
        found = next(filter(wanted, nbray.feed().since(0)[0]), None)
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError([record for record in nbray.feed().since(0)[0] if not hasattr(record, "task")])


@nbray.remote
def zeros(size: int) -> bytearray:
    return bytearray(size)


@nbray.remote
class Shelf:
    def keep(self, refs):
        self.refs = refs

    def drop(self):
        del self.refs

    def fill(self):
        self.own = nbray.put(bytearray(MIB))
        return [self.own]


@nbray.remote
class Broken:
    def __init__(self):
        raise ValueError("no such shelf")


def of(ref: Any, kind: type, **fields: Any) -> Callable[[Any], bool]:
    def wanted(record: Any) -> bool:
        return (
            isinstance(record, kind)
            and record.object == ref.hex()
            and all(getattr(record, name) == value for name, value in fields.items())
        )

    return wanted


@pytest.fixture
def small():
    """A pool whose store has room for two objects of 3 MiB."""
    nbray.init(num_cpus=2, object_store_memory=8 * MIB)
    yield
    nbray.shutdown()


def test_the_driver_and_its_node_are_told_first(small):
    driver = told(lambda record: isinstance(record, ProcessChanged) and record.role == "driver")
    node = told(lambda record: isinstance(record, NodeChanged))
    assert (node.state, node.node, node.host) == ("up", driver.node, "")
    assert node.resources["CPU"] == 2.0
    assert node.resources["object_store_memory"] == 8 * MIB


def test_a_node_is_sampled_while_somebody_watches_it_and_says_what_is_leased(small):
    shelf = Shelf.options(num_cpus=1).remote()
    nbray.get(shelf.keep.remote([]))
    held = nbray.put(bytearray(MIB))
    assert not any(isinstance(record, NodeSampled) for record in nbray.feed().since(0)[0])
    sample = told(
        lambda record: isinstance(record, NodeSampled) and record.used == {"CPU": 1.0} and record.store,
        watch=events.NODE_SAMPLED,
    )
    assert MIB < sample.store < sample.store_total == 8 * MIB
    assert 0 < sample.memory < sample.memory_total
    assert 0 <= sample.cpu < 1_000 and sample.spilled == 0
    del held


def test_a_large_object_tells_who_made_it_and_where_it_lies(small):
    put = nbray.put(bytearray(3 * MIB))
    made = zeros.remote(3 * MIB)
    nbray.wait([made])
    on_disk = zeros.remote(3 * MIB)
    node = told(of(put, ObjectChanged, state="stored", made="put", by="")).node
    told(of(made, ObjectChanged, state="stored", made="result", by="zeros", node=node))
    told(of(on_disk, ObjectChanged, state="spilled", made="result", by="zeros", node=node))
    (own,) = nbray.get(Shelf.remote().fill.remote())
    told(of(own, ObjectChanged, made="put", by="Shelf.fill"))
    name = put.hex()
    del put
    told(lambda record: isinstance(record, ObjectChanged) and record[1:3] == (name, "freed"))
    assert nbray.get(made) and nbray.get(on_disk)


def test_who_has_a_ref_to_a_large_object_is_told_and_small_ones_are_not_spoken_of(small):
    shelf = Shelf.remote()
    large, little = zeros.remote(MIB), zeros.remote(10_000)
    nbray.get(shelf.keep.remote([large, little]))
    actor = told(lambda record: isinstance(record, ActorChanged) and record.state == "alive")
    told(of(large, ObjectHeld, holders=(actor.process,)))
    nbray.get(shelf.drop.remote())
    told(of(large, ObjectHeld, holders=()))
    assert not any(getattr(record, "object", "") == little.hex() for record in nbray.feed().since(0)[0])


def test_an_actor_that_never_came_up_says_what_its_constructor_raised(small):
    broken = Broken.remote()
    dead = told(lambda record: isinstance(record, ActorChanged) and record.state == "dead")
    assert dead.reason == "its __init__ raised: ValueError: no such shelf"
    del broken


def test_the_nodes_of_a_cluster_are_sampled_too_those_that_come_later_as_well():
    with Cluster() as cluster:
        one = cluster.add_node(num_cpus=2)
        nbray.init(cluster.address)
        try:
            watch = events.NODE_SAMPLED
            told(lambda record: isinstance(record, NodeSampled) and record.node == one.node_id, watch=watch)
            other = cluster.add_node(num_cpus=1)
            told(
                lambda record: (
                    isinstance(record, NodeChanged)
                    and record.host == "127.0.0.1"
                    and record.resources["CPU"] == 1
                )
            )
            told(lambda record: isinstance(record, NodeSampled) and record.node == other.node_id, watch=watch)
        finally:
            nbray.shutdown()
