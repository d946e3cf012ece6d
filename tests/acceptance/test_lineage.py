"""Objects that went with their node are made again by the tasks that made them, and only those that somebody asks for."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from gates import until
from two_nodes import SIZE, total, two_nodes

import nbray as ray

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def cluster():
    with two_nodes() as (cluster, left, right):
        # What is bound to "left" can be made again: there will be another node with that resource.
        yield cluster, left, right


def make(directory: str, name: str, value: float) -> numpy.ndarray:
    with open(Path(directory) / name, "a") as file:
        file.write("x")
    return numpy.full(SIZE, value)


def plus_one(directory: str, name: str, array: numpy.ndarray) -> numpy.ndarray:
    with open(Path(directory) / name, "a") as file:
        file.write("x")
    return array + 1


def two(directory: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    with open(Path(directory) / "two", "a") as file:
        file.write("x")
    return numpy.full(SIZE, 1.0), numpy.full(SIZE, 2.0)


def here(task, side="left", **options):
    return ray.remote(task).options(num_cpus=0, resources={side: 0.01}, **options)


def runs(directory, name):
    path = Path(directory) / name
    return len(path.read_text()) if path.exists() else 0


def lose(cluster, node):
    """The node dies, and another with the same resources comes."""
    node.kill()
    return cluster.add_node(num_cpus=2, resources={"left": 1})


def test_a_result_that_went_with_its_node_is_made_again_when_it_is_asked_for(cluster, tmp_path):
    nodes, left, _ = cluster
    wanted = here(make).remote(str(tmp_path), "wanted", 3.0)
    unwanted = here(make).remote(str(tmp_path), "unwanted", 3.0)
    ray.wait([wanted, unwanted], num_returns=2)
    lose(nodes, left)
    assert ray.get(wanted, timeout=60)[0] == 3.0
    assert (runs(tmp_path, "wanted"), runs(tmp_path, "unwanted")) == (2, 1)
    del unwanted


def test_a_task_that_takes_it_waits_until_it_is_there_again(cluster, tmp_path):
    nodes, left, _ = cluster
    lost = here(make).remote(str(tmp_path), "lost", 2.0)
    ray.wait([lost])
    lose(nodes, left)
    assert ray.get(here(total, "right").remote(lost), timeout=60) == 2.0 * SIZE
    assert runs(tmp_path, "lost") == 2


def test_arguments_that_nobody_has_any_more_are_made_again_first(cluster, tmp_path):
    nodes, left, _ = cluster
    first = here(make).remote(str(tmp_path), "first", 1.0)
    second = here(plus_one).remote(str(tmp_path), "second", first)
    third = here(plus_one).remote(str(tmp_path), "third", second)
    ray.wait([third])
    del first, second
    lose(nodes, left)
    assert ray.get(third, timeout=60)[-1] == 3.0
    assert [runs(tmp_path, name) for name in ("first", "second", "third")] == [2, 2, 2]


def test_an_argument_on_a_living_node_is_not_made_again(cluster, tmp_path):
    nodes, left, _ = cluster
    kept = here(make, "right").remote(str(tmp_path), "kept", 1.0)
    lost = here(plus_one).remote(str(tmp_path), "lost", kept)
    ray.wait([lost])
    lose(nodes, left)
    assert ray.get(lost, timeout=60)[0] == 2.0
    assert (runs(tmp_path, "kept"), runs(tmp_path, "lost")) == (1, 2)


def test_a_copy_on_another_node_saves_the_work(cluster, tmp_path):
    nodes, left, _ = cluster
    ref = here(make).remote(str(tmp_path), "made", 1.0)
    assert ray.get(here(total, "right").remote(ref)) == SIZE  # now that node has it too
    lose(nodes, left)
    assert ray.get(ref, timeout=60)[0] == 1.0
    assert runs(tmp_path, "made") == 1


def test_all_returns_of_a_call_come_back_from_one_run(cluster, tmp_path):
    nodes, left, _ = cluster
    refs = here(two, num_returns=2).remote(str(tmp_path))
    ray.wait(refs, num_returns=2)
    lose(nodes, left)
    assert [array[0] for array in ray.get(refs, timeout=60)] == [1.0, 2.0]
    assert runs(tmp_path, "two") == 2


def test_a_borrower_gets_it_too(cluster, tmp_path):
    nodes, left, _ = cluster
    ref = here(make).remote(str(tmp_path), "lent", 1.0)
    ray.wait([ref])

    @ray.remote(num_cpus=0, resources={"right": 0.01})
    class Borrower:
        def take(self, refs):
            self.refs = refs
            return ray.wait(refs, fetch_local=False)[0] == refs

        def sum(self):
            return float(ray.get(self.refs[0]).sum())

    borrower = Borrower.remote()
    assert ray.get(borrower.take.remote([ref]))
    lose(nodes, left)
    assert ray.get(borrower.sum.remote(), timeout=60) == SIZE
    assert runs(tmp_path, "lent") == 2


def test_without_retries_it_is_an_error_that_says_where_it_was(cluster, tmp_path):
    nodes, left, _ = cluster
    ref = here(make, max_retries=0).remote(str(tmp_path), "once", 1.0)
    after = here(plus_one).remote(str(tmp_path), "after", ref)
    ray.wait([ref, after], num_returns=2)
    lose(nodes, left)
    for lost in (ref, after):
        with pytest.raises(ray.exceptions.ObjectLostError, match=left.node_id):
            ray.get(lost, timeout=60)
    assert runs(tmp_path, "once") == 1


def test_it_may_be_lost_as_often_as_there_are_retries(cluster, tmp_path):
    nodes, node, _ = cluster
    ref = here(make, max_retries=2).remote(str(tmp_path), "often", 1.0)
    for _ in range(2):
        ray.wait([ref])
        node = lose(nodes, node)
        assert ray.get(here(total).remote(ref), timeout=60) == SIZE
    node = lose(nodes, node)
    with pytest.raises(ray.exceptions.ObjectLostError):
        ray.get(ref, timeout=60)


def test_the_copy_of_an_argument_goes_when_the_object_goes(cluster, tmp_path):
    ref = here(make).remote(str(tmp_path), "made", 1.0)

    def files() -> list[str]:
        import os

        from nbray import _runtime

        return os.listdir(_runtime.current().owner.values.store.directory)

    look = here(files, "right")
    assert ray.get(here(total, "right").remote(ref)) == SIZE
    assert any(name.startswith("copy-") for name in ray.get(look.remote()))
    del ref
    until(lambda: not any(name.startswith("copy-") for name in ray.get(look.remote())))
