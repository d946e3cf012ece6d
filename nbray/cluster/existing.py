"""Attach to a Dask cluster that is there: its workers become nodes, this process keeps a light node of its own.

The cluster stays up when the driver leaves, and with it what nbray put there, for the next one.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from nbray.cluster.loop import LoopThread
from nbray.cluster.pool import Pool
from nbray.core.ids import Address
from nbray.core.messages import Message
from nbray.exceptions import RaySystemError
from nbray.executor.node_config import NodeConfig
from nbray.executor.supervisor import Node

#: Seconds to reach the scheduler, and for all workers to become nodes.
CONNECT, JOIN = 10.0, 60.0


def secret_of(cluster: Any, proposed: bytes) -> bytes:
    """The secret of the nbray pool on a cluster; if there is none yet, one begins, with the proposed secret.

    Args:
        cluster: as for ``attach``.

    Raises:
        ConnectionError: no scheduler answers there.
        RaySystemError: nbray is not installed there, or another version of it or of Python.
    """
    thread = LoopThread("nbray-attach")
    try:
        return thread.call(_secret(cluster, proposed))
    finally:
        thread.stop()


def attach(
    cluster: Any,
    driver: Address,
    config: NodeConfig,
    on_message: Callable[[Message], None],
    *,
    on_lost: Callable[[str], None] = lambda text: None,
) -> Pool:
    """Join a cluster as a driver. Returns when every worker is a node.

    Args:
        cluster: a scheduler's address ("tcp://host:port"), a Dask ``Client`` or a Dask ``Cluster``.
        driver: the driver's owner.
        config: of this process's own node, which runs no lanes; with the cluster's secret, see ``secret_of``. Its ``entry`` is
            what executors run on all nodes.
        on_message: gets what placement says, on the pool's thread. Must be quick and not raise.
        on_lost: called on the pool's thread, once, if the scheduler is gone; the pool is of no use then.

    Raises:
        ConnectionError: no scheduler answers there.
        RaySystemError: a worker could not become a node, the secret is not the cluster's, or as ``secret_of``.
    """
    node = Node(config)
    thread = LoopThread("nbray-pool")
    pool = Pool(thread, node, on_message)
    try:
        thread.call(_attach(pool, cluster, driver, on_lost))
    except BaseException:
        pool.close()
        raise
    return pool


async def _attach(pool: Pool, cluster: Any, driver: Address, on_lost: Callable[[str], None]) -> None:
    pool.on_close("the node", pool.node.close, patience=None)
    pool.node.start_template()
    client = await _connect(cluster)
    pool.on_close("the client", client.close)
    config = pool.node.config
    if await _begin(client, config.secret) != config.secret:
        raise RaySystemError("the cluster has another secret")

    from nbray.cluster.joining import JOIN_PLUGIN, JoinPlugin
    from nbray.scheduling.client import DaskUplink

    await pool.node.start()
    join = JoinPlugin(config.entry, tuple(sys.path), os.getcwd())
    answers = await client.scheduler.register_worker_plugin(
        plugin=_pickled(join), name=JOIN_PLUGIN, idempotent=True
    )
    failures = {
        worker: str(answer.get("exception-text", answer))
        for worker, answer in answers.items()
        if answer.get("status") == "error"
    }
    if failures:
        raise RaySystemError(
            "these workers could not become nodes: " + "; ".join(f"{w}: {e}" for w, e in failures.items())
        )
    address = str(client.scheduler.address)
    client.on_lost = lambda: on_lost(f"the connection to the scheduler at {address} is lost")
    pool.uplink = DaskUplink(client, driver.process, pool.deliver, _scales(cluster))
    pool.scheduler_address = address
    pool.cluster = (
        cluster if hasattr(cluster, "scale") else getattr(cluster, "cluster", None)
    )  # a Client has one


async def _secret(cluster: Any, proposed: bytes) -> bytes:
    client = await _connect(cluster)
    try:
        return await _begin(client, proposed)
    finally:
        await client.close()


async def _connect(cluster: Any) -> Any:
    from nbray.scheduling.client import UplinkClient

    address, security = _whereabouts(cluster)
    make: Any = UplinkClient  # Dask's classes are half typed
    client = make(
        address, security=security, asynchronous=True, set_as_default=False, timeout=CONNECT, name="nbray"
    )
    try:
        # Dask's own time-out does not count while something that is no scheduler says nothing.
        return await asyncio.wait_for(_started(client), CONNECT + 1)
    except Exception as error:
        with suppress(Exception):
            await asyncio.wait_for(client.close(), 1)
        why = str(error) or f"it says nothing for {CONNECT:g} s"
        if isinstance(error, MemoryError):  # Dask reads the first bytes as a length
            why = "what listens there is something else"
        raise ConnectionError(f"no Dask scheduler answers at {address}: {why}") from error


async def _started(client: Any) -> Any:
    return await client


def host_towards(cluster: Any) -> str:
    """The address of this machine by which a cluster's hosts reach this process."""
    from distributed import utils
    from distributed.comm.addressing import get_address_host

    get_ip: Any = utils.get_ip
    address, _ = _whereabouts(cluster)
    if not address.startswith(("tcp", "tls")) and "://" in address:
        return "127.0.0.1"
    host = get_address_host(address)
    return "127.0.0.1" if host == "localhost" else str(get_ip(host))


def _whereabouts(cluster: Any) -> tuple[str, Any]:
    if isinstance(cluster, str):
        return cluster, None
    security = getattr(cluster, "security", None)
    if hasattr(cluster, "scheduler_address"):
        return cluster.scheduler_address, security
    scheduler = getattr(cluster, "scheduler", None)
    if scheduler is None:
        raise TypeError(f"neither an address nor a Dask client or cluster: {cluster!r}")
    return scheduler.address, security


def _scales(cluster: Any) -> bool:
    """Whether a Dask cluster that is here scales by itself. With an address it shows when its scaling asks the scheduler."""
    if isinstance(cluster, str):
        return False
    return getattr(getattr(cluster, "cluster", None) or cluster, "_adaptive", None) is not None


async def _begin(client: Any, proposed: bytes) -> bytes:
    """Put placement into the scheduler unless it is there; answers the pool's secret."""
    from nbray.scheduling import streams
    from nbray.scheduling.plugin import PlacementPlugin

    try:
        await client.scheduler.register_scheduler_plugin(
            plugin=_pickled(PlacementPlugin(proposed)), name=streams.PLUGIN, idempotent=True
        )
        there = await getattr(client.scheduler, streams.JOIN)()
    except ImportError as error:
        raise RaySystemError(f"nbray is not installed where the scheduler runs: {error}") from error
    here = {"nbray": version("nbray"), "Python": platform.python_version()}
    theirs = {"nbray": there["version"], "Python": there["python"]}
    if here["nbray"] != theirs["nbray"] or _minor(here["Python"]) != _minor(theirs["Python"]):
        rows = "\n".join(f"  {what:8} here {here[what]:12} scheduler {theirs[what]}" for what in here)
        raise RaySystemError(f"this process and the cluster differ:\n{rows}")
    secret: bytes = there["secret"]
    return secret


def _pickled(plugin: Any) -> bytes:
    return pickle.dumps(plugin, protocol=4)


def _minor(python: str) -> str:
    return python.rpartition(".")[0]
