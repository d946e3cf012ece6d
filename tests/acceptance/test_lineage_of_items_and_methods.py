"""Items of generators and results of methods that went with their node are made again; a put says that it was one."""

from __future__ import annotations

import numpy
import pytest
from gates import Gate, Marks
from two_nodes import SIZE, two_nodes

import nbray as ray

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def cluster():
    with two_nodes() as (cluster, left, right):
        yield cluster, left, right


def lose(cluster, node):
    """The node dies, and another with the same resources comes."""
    node.kill()
    return cluster.add_node(num_cpus=2, resources={"left": 1})


def here(target, side="left", **options):
    return ray.remote(target).options(num_cpus=0, resources={side: 0.01}, **options)


def arrays(marks, count, gate=None):
    marks.mark()
    for i in range(count):
        if gate is not None and i == 2:
            gate.wait()
        yield numpy.full(SIZE, float(i))


class Maker:
    def __init__(self, marks):
        self.marks = marks

    def make(self, value):
        self.marks.mark("made")
        return numpy.full(SIZE, value)

    def items(self, count):
        yield from arrays(self.marks, count)


def test_lost_items_of_a_generator_are_made_again_by_one_run(cluster, tmp_path):
    nodes, left, _ = cluster
    marks = Marks(tmp_path)
    refs = list(here(arrays).remote(marks, 4))
    lose(nodes, left)
    assert [array[0] for array in ray.get([refs[2], refs[0]], timeout=60)] == [2.0, 0.0]
    assert marks.count() == 2
    assert ray.get(refs[3], timeout=60)[0] == 3.0
    assert [ray.get(ref)[-1] for ref in refs[:3]] == [0.0, 1.0, 2.0]


def test_a_task_can_take_a_lost_item_of_an_endless_generator_that_was_closed(cluster, tmp_path):
    nodes, left, _ = cluster
    marks = Marks(tmp_path)
    generator = here(arrays).remote(marks, 10**9)
    refs = [next(generator) for _ in range(3)]
    generator.close()
    lose(nodes, left)
    total = here(lambda array: float(array.sum()), "right")
    assert ray.get(total.remote(refs[1]), timeout=60) == SIZE
    assert marks.count() == 2
    assert ray.get(total.remote(refs[2]), timeout=60) == 2 * SIZE


def test_items_that_a_run_had_yielded_before_its_node_died_come_from_its_next_run(cluster, tmp_path):
    nodes, left, _ = cluster
    marks, gate = Marks(tmp_path), Gate(tmp_path)
    generator = here(arrays).remote(marks, 4, gate)
    refs = [next(generator) for _ in range(2)]
    gate.until_came()
    lose(nodes, left)
    gate.open()
    assert [array[0] for array in ray.get(refs, timeout=60)] == [0.0, 1.0]
    assert [ray.get(ref, timeout=60)[0] for ref in generator] == [2.0, 3.0]
    assert marks.count() == 2


def test_without_retries_a_lost_item_is_an_error_that_says_where_it_was(cluster, tmp_path):
    nodes, left, _ = cluster
    (ref,) = here(arrays, max_retries=0).remote(Marks(tmp_path), 1)
    lose(nodes, left)
    with pytest.raises(ray.exceptions.ObjectLostError, match=left.node_id):
        ray.get(ref, timeout=60)


def test_results_of_an_actor_that_restarts_are_made_again_if_its_calls_may_be(cluster, tmp_path):
    nodes, left, _ = cluster
    marks = Marks(tmp_path)
    actor = here(Maker, max_restarts=-1, max_task_retries=2).remote(marks)
    ref = actor.make.remote(5.0)
    item = next(actor.items.remote(1))
    once = actor.make.options(max_task_retries=0).remote(6.0)
    ray.wait([ref, once], num_returns=2)
    lose(nodes, left)
    assert ray.get(ref, timeout=60)[0] == 5.0
    assert ray.get(item, timeout=60)[0] == 0.0
    with pytest.raises(ray.exceptions.ObjectLostError, match=left.node_id):
        ray.get(once, timeout=60)
    assert (marks.count("made"), marks.count()) == (3, 2)


def test_results_of_an_actor_that_is_gone_are_lost_and_say_why(cluster, tmp_path):
    nodes, left, _ = cluster
    marks = Marks(tmp_path)
    dead = here(Maker, max_task_retries=2).remote(marks)
    dropped = here(Maker, max_restarts=1, max_task_retries=2).remote(marks)
    refs = [dead.make.remote(1.0), dropped.make.remote(2.0)]
    ray.wait(refs, num_returns=2)
    del dropped
    lose(nodes, left)
    for ref, why in zip(refs, ["its node is gone", "no handle"], strict=True):
        with pytest.raises(ray.exceptions.ObjectLostError, match=rf"(?s){left.node_id}.*{why}"):
            ray.get(ref, timeout=60)


def test_a_lost_put_says_that_it_was_one_and_where(cluster):
    nodes, left, right = cluster

    @ray.remote(num_cpus=0, resources={"left": 0.01})
    def put():
        return [ray.put(numpy.ones(SIZE))]

    (ref,) = ray.get(put.remote())
    lose(nodes, left)
    with pytest.raises(ray.exceptions.ObjectLostError, match=rf"(?s)put.*{left.node_id}"):
        ray.get(ref, timeout=60)
