"""Directories of a node under test, and the ends of processes as events."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import NamedTuple

from nbray.core.ids import Address
from nbray.executor.boot import Boot
from nbray.executor.supervisor import NodeConfig

#: How long a test waits for what must come, seconds. The machine may be busy.
PATIENCE = 30.0
HERE = str(Path(__file__).parent)
SECRET = bytes(range(32))


class NodeDirs(NamedTuple):
    session: Path
    store: Path

    def boot(
        self, number: int = 0, entry: str = "report", module: str = "fake_executor", **changes: object
    ) -> Boot:
        boot = Boot(
            number=number,
            parent=os.getpid(),
            session_dir=str(self.session),
            store_dir=str(self.store),
            node_id=b"nodenode",
            secret=SECRET,
            agent=Address(b"agent---", b"nodenode", "", ""),
            tcp_host="",
            sys_path=(HERE, *sys.path),
            cwd="/",
            env=(),
            entry=f"{module}:{entry}",
        )
        return boot._replace(**changes)

    def config(self, **changes: object) -> NodeConfig:
        config = NodeConfig(
            node_id=b"nodenode",
            session_dir=str(self.session),
            store_dir=str(self.store),
            secret=SECRET,
            sys_path=(HERE, *sys.path),
            entry="fake_executor:run",
        )
        return config._replace(**changes)


class Gone:
    """Whether processes are gone, as an event: made while they live, so their ids cannot become another's."""

    def __init__(self, *pids: int) -> None:
        self._handles = {os.pidfd_open(pid): pid for pid in pids}

    def wait(self) -> None:
        poll = select.poll()
        for handle in self._handles:
            poll.register(handle, select.POLLIN)
        left = dict(self._handles)
        while left:
            ready = poll.poll(PATIENCE * 1000)
            assert ready, f"still there: {sorted(left.values())}"
            for handle, _ in ready:
                poll.unregister(handle)
                del left[handle]
        for handle in self._handles:
            os.close(handle)


class SharedPipe:
    """A named pipe that many processes hold open for writing; its end of file says that all of them are gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait_for_word(self) -> None:
        """Until a process has written a byte."""
        assert self._read() == b"x"

    def wait_for_end(self) -> None:
        """Until the last process is gone. At least one must have opened the pipe before."""
        assert self._read() == b""
        os.close(self._fd)

    def _read(self) -> bytes:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "somebody still holds the pipe"
        return os.read(self._fd, 1)
