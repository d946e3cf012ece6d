"""How Dask workers that are there already become nodes: a worker plugin that brings a node and its agent."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

import dask
from distributed import WorkerPlugin
from distributed.comm.addressing import get_address_host

from nbray.core.ids import new_node_id
from nbray.core.labels import check_name, check_value
from nbray.executor.node_config import NodeConfig, make_session_dir
from nbray.executor.supervisor import Node
from nbray.scheduling import streams
from nbray.scheduling.agent import NodeAgent
from nbray.store.directory import make_store

JOIN_PLUGIN = "nbray-join"
#: Where Dask's configuration says which labels the nodes of this process have.
LABELS = "nbray.labels"

logger = logging.getLogger(__name__)


def configured_labels() -> dict[str, str]:
    """The labels that are none are left out, and that is logged: work that asks for others is to run all the same."""
    found = {}
    said = dask.config.get(LABELS, None) or {}
    if not isinstance(said, Mapping):
        logger.warning("%s in Dask's configuration must be names and values, not %r", LABELS, said)
        said = {}
    for name, value in said.items():
        try:
            check_name(str(name))
            check_value(str(value))
            found[str(name)] = str(value)
        except ValueError as error:
            logger.warning("%s in Dask's configuration: %s", LABELS, error)
    return found


class JoinPlugin(WorkerPlugin):
    """Registered by the first driver; Dask also gives it to workers that come later.

    Args:
        entry: what executors run, see ``NodeConfig``.
        sys_path, cwd: of the driver. Workers use what of it they have.
    """

    name = JOIN_PLUGIN
    idempotent = True

    def __init__(self, entry: str, sys_path: tuple[str, ...], cwd: str) -> None:
        self.entry = entry
        self.sys_path = sys_path
        self.cwd = cwd
        self.node: Node | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.entry, self.sys_path, self.cwd)

    async def setup(self, worker: Any) -> None:
        if streams.AGENT in worker.plugins:  # a node of nbray's own
            return
        joined = await getattr(worker.scheduler, streams.JOIN)()
        self.node = Node(self._config(worker, joined["secret"]))
        await self.node.start()
        await worker.plugin_add(NodeAgent(self.node, labels=configured_labels()), catch_errors=False)

    def _config(self, worker: Any, secret: bytes) -> NodeConfig:
        networked = worker.address.startswith(("tcp", "tls"))
        known = set(sys.path)
        more = [path for path in self.sys_path if path not in known and os.path.isdir(path)]
        session_dir = make_session_dir()
        return NodeConfig(
            node_id=new_node_id(),
            session_dir=session_dir,
            store_dir=make_store("nbray-", f"{session_dir}/spill"),
            secret=secret,
            tcp_host=get_address_host(worker.address) if networked else "127.0.0.1",
            sys_path=(*sys.path, *more),
            cwd=self.cwd if os.path.isdir(self.cwd) else "",
            entry=self.entry,
        )

    async def teardown(self, worker: Any) -> None:
        if self.node is not None:
            await self.node.close()
