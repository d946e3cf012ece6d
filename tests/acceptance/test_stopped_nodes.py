"""Nodes, schedulers and drivers that are killed or stand still: noticed in time, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from acceptance.test_stopped_processes import NOTICED, stopped
from gates import until
from two_nodes import on, two_nodes

import nbray as ray
from nbray.exceptions import ActorDiedError, RayError


def standing(path):
    """A task that says at ``path`` that it runs, and stays. By value: a node of another process has no tests."""

    def stand():
        import time
        from pathlib import Path

        Path(path).touch()
        time.sleep(1000)

    return stand


def one():
    return 1


# --- nodes -------------------------------------------------------------------------------------------------------------


def test_a_node_agent_that_is_killed_is_noticed_within_a_second(tmp_path):
    begun = tmp_path / "begun"
    with two_nodes() as (_, left, _):
        ref = on("left", max_retries=0)(standing(str(begun))).remote()
        until(begun.exists)
        family = psutil.Process(left.pid).children(recursive=True)
        began = time.monotonic()
        os.kill(left.pid, signal.SIGKILL)
        with pytest.raises(RayError):
            ray.get(ref, timeout=30)
        assert time.monotonic() - began < NOTICED + 1
        assert not psutil.wait_procs(family, timeout=5)[1]


def test_a_node_agent_that_stands_still_is_dead_after_fifteen_seconds_and_what_it_had_runs_elsewhere(
    monkeypatch, tmp_path
):
    # How long it may say nothing is a setting of the cluster's; the beat of its nodes is two seconds.
    monkeypatch.setattr("nbray.testing.SILENCE", 5.0)
    monkeypatch.setattr("nbray.testing.LOOK", 0.5)

    def where():
        return ray.get_runtime_context().get_node_id()

    with two_nodes() as (_, left, right):
        bound = on("left")(Plain).remote()
        assert ray.get(bound.pid.remote(), timeout=30)
        began = time.monotonic()
        with stopped(left.pid):
            until(lambda: left.node_id not in {node["NodeID"] for node in ray.nodes()}, 15)
            assert time.monotonic() - began < 15
            assert ray.get(ray.remote(where).options(num_cpus=2).remote(), timeout=15) == right.node_id
            with pytest.raises(ActorDiedError):
                for _ in range(100):
                    ray.get(bound.pid.remote(), timeout=15)


class Plain:
    def pid(self):
        return os.getpid()


# --- the scheduler, and the driver -------------------------------------------------------------------------------------

CLUSTER = """
import sys
from nbray.testing import Cluster
cluster = Cluster(initialize_head=True)
print(cluster.address, cluster._nodes[0].pid, flush=True)
sys.stdin.read()
"""


def test_a_scheduler_process_that_is_killed_is_a_typed_error_and_init_works_again(tmp_path):
    begun = tmp_path / "begun"
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        address, node = process.stdout.readline().split()
        family = [psutil.Process(int(node)), *psutil.Process(int(node)).children(recursive=True)]
        ray.shutdown()
        ray.init(address)
        ref = ray.remote(standing(str(begun))).remote()
        until(begun.exists)
        began = time.monotonic()
        process.kill()
        with pytest.raises(RayError):
            ray.get(ref, timeout=30)
        with pytest.raises(ray.exceptions.RaySystemError):
            while True:  # until the loss of the scheduler is known
                ray.get(ray.remote(one).remote(), timeout=10)
        assert time.monotonic() - began < 10
        assert not psutil.wait_procs(family, timeout=10)[1]
        ray.init(num_cpus=1)
        assert ray.get(ray.remote(one).remote(), timeout=30) == 1
    finally:
        ray.shutdown()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


DRIVER = """
import sys, psutil
import nbray as ray
ray.init(num_cpus=1)

@ray.remote
def forever():
    while True: pass

ref = forever.remote()
ray.wait([ref], timeout=0.3)
owner = ray._runtime.current().owner
print(owner.address.unix, owner.values.store.directory)
print(*[process.pid for process in psutil.Process().children(recursive=True)], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_stood_still_leaves_nothing_when_it_is_killed(how):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        path, store = process.stdout.readline().split()
        pids = process.stdout.readline().split()
        family = [psutil.Process(int(pid)) for pid in pids]
        with stopped(process.pid):
            assert all(each.is_running() for each in family)
            process.send_signal(how)
        process.wait(5)
        assert not psutil.wait_procs(family, timeout=5)[1]
        until(lambda: not os.path.exists(path) and not os.path.exists(store), 5)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
