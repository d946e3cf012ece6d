"""A driver that talks to placement and runs nothing."""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from nbray.cluster.existing import attach, secret_of
from nbray.cluster.local import start_local
from nbray.cluster.pool import Pool
from nbray.core.ids import Address, new_node_id, new_process_id
from nbray.core.messages import RESOURCE_UNIT
from nbray.executor.node_config import NodeConfig

TESTS = str(Path(__file__).parents[1])
TIMEOUT = 30.0
CPU: Any = ((("CPU", RESOURCE_UNIT),), (), ())


class Driver:
    """
    Attributes:
        session: the directory of its node.
    """

    def __init__(self) -> None:
        self.process = new_process_id()
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.top = tempfile.mkdtemp(prefix=f"nbray-{os.getpid()}-")
        self.session = f"{self.top}/s"
        self.pool: Pool

    def config(self, secret: bytes = b"", tcp_host: str = "") -> NodeConfig:
        return NodeConfig(
            node_id=new_node_id(),
            session_dir=self.session,
            store_dir=f"{self.top}/o",
            secret=secret or secrets.token_bytes(32),
            tcp_host=tcp_host,
            sys_path=(TESTS, *sys.path),
            entry="cluster.fake_lane:run",
        )

    def local(self, **resources: float) -> Driver:
        self.pool = start_local(self.process, self.config(), resources or {"CPU": 2}, self.inbox.put)
        return self

    def attach(self, cluster: Any) -> Driver:
        secret = secret_of(cluster, secrets.token_bytes(32))
        config = self.config(secret, "127.0.0.1")
        address = Address(self.process, config.node_id, "", "")
        self.pool = attach(
            cluster, address, config, self.inbox.put, on_lost=lambda text: self.inbox.put(("pool_lost", text))
        )
        return self

    def say(self, *message: Any) -> None:
        self.pool.uplink.send(message)

    def hear(self, kind: str) -> Any:
        while True:
            message = self.inbox.get(timeout=TIMEOUT)
            if message[0] == kind:
                return message

    def lease(self, spec: Any = CPU) -> tuple[int, bytes]:
        """Lease and process."""
        self.say("want", spec, 1, None)
        _, lease, _, address = self.hear("granted")
        return lease, address[0]

    def free(self) -> dict[str, float]:
        self.say("resources", 0)
        free: dict[str, float] = {}
        for _, _, units, *_ in self.hear("resources")[2]:
            for name, n in units:
                free[name] = free.get(name, 0) + n / RESOURCE_UNIT
        return free

    def pid(self, process: bytes) -> int:
        return int(Path(self.session, process.hex()).read_text())

    def kill(self, process: bytes) -> None:
        os.kill(self.pid(process), 9)

    def close(self) -> None:
        if hasattr(self, "pool"):
            self.pool.close()
        shutil.rmtree(self.top, ignore_errors=True)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
