"""A node as a process of its own: ``python -m nbray.cluster.node``, a Dask worker in one event loop, with node and agent.

It reads one JSON line from its standard input (so that no secret is in its arguments or environment), writes one to its standard
output when it serves, and ends when its standard input does, or the scheduler.

    {"scheduler": "tcp://127.0.0.1:...", "secret": hex, "node_id": hex, "resources": {"CPU": 1}, "labels": {},
     "host": "127.0.0.1", "entry": "module:function", "sys_path": [...], "cwd": "..."}
    {"node_id": hex, "pid": 1234, "address": "tcp://127.0.0.1:..."}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

from nbray.executor.node_config import NodeConfig, make_session_dir
from nbray.executor.supervisor import Node
from nbray.store.directory import make_store

#: Seconds between two signs of life to the scheduler.
HEARTBEAT = 2.0


def main() -> None:
    options = json.loads(sys.stdin.buffer.readline())
    session_dir = make_session_dir()
    config = NodeConfig(
        node_id=bytes.fromhex(options["node_id"]),
        session_dir=session_dir,
        store_dir=make_store("nbray-", f"{session_dir}/spill"),
        secret=bytes.fromhex(options["secret"]),
        tcp_host=options["host"],
        sys_path=tuple(options["sys_path"]),
        cwd=options["cwd"],
        entry=options["entry"],
    )
    node = Node(config)
    node.start_template()  # it imports while we do
    asyncio.run(_serve(node, options))


async def _serve(node: Node, options: dict[str, Any]) -> None:
    from nbray.cluster import quiet
    from nbray.scheduling.agent import NodeAgent
    from nbray.scheduling.plugin import units

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(0, _input, ended)
    quiet.Silence()
    try:
        await node.start()
        resources = options["resources"]
        with quiet.creating():
            worker: Any = quiet.QuietWorker(
                options["scheduler"],
                host=options["host"],
                name=options["node_id"],
                nthreads=max(1, round(resources.get("CPU", 1))),
                resources={name: value for name, value in resources.items() if name != "CPU"},
                memory_limit=0,
                dashboard=False,
                plugins=(NodeAgent(node, units(resources), options["labels"]),),
                local_directory=node.config.session_dir,
            )
            await worker
        quiet.calm(worker)
        beat = loop.create_task(_beat(worker))
        print(
            json.dumps({"node_id": options["node_id"], "pid": os.getpid(), "address": worker.address}),
            flush=True,
        )
        closed = loop.create_task(worker.finished())
        await asyncio.wait([loop.create_task(ended.wait()), closed], return_when=asyncio.FIRST_COMPLETED)
        beat.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.close(timeout=0.5, executor_wait=False, nanny=False), 1.0)
    finally:
        await node.close()


def _input(ended: asyncio.Event) -> None:
    if not os.read(0, 4096):
        ended.set()
        asyncio.get_running_loop().remove_reader(0)


async def _beat(worker: Any) -> None:
    """Dask's own heartbeat comes twice a second."""
    while True:
        await asyncio.sleep(HEARTBEAT)
        await worker.heartbeat()


if __name__ == "__main__":
    main()
