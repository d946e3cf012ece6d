"""``put(replicas=n)``: copies on other nodes, which take over when a node is lost."""

from __future__ import annotations

import contextlib
import os

import numpy
import pytest
from gates import until

import nbray as ray
from nbray import _runtime
from nbray.core.lineage import copy_name
from nbray.testing import Cluster

pytestmark = pytest.mark.timeout(120)

SIZE = 1 << 18


@contextlib.contextmanager
def nodes(*names):
    with Cluster() as cluster:
        handles = [cluster.add_node(num_cpus=1, resources={name: 1}) for name in names]
        ray.init(cluster.address)
        try:
            yield cluster, *handles
        finally:
            ray.shutdown()


def on(side, function):
    return ray.remote(function).options(num_cpus=0, resources={side: 0.01})


def put(replicas, value=None):
    return [ray.put(numpy.ones(SIZE) if value is None else value, replicas=replicas)]


def total(array):
    return float(array.sum())


def has_copy(oid):
    return os.path.exists(os.path.join(_runtime.current().owner.values.store.directory, copy_name(oid)))


def test_a_put_of_a_task_is_there_when_its_node_and_with_it_its_owner_are_lost():
    with nodes("left", "right", "third") as (_, left, right, third):
        (ref,) = ray.get(on("left", put).remote(3))
        left.kill()
        until(lambda: left.node_id not in {node["NodeID"] for node in ray.nodes() if node["Alive"]})
        assert ray.get(ref, timeout=30).sum() == SIZE
        right.kill()
        assert ray.get(on("third", total).remote(ref), timeout=30) == SIZE
        assert ray.get(ref, timeout=30).sum() == SIZE
        third.kill()


def test_a_task_elsewhere_takes_a_put_whose_node_is_lost():
    with nodes("left", "right") as (_, left, _):
        (ref,) = ray.get(on("left", put).remote(2))
        left.kill()
        assert ray.get(on("right", total).remote(ref), timeout=30) == SIZE
        (small,) = ray.get(on("right", put).remote(2, "small"))
        assert ray.get(small) == "small"


def test_replicas_go_with_the_object():
    with nodes("left", "right") as (_, _, _):
        ref = ray.put(numpy.ones(SIZE), replicas=3)
        oid = ref.id
        for side in ("left", "right"):
            assert ray.get(on(side, has_copy).remote(oid))
        del ref
        for side in ("left", "right"):
            until(lambda side=side: not ray.get(on(side, has_copy).remote(oid)))


def test_replicas_go_with_the_object_when_somebody_has_taken_it_over():
    with nodes("left", "right") as (_, left, _):
        (ref,) = ray.get(on("left", put).remote(2))
        oid = ref.id
        left.kill()
        assert ray.get(ref, timeout=30).sum() == SIZE
        assert ray.get(on("right", has_copy).remote(oid))
        del ref
        until(lambda: not ray.get(on("right", has_copy).remote(oid)))


def test_with_fewer_nodes_there_are_fewer_replicas_and_a_warning_says_so():
    with nodes("left") as (_, left):
        with pytest.warns(
            RuntimeWarning, match=r"replicas=5\): the object is on 2 of 5 nodes \(other nodes there are: 1\)"
        ) as caught:
            ref = ray.put(numpy.ones(SIZE), replicas=5)
        assert caught[0].filename == __file__
        left.kill()
        assert ray.get(ref).sum() == SIZE


def test_a_local_pool_has_one_node():
    ray.init(num_cpus=1)
    try:
        with pytest.warns(RuntimeWarning, match=r"on 1 of 2 nodes \(other nodes there are: 0\)"):
            ref = ray.put(1, replicas=2)
        assert ray.get(ref) == 1
    finally:
        ray.shutdown()


@pytest.mark.parametrize("replicas", [0, -1, 1.0, "2", True, None])
def test_a_number_that_means_nothing_is_refused_before_anything_is_started(replicas):
    with pytest.raises(ValueError, match="replicas"):
        ray.put(1, replicas=replicas)
    assert not ray.is_initialized()
