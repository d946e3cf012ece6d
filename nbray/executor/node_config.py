"""What a node is told, and the error of an executor that did not start."""

from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

from nbray.core.messages import Loss
from nbray.exceptions import RaySystemError
from nbray.executor.boot import ENTRY
from nbray.executor.loss import describe

#: Bytes of a directory in which a session directory may lie: Unix sockets allow 103 on macOS, and ours take up to 37 of them.
_LONGEST = 66


def make_session_dir() -> str:
    """Make a fresh private directory for a node's sockets, logs and spilled objects, and return its path.

    It lies where temporary files go, or in /tmp where that has too long a path for sockets.
    """
    where = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="nbray-", dir=where if len(os.fsencode(where)) <= _LONGEST else "/tmp")


class NodeConfig(NamedTuple):
    """
    Attributes:
        node_id, secret: the node's id and the cluster's secret.
        session_dir: private directory of this node, made if it is not there; its path must be short (Unix sockets
            allow 107 bytes). Removed at the end, as is ``store_dir``.
        store_dir: the node's shared memory.
        tcp_host: where node agent and executors listen for other nodes; "" if there are none.
        sys_path, cwd: for the executors; this process's if empty.
        env: (variable, value) pairs that the executors get over what they inherit.
        keep: so many idle executors stay for good; 0: one a CPU.
        linger: seconds after which the other idle ones leave.
        entry: what executors run, see ``Boot``.
    """

    node_id: bytes
    session_dir: str
    store_dir: str
    secret: bytes
    tcp_host: str = ""
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    env: tuple[tuple[str, str], ...] = ()
    keep: int = 0
    linger: float = 10.0
    entry: str = ENTRY

    def __repr__(self) -> str:
        return f"<NodeConfig of {self.node_id.hex()}>"


class StartError(RaySystemError):
    """An executor died, or could not be forked, before it was ready.

    Attributes:
        loss: why.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__(f"an executor did not start: {describe(loss)}")
        self.loss = loss
