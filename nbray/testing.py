"""Clusters for tests: several nodes on one machine, each a process that can be killed; and executors that die where one wants.

from nbray.testing import Cluster

with Cluster() as cluster:
    cluster.add_node(num_cpus=2)
    other = cluster.add_node(num_cpus=1, resources={"special": 1})
    ray.init(cluster.address)
    ...
    other.kill()                # SIGKILL, as if its power had failed
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from nbray._option_checks import node_labels
from nbray.cluster.loop import LoopThread
from nbray.core.ids import new_node_id
from nbray.executor import crash_points
from nbray.executor.boot import ENTRY

__all__ = ["Cluster", "NodeHandle", "crash_point"]

#: Seconds after which a node that says nothing is dead, and between two looks.
SILENCE, LOOK = 10.0, 2.5


def crash_point(point: str, nth: int = 1, marker: str | os.PathLike[str] = "") -> dict[str, str]:
    """Environment variables that make an executor die by SIGKILL at a point in the life of a call.

    Args:
        point: "after_recv" (the call has come to the executor), "before_exec", "after_exec", "after_hold" (others know that
            their refs are in the result), "before_reply" or "after_reply".
        nth: at the ``nth`` call that comes there, counted in each process.
        marker: path of a file that the first death makes, and that prevents further ones; "": every executor
            with these variables dies there.

    Raises:
        ValueError: there is no such point.

    Example:
        >>> f.options(runtime_env={"env_vars": crash_point("before_reply", marker=tmp_path / "died")}).remote()
    """
    if point not in crash_points.POINTS:
        raise ValueError(f"no crash point is called {point!r}; there are {', '.join(crash_points.POINTS)}")
    return {crash_points.VARIABLE: f"{point}:{nth}:{os.fspath(marker)}"}


class NodeHandle:
    """A node's process.

    Attributes:
        node_id: hex. pid: of the process.
    """

    def __init__(self, node_id: str, process: subprocess.Popen[bytes]) -> None:
        self.node_id = node_id
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL the node's process; its executors end with it. Returns when it is dead."""
        self.process.kill()
        self._end()

    def _close(self, timeout: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._end()

    def _end(self) -> None:
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def __repr__(self) -> str:
        return f"<NodeHandle {self.node_id[:8]} pid={self.pid}>"


class Cluster:
    """A Dask scheduler on a thread of this process, listening on loopback, and nodes as processes.

    Anybody on this machine can reach the scheduler's port, and Dask without TLS trusts whoever does: for tests only.

    Args:
        initialize_head: start with one node.
        head_node_args: arguments of its ``add_node``.
    """

    def __init__(
        self, initialize_head: bool = False, head_node_args: Mapping[str, Any] | None = None
    ) -> None:
        self._secret = secrets.token_bytes(32)
        self._thread = LoopThread("nbray-test-scheduler")
        self._nodes: list[NodeHandle] = []
        self._closed = False
        try:
            self._thread.call(self._start())
            if initialize_head:
                self.add_node(**(head_node_args or {}))
        except BaseException:
            self.shutdown()
            raise

    async def _start(self) -> None:
        import dask

        from nbray.cluster import quiet
        from nbray.scheduling.plugin import PlacementPlugin

        self._silence = quiet.Silence()
        self._placement = PlacementPlugin(self._secret)
        with quiet.creating(), dask.config.set({"distributed.scheduler.worker-ttl": f"{SILENCE}s"}):
            self._scheduler = quiet.QuietScheduler(
                host="127.0.0.1", port=0, protocol="tcp", dashboard=False, plugins=[self._placement]
            )
            await self._scheduler
        quiet.calm(self._scheduler, keep=("worker-ttl",))
        self._scheduler.periodic_callbacks["worker-ttl"].callback_time = LOOK * 1000

    @property
    def address(self) -> str:
        """What ``init(address=...)`` takes."""
        return str(self._scheduler.address)

    def add_node(
        self,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> NodeHandle:
        """Start a node.

        Args:
            num_cpus, num_gpus, resources: what placement may lease there; not what the machine has.
            labels: for ``label_selector`` of tasks and actors.
            wait: return only when it takes leases.

        Raises:
            RuntimeError: it could not start; what it wrote to stderr is on ours.
        """
        node_labels("labels", labels)
        node_id = new_node_id().hex()
        options = {
            "scheduler": self.address,
            "secret": self._secret.hex(),
            "node_id": node_id,
            "resources": {"CPU": num_cpus, "GPU": num_gpus, **(resources or {})},
            "labels": dict(labels or {}),
            "host": "127.0.0.1",
            "entry": ENTRY,
            "sys_path": sys.path,
            "cwd": os.getcwd(),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "nbray.cluster.node"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us
        )
        node = NodeHandle(node_id, process)
        self._nodes.append(node)
        assert process.stdin is not None
        process.stdin.write(json.dumps(options).encode() + b"\n")
        process.stdin.flush()
        if wait:
            assert process.stdout is not None
            if not _readable(process.stdout, 30.0) or not process.stdout.readline():
                self._nodes.remove(node)
                node.kill()
                raise RuntimeError(f"node {node_id} did not start (exit code {process.returncode})")
            self._wait(lambda nodes: node_id in nodes, 30.0)
        return node

    def remove_node(self, node: NodeHandle, allow_graceful: bool = True) -> None:
        """End a node and wait until its process is gone.

        Args:
            allow_graceful: False: SIGKILL.
        """
        self._nodes.remove(node)
        if allow_graceful:
            node._close(5.0)
        else:
            node.kill()

    def wait_for_nodes(self, timeout: float = 30.0) -> None:
        """Wait until placement knows all nodes that were added and not killed, and no others.

        Raises:
            TimeoutError: after ``timeout`` seconds.
        """
        wanted = {node.node_id for node in self._nodes if node.process.poll() is None}
        self._wait(lambda nodes: nodes == wanted, timeout)

    def _wait(self, condition: Any, timeout: float) -> None:
        self._thread.call(self._until(condition, time.monotonic() + timeout))

    async def _until(self, condition: Any, deadline: float) -> None:
        while not condition({node.hex() for node in self._placement.placement.ledger.nodes}):
            if time.monotonic() > deadline:
                raise TimeoutError("the nodes are not there in time")
            await asyncio.sleep(0.005)

    def shutdown(self) -> None:
        """End all nodes and the scheduler. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for node in self._nodes:
            if node.process.poll() is None:
                assert node.process.stdin is not None
                node.process.stdin.close()  # all at once
        for node in self._nodes:
            node._close(5.0)
        if hasattr(self, "_scheduler"):
            self._thread.call(self._scheduler.close(reason="nbray-shutdown"), 5.0)
            self._silence.end()
        self._thread.stop()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


def _readable(stream: IO[bytes], timeout: float) -> bool:
    ready, _, _ = select.select([stream], [], [], timeout)
    return bool(ready)
