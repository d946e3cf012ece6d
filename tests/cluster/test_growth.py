"""Requests that no node can meet, on clusters that grow and on such that do not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from distributed import LocalCluster
from gates import until

import nbray
from nbray.exceptions import ActorUnschedulableError, TaskUnschedulableError
from nbray.testing import Cluster


@nbray.remote
def echo(value: object) -> object:
    return value


@nbray.remote
class Echo:
    def echo(self, value: object) -> object:
        return value


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.add_node(num_cpus=1)
        nbray.init(cluster.address)
        yield cluster
        nbray.shutdown()


def test_a_cluster_that_does_not_grow_refuses_what_no_node_can_hold(cluster: Cluster) -> None:
    with pytest.raises(TaskUnschedulableError, match=r"echo can never run: asked for \{CPU: 9\}.*CPU: 1"):
        nbray.get(echo.options(num_cpus=9).remote(1), timeout=10)
    with pytest.raises(TaskUnschedulableError, match="unheard_of"):
        nbray.get(echo.options(resources={"unheard_of": 1}).remote(1), timeout=10)
    with pytest.raises(ActorUnschedulableError, match="9"):
        nbray.get(Echo.options(num_cpus=9).remote().echo.remote(1), timeout=10)
    assert nbray.get(echo.remote(1)) == 1


def test_what_a_node_that_was_killed_could_hold_waits_for_another_and_says_so(cluster: Cluster) -> None:
    large = cluster.add_node(num_cpus=4)
    cluster.wait_for_nodes()
    large.kill()
    cluster.wait_for_nodes()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ref = echo.options(num_cpus=4).remote(1)
        until(lambda: nbray.wait([ref], timeout=0.05) and caught)
    (warning,) = caught
    assert "echo asked for {CPU: 4}, and no node has that" in str(warning.message)
    assert "It waits" in str(warning.message)
    cluster.add_node(num_cpus=4)
    assert nbray.get(ref, timeout=30) == 1


def test_a_cluster_that_grows_gets_its_chance() -> None:
    with (
        LocalCluster(
            n_workers=0, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", RuntimeWarning)
        cluster.adapt(minimum=1, maximum=2)
        nbray.init(cluster)
        try:
            ref = echo.options(num_cpus=2).remote(1)
            until(lambda: nbray.wait([ref], timeout=0.05) and any("CPU: 2" in str(w.message) for w in caught))
            assert not ref.ready
        finally:
            nbray.shutdown()
