"""A node's store for processes of other nodes; owners and node agents serve it alike."""

from __future__ import annotations

from collections.abc import Collection

from nbray.channel.connection import Connection
from nbray.core.messages import Message
from nbray.store.store import Store
from nbray.store.transfer import Outgoing


class StoreServer:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._outgoing: dict[tuple[Connection, int], Outgoing] = {}
        self._adopted: set[str] = set()

    def asked(self, connection: Connection, message: Message) -> None:
        """PULL: one more range of a file."""
        key = (connection, message[1])
        for stale in [key for key in self._outgoing if key[0].closed]:
            del self._outgoing[stale]
        transfer = self._outgoing.get(key)
        if transfer is None:
            transfer = self._outgoing[key] = Outgoing(message, self._store.directory)
        for answer in transfer.receive(message):
            connection.send(answer)
        if transfer.finished:
            del self._outgoing[key]

    def adopted(self, message: Message) -> None:
        """ADOPT: somebody gives these objects up in their dead owner's place."""
        self._adopted.update(name for _, name in message[1])

    def remove_heirless(self, processes: Collection[bytes]) -> None:
        """Owners died a while ago: what nobody has taken over goes."""
        for name in self._store.left_by(processes):
            if name not in self._adopted:
                self._store.drop(name)

    def freed(self, connection: Connection, message: Message) -> None:
        """FREE: the owner gave these objects up."""
        for _, name in message[1]:
            self._adopted.discard(name)
            self._store.drop(name)
