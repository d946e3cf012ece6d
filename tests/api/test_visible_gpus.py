"""Where a pool's or a node's GPUs come from."""

import os

import pytest
from gates import Gate

import nbray
from nbray.testing import Cluster


@nbray.remote
def look():
    return nbray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")


@nbray.remote
def look_and_stay(gate):
    gate.wait()
    return nbray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_gpus_of_a_pool_that_may_use_some_are_called_as_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    with nbray.init(num_cpus=2, num_gpus=2):
        assert nbray.get_gpu_ids() == []
        assert nbray.get(look.options(num_gpus=2).remote()) == (["3", "GPU-ab"], "3,GPU-ab")
        assert nbray.get(look.options(num_gpus=1).remote()) == (["3"], "3")
        assert nbray.get(look.remote()) == ([], "3,GPU-ab")


def test_a_pool_cannot_have_more_gpus_than_it_may_use(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    with pytest.raises(ValueError, match="num_gpus is 3, but CUDA_VISIBLE_DEVICES='3,GPU-ab' leaves 2"):
        nbray.init(num_gpus=3)


def test_each_node_of_a_cluster_counts_its_gpus_itself(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with Cluster() as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=2, num_gpus=1)
        with nbray.init(address=cluster.address):
            gate = Gate(tmp_path)
            refs = [look_and_stay.options(num_gpus=1).remote(gate) for _ in range(2)]
            gate.until_came(2)
            gate.open()
            assert nbray.get(refs) == [([0], "0")] * 2
