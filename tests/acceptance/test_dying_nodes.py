"""Two nodes, and what becomes of tasks, actors and objects when one of them dies."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from distributed import LocalCluster
from two_nodes import on, ones, total, two_nodes

import nbray as ray


@pytest.fixture
def mortal_nodes():
    with two_nodes() as nodes:
        yield nodes


def test_an_object_lost_with_its_node_is_a_typed_error_that_says_so(mortal_nodes):
    _, left, _ = mortal_nodes
    ref = on("left", max_retries=0)(ones).remote()
    ray.wait([ref])
    left.kill()
    with pytest.raises(ray.exceptions.ObjectLostError, match=left.node_id):
        ray.get(ref, timeout=15)
    with pytest.raises(ray.exceptions.ObjectLostError):
        ray.get(on("right")(total).remote(ref), timeout=15)


def test_what_ran_on_a_dead_node_runs_again_elsewhere(mortal_nodes, tmp_path):
    _, left, right = mortal_nodes
    begun = tmp_path / "begun"
    os.mkfifo(begun)

    def work(here: str) -> str:
        node = ray.get_runtime_context().get_node_id()
        if node == here:
            Path(begun).write_text(node)
            signal.pause()
        return node

    first = {left.node_id: left, right.node_id: right}
    ref = ray.remote(work).options(num_cpus=2).remote(left.node_id)
    if ray.wait([ref], timeout=0)[0]:
        return  # it was placed on the other node, where nothing happens to it
    reader = os.open(begun, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while not ray.wait([ref], timeout=0.01)[0]:
            with contextlib.suppress(BlockingIOError):  # it is open there, and nothing is written yet
                if left.node_id in first and os.read(reader, 100):
                    first.pop(left.node_id).kill()
    finally:
        os.close(reader)
    assert ray.get(ref) == right.node_id


def test_an_actor_of_a_dead_node_dies_or_restarts_elsewhere_as_it_may(mortal_nodes):
    _, left, right = mortal_nodes

    class Here:
        def node(self) -> str:
            return ray.get_runtime_context().get_node_id()

    bound = on("left")(Here).remote()
    free = ray.remote(Here).options(max_restarts=1, max_task_retries=1, num_cpus=2).remote()
    assert ray.get(bound.node.remote()) == left.node_id
    victim = {left.node_id: left, right.node_id: right}[ray.get(free.node.remote())]
    victim.kill()
    survivor = right if victim is left else left
    assert ray.get(free.node.remote(), timeout=15) == survivor.node_id
    if victim is left:
        with pytest.raises(ray.exceptions.ActorDiedError, match="node"):
            ray.get(bound.node.remote(), timeout=15)


def test_a_lost_scheduler_is_a_typed_error_and_init_works_again():
    def forever() -> None:
        signal.pause()

    def pid() -> int:
        return os.getpid()

    try:
        with LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
        ) as cluster:
            ray.init(cluster)
            lost = ray.remote(forever).remote()
            assert not ray.wait([lost], timeout=0.5)[0]
        with pytest.raises(ray.exceptions.RaySystemError, match="scheduler"):
            ray.get(lost, timeout=10)
        with pytest.raises(ray.exceptions.RaySystemError, match="init"):
            ray.remote(pid).remote()
        ray.init(num_cpus=1)
        assert ray.get(ray.remote(pid).remote()) != os.getpid()
    finally:
        ray.shutdown()
