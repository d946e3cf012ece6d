"""``lifetime="detached"`` on a cluster that goes on without the driver."""

import os

import pytest

import nbray
from nbray.exceptions import ActorDiedError
from nbray.testing import Cluster


@nbray.remote(num_cpus=0)
class Named:
    def __init__(self, value=None):
        self.value = value

    def pid(self):
        return os.getpid()

    def get(self):
        return self.value


def test_a_detached_actor_outlives_its_driver_and_is_found_by_the_next():
    with Cluster() as cluster:
        cluster.add_node(num_cpus=2)
        with nbray.init(cluster.address, namespace="shop"):
            keeper = Named.options(name="keeper", lifetime="detached").remote("kept")
            pid = nbray.get(keeper.pid.remote())
            other = Named.options(name="other").remote()
            nbray.get(other.pid.remote())
        with nbray.init(cluster.address, namespace="shop"):
            found = nbray.get_actor("keeper")
            assert nbray.get(found.pid.remote()) == pid
            assert nbray.get(found.get.remote()) == "kept"
            with pytest.raises(ValueError, match="other"):
                nbray.get_actor("other")

            @nbray.remote(num_cpus=0)
            def use(handle):
                return nbray.get(handle.get.remote())

            assert nbray.get(use.remote(found)) == "kept"
            nbray.kill(found)
            with pytest.raises(ActorDiedError):
                nbray.get(found.get.remote())
