"""Two nodes, each a process with its own store, and what tests run on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy

import nbray as ray
from nbray.testing import Cluster, NodeHandle

SIZE = 1 << 18  # of float64: 2 MiB, far over what travels inline


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Cluster, NodeHandle, NodeHandle]]:
    with Cluster() as cluster:
        left = cluster.add_node(num_cpus=2, resources={"left": 1})
        right = cluster.add_node(num_cpus=2, resources={"right": 1})
        ray.init(cluster.address)
        try:
            yield cluster, left, right
        finally:
            ray.shutdown()


def on(side: str, **options: object) -> Any:
    return ray.remote(num_cpus=0, resources={side: 0.01}, **options)


def node_of_task() -> str:
    return ray.get_runtime_context().get_node_id()


def ones() -> numpy.ndarray:
    return numpy.ones(SIZE)


def total(array: numpy.ndarray) -> float:
    return float(array.sum())
