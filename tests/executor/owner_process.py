"""A process that owns a node, for a test that kills it.

    python owner_process.py <session> <store> [fork]

Prints the pids of its template and executors. With "fork" it has a child that inherits its sockets and outlives it; the
child's pid comes last.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from support import NodeDirs

from nbray.core.messages import Message
from nbray.executor.supervisor import Node


def inheritor() -> int:
    pid = os.fork()
    if pid == 0:
        os.close(1)
        time.sleep(1000)
    return pid


async def own(dirs: NodeDirs, fork: bool) -> None:
    node = Node(dirs.config())
    answers: asyncio.Queue[Message] = asyncio.Queue()
    node.on_up = lambda process, message: answers.put_nowait(message)
    await node.start()
    spec = ((("CPU", 10_000),), (), ())
    pids = [node._processes._link.process.pid]
    for lease in (1, 2):
        address = await node.lane(lease, spec, b"owner---")
        node.down(
            address.process, ("eval", f"start_family(os.open({str(dirs.session / 'pipe')!r}, os.O_WRONLY))")
        )
        while (message := await answers.get())[0] != "value":
            pass
        pids.append(message[1])
    if fork:
        pids.append(inheritor())
    print(json.dumps(pids), flush=True)
    await asyncio.sleep(1000)


asyncio.run(own(NodeDirs(Path(sys.argv[1]), Path(sys.argv[2])), "fork" in sys.argv))
