"""Two nodes: what crosses between them."""

from __future__ import annotations

import psutil
import pytest
from two_nodes import SIZE, node_of_task, on, ones, total, two_nodes

import nbray as ray


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as nodes:
        yield nodes


def test_tasks_run_where_their_resources_are(nodes):
    _, left, right = nodes
    refs = [on(side)(node_of_task).remote() for side in ("left", "right", "left")]
    assert ray.get(refs) == [left.node_id, right.node_id, left.node_id]
    assert ray.cluster_resources()["CPU"] == 4


def test_large_objects_cross_between_nodes_and_the_driver(nodes):
    made_left = on("left")(ones).remote()
    assert ray.get(on("right")(total).remote(made_left)) == SIZE
    assert ray.get(made_left).sum() == SIZE
    assert ray.get(on("right")(total).remote(ray.put(ones()))) == SIZE
    assert ray.get(on("left")(total).remote(ones())) == SIZE


def test_a_copy_that_crossed_is_private_and_writable(nodes):
    ref = on("left")(ones).remote()
    mine = ray.get(ref)
    mine[:] = 7
    assert ray.get(on("right")(total).remote(ref)) == SIZE
    assert ray.get(ref).sum() == SIZE


def test_refs_inside_values_cross_and_keep_their_objects(nodes):
    class Keeper:
        def keep(self, box: list) -> None:
            self.box = box

        def total(self) -> float:
            return total(ray.get(self.box[0]))

    keeper = on("right")(Keeper).remote()
    ref = on("left")(ones).remote()
    ray.get(keeper.keep.remote([ref]))
    del ref
    assert ray.get(keeper.total.remote()) == SIZE


def test_actors_call_each_other_across_nodes(nodes):
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

    counter = on("left")(Counter).remote()

    def adds(handle: object) -> list[int]:
        return ray.get([handle.add.remote() for _ in range(10)])

    assert ray.get(on("right")(adds).remote(counter)) == list(range(1, 11))


def test_a_node_that_comes_later_is_used_and_one_that_is_removed_leaves_nothing(nodes):
    cluster, _, _ = nodes
    late = cluster.add_node(num_cpus=1, resources={"late": 1})
    assert ray.get(on("late")(node_of_task).remote()) == late.node_id
    processes = psutil.Process(late.pid).children(recursive=True)
    assert processes
    cluster.remove_node(late)
    assert not psutil.wait_procs(processes, timeout=5)[1]
    assert late.node_id not in {node["NodeID"] for node in ray.nodes()}
