"""A driver that is killed leaves nothing on the nodes of a cluster, which go on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gates import until
from leaks import census, leaks

import nbray as ray
from nbray.store.directory import ACCOUNT
from nbray.testing import Cluster

pytestmark = pytest.mark.timeout(120)

DRIVER = """
import sys, time
import numpy, nbray as ray

ray.init(sys.argv[1])
left, right = ({"num_cpus": 0, "resources": {side: 0.01}} for side in ("left", "right"))
make = ray.remote(lambda: numpy.ones(1 << 18)).options(**left)
take = ray.remote(lambda array: array + 1).options(**right)

class Putter:
    def put(self):
        self.kept = ray.put(numpy.ones(1 << 18), replicas=2)
        return [self.kept]

    def hold(self, array):
        self.ref = ray.put(array)
        return [make.remote()]

putter = ray.remote(Putter).options(**right).remote()
keeper = ray.remote(Putter).options(name="keeper", lifetime="detached", namespace="kept", **left).remote()
refs = [make.remote() for _ in range(3)]
others = [take.remote(ref) for ref in refs]
ray.get(others)
mine = ray.put(numpy.ones(1 << 18), replicas=3)
theirs = ray.get([putter.put.remote(), putter.hold.remote(mine), keeper.put.remote()])
busy = ray.remote(lambda: time.sleep(100)).options(**left).remote()
print("ready", flush=True)
time.sleep(100)
"""


def stores(node):
    """Where that node's processes have their objects: directories with an account of them."""
    found = set()
    for path in Path(f"/proc/{node.pid}/fd").iterdir():
        try:
            target = Path(os.readlink(path))
        except FileNotFoundError:
            continue
        found.update(parent for parent in target.parents if (parent / ACCOUNT).exists())
    return found


def files(node):
    """Large objects in that node's store."""
    found = []
    for directory in stores(node):
        for path in directory.glob("*-*"):
            with contextlib.suppress(FileNotFoundError):  # it has got another name, or is gone
                if path.stat().st_size > 1 << 20:
                    found.append(path)
    return found


def test_what_a_killed_driver_and_its_executors_had_on_other_nodes_goes():
    with Cluster() as cluster:
        nodes = [cluster.add_node(num_cpus=2, resources={side: 1}) for side in ("left", "right")]
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER, cluster.address], stdout=subprocess.PIPE
        ) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == b"ready\n"
            assert all(len(files(node)) >= 4 for node in nodes)
            driver.kill()
        # What is left is the detached actor's put and its replica.
        until(lambda: [len(files(node)) for node in nodes] == [1, 1], 10.0)
        ray.init(cluster.address, namespace="kept")
        try:
            keeper = ray.get_actor("keeper")
            (ref,) = ray.get(keeper.put.remote())
            assert ray.get(ref).sum() == 1 << 18
        finally:
            ray.shutdown()


def test_a_driver_that_is_killed_while_its_scheduler_says_nothing_leaves_nothing():
    before = census()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        program = f"import nbray; nbray.init('{host}:{port}')"
        with subprocess.Popen([sys.executable, "-c", program]) as driver:
            connection, _ = listener.accept()  # it waits for the answer now
            driver.kill()
        connection.close()
    assert not leaks(before)
