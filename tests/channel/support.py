"""Reactors that talk to each other in one process, stepped by the test."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbray.channel.connection import Connection
from nbray.channel.reactor import Reactor
from nbray.core.ids import Address

SECRET = b"s" * 32
#: Seconds after which a test that waits in vain fails.
LIMIT = 20.0


class Side:
    """A reactor, and what it was told."""

    def __init__(
        self, name: str, directory: Path, tcp: bool, secret: bytes = SECRET, lock: Any = None
    ) -> None:
        node = name.encode().ljust(8) if tcp else b"one node"
        self.reactor = Reactor(Address(name.encode().ljust(8), node, "", ""), secret, lock)
        if tcp:
            self.reactor.listen_tcp("127.0.0.1")
        else:
            self.reactor.listen_unix(str(directory / name))
        self.reactor.on_accept = self._accepted
        self.accepted: list[Connection] = []
        self.got: list[Any] = []
        self.closed: list[tuple[Connection, BaseException | None]] = []

    def _accepted(self, connection: Connection) -> None:
        self.accepted.append(connection)
        self.watch(connection)

    def watch(self, connection: Connection) -> Connection:
        connection.on_message = lambda c, message: self.got.append(message)
        connection.on_close = lambda c, error: self.closed.append((c, error))
        return connection

    def connect(self, other: Side | Address) -> Connection:
        address = other.reactor.address if isinstance(other, Side) else other
        with self.reactor.lock:
            return self.watch(self.reactor.connect(address))

    def send(self, connection: Connection, *message: Any) -> None:
        with self.reactor.lock:
            connection.send(message)


class World:
    """Makes sides, steps them, closes them."""

    def __init__(self, directory: Path, tcp: bool) -> None:
        self.directory = directory
        self.tcp = tcp
        self.sides: list[Side] = []
        self._names = itertools.count()

    def side(self, **options: Any) -> Side:
        side = Side(f"side{next(self._names)}", self.directory, self.tcp, **options)
        self.sides.append(side)
        return side

    def pair(self) -> tuple[Side, Connection, Side, Connection]:
        """Two sides and the two ends of an open connection."""
        one, other = self.side(), self.side()
        mine = one.connect(other)
        self.until(lambda: bool(mine.peer and other.accepted and other.accepted[0].peer))
        return one, mine, other, other.accepted[0]

    def until(self, done: Callable[[], bool], *only: Side) -> None:
        deadline = time.monotonic() + LIMIT
        while not done():
            assert time.monotonic() < deadline, "waited in vain"
            for side in only or self.sides:
                side.reactor.step(0.001)

    def drop(self, side: Side) -> None:
        """As if its process died: sockets are closed, nothing more is said."""
        self.sides.remove(side)
        side.reactor.close()

    def close(self) -> None:
        for side in self.sides:
            side.reactor.close()
