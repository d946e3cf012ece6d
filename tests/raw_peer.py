"""A peer that says what a test wants: it knows the secret, and follows no rules."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
from gates import LIMIT

from nbray.channel.connection import Connection
from nbray.channel.reactor import Reactor
from nbray.cluster.loop import LoopThread
from nbray.core import messages as m
from nbray.core.ids import Address, new_process_id
from nbray.executor.node_config import NodeConfig
from nbray.executor.supervisor import Node


class RawPeer:
    """
    Attributes:
        process: what it calls itself. got: messages that came, in order.
    """

    def __init__(self, secret: bytes, node: bytes, path: str, tcp: bool = False) -> None:
        self.process = new_process_id()
        # A node of its own makes the others use TCP.
        self.reactor = Reactor(Address(self.process, b"another-" if tcp else node, "", ""), secret)
        if tcp:
            self.reactor.listen_tcp("127.0.0.1")
        else:
            self.reactor.listen_unix(path)
        self.got: list[Any] = []
        self.ended: list[Connection] = []
        self.reactor.on_accept = self._watch

    def _watch(self, connection: Connection) -> None:
        connection.on_message = lambda _, message: self.got.append(message)
        connection.on_close = lambda connection, _: self.ended.append(connection)

    def connect(self, address: Any) -> Connection:
        """An open connection to that process."""
        connection = self.reactor.connect(Address(*address))
        self._watch(connection)
        self.until(lambda: connection.peer is not None)
        return connection

    def until(self, done: Callable[[], bool]) -> None:
        """Serve until that is so."""
        deadline = time.monotonic() + LIMIT
        while not done():
            assert time.monotonic() < deadline, f"it did not happen in time; got {self.got}"
            self.reactor.step(0.01)

    def all_of(self, kind: int) -> list[Any]:
        return [message for message in self.got if message[0] == kind]

    def answers(self) -> dict[int, Any]:
        """Values of the calls that were answered without an error, by sequence number."""
        return {
            sequence: pickle.loads(values[0])
            for _, sequence, status, values, *_ in self.all_of(m.RESULT)
            if status == m.OK
        }


def call(sequence: int, function: Any, *args: Any) -> tuple[Any, ...]:
    """One call of a CALLS message; ``function``: a number or a method's name."""
    return (sequence, function, pickle.dumps((args, None)) if args else b"", (), 1, None, "")


def function(number: int, callable_: Any) -> tuple[Any, ...]:
    """A FUNCTION message."""
    return (m.FUNCTION, number, cloudpickle.dumps(callable_), callable_.__name__, ())


class Rig:
    """A node with real executors, and a raw peer that has leases of them.

    Attributes:
        exits: (lease, process, loss) of executors that ended.
    """

    def __init__(self, directory: str, tcp: bool = False) -> None:
        self.directory = directory
        self._thread = LoopThread("nbray-test-node")
        secret = os.urandom(32)
        config = NodeConfig(
            node_id=b"the-node",
            session_dir=f"{directory}/s",
            store_dir=f"{directory}/o",
            secret=secret,
            tcp_host="127.0.0.1" if tcp else "",
        )
        os.mkdir(config.store_dir)
        self.node = Node(config)
        self.exits: list[Any] = []
        self.node.on_exit = lambda *exit: self.exits.append(exit)
        self.peer = RawPeer(secret, b"the-node", f"{directory}/peer", tcp)
        self._thread.call(self.node.start())

    def lane(self, lease: int) -> tuple[Connection, int]:
        """An attached connection to an executor with that lease, and the executor's pid."""
        address = self._thread.call(self.node.lane(lease, ((("CPU", 10_000),), (), ()), self.peer.process))
        connection = self.peer.connect(address)
        connection.send((m.ATTACH, lease, b"job", "namespace"))
        return connection, connection.pid

    def close(self) -> None:
        self.peer.reactor.close()
        self._thread.call(self.node.close())
        self._thread.stop()


@contextlib.contextmanager
def rig(tcp: bool = False) -> Iterator[Rig]:
    # Not below pytest's directory: a Unix socket's path must be short.
    with tempfile.TemporaryDirectory(prefix=f"nbray-{os.getpid()}-") as directory:
        made = Rig(directory, tcp)
        try:
            yield made
        finally:
            made.close()
