"""The default pool: Dask's scheduler and its one worker inside this process, on a thread, over ``inproc://``.

No TCP port, nothing that outlives the process. User code never runs here, only in the node's executors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbray.cluster.loop import LoopThread
from nbray.cluster.pool import Pool
from nbray.core.messages import Message
from nbray.executor.node_config import NodeConfig
from nbray.executor.supervisor import Node

if TYPE_CHECKING:
    from nbray.scheduling.plugin import PlacementPlugin


class LocalUplink:
    """Placement runs in this very process: a message takes one hop to its thread, and no Dask client."""

    def __init__(self, thread: LoopThread, placement: PlacementPlugin, process: bytes) -> None:
        self._thread = thread
        self._placement = placement
        self._process = process

    def send(self, message: Message) -> None:
        self._thread.post(self._placement.receive, self._process, message)


def start_local(
    process: bytes,
    config: NodeConfig,
    resources: Mapping[str, float],
    on_message: Callable[[Message], None],
    *,
    labels: Mapping[str, str] | None = None,
) -> Pool:
    """Start a pool in this process. Returns when it takes leases.

    Args:
        process: the id of the driver's owner.
        config: of the node; its ``secret`` is the cluster's.
        resources: what the pool has, e.g. ``{"CPU": 2, "GPU": 0.5}``, in whole resources.
        on_message: gets what placement says, on the pool's thread. Must be quick and not raise.
        labels: of the node.

    Raises:
        OSError: the node's directories or processes cannot be made.
    """
    node = Node(config)
    thread = LoopThread("nbray-pool")
    pool = Pool(thread, node, on_message)
    try:
        thread.call(_start(pool, thread, process, resources, labels or {}))
    except BaseException:
        pool.close()
        raise
    return pool


async def _start(
    pool: Pool,
    thread: LoopThread,
    process: bytes,
    resources: Mapping[str, float],
    labels: Mapping[str, str],
) -> None:
    pool.on_close("the node", pool.node.close, patience=None)
    pool.node.start_template()  # it imports in a process of its own while this one imports distributed

    from nbray.cluster import quiet
    from nbray.scheduling.agent import NodeAgent
    from nbray.scheduling.plugin import PlacementPlugin, units

    silence = quiet.Silence()
    pool.at_end(silence.end)
    await pool.node.start()
    placement = PlacementPlugin(pool.node.config.secret, fixed=True)
    totals = units(resources)
    with quiet.creating():
        scheduler = quiet.QuietScheduler(
            protocol="inproc",
            dashboard=False,
            plugins=[placement],
            local_directory=pool.node.config.session_dir,
        )
        await scheduler
        pool.on_close("the scheduler", lambda: _close_scheduler(scheduler))
        worker = quiet.QuietWorker(
            scheduler.address,
            name=pool.node.config.node_id.hex(),
            nthreads=max(1, round(resources.get("CPU", 1))),
            resources={name: value for name, value in resources.items() if name != "CPU"},
            memory_limit=0,
            dashboard=False,
            plugins=(NodeAgent(pool.node, totals, labels),),
            local_directory=pool.node.config.session_dir,
        )
        await worker
        pool.on_close("the worker", lambda: _close_worker(worker, silence))
    # They live and end together, so they need not ask each other every second whether they do.
    quiet.calm(scheduler, worker)
    placement.connect(process, pool.deliver)
    pool.uplink = LocalUplink(thread, placement, process)
    pool.scheduler_address = scheduler.address
    pool.own = True


async def _close_worker(worker: Any, silence: Any) -> None:
    silence.deepen()
    try:
        await worker.close(timeout=0.5, executor_wait=False, nanny=False)
    finally:
        worker.stop()  # if that was given up, its directory would stay locked


async def _close_scheduler(scheduler: Any) -> None:
    try:
        await scheduler.close(reason="nbray-shutdown")
    finally:
        scheduler.stop()
