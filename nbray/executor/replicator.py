"""A node agent makes copies of objects for whoever wants replicas of what he puts (REPLICATE)."""

from __future__ import annotations

from collections.abc import Callable

from nbray.channel.connection import Connection
from nbray.channel.reactor import Reactor
from nbray.core.ids import Address
from nbray.core.lineage import copy_name
from nbray.core.messages import COPIED, NOT_COPIED, Message
from nbray.exceptions import ObjectLostError
from nbray.store.store import Store
from nbray.store.transfer import Incoming, Pulls


class Replicator:
    """Under the reactor's lock, on whose connections it works.

    Args:
        address: of this node agent.
    """

    def __init__(self, store: Store, reactor: Reactor, address: Callable[[], Address]) -> None:
        self._store = store
        self._reactor = reactor
        self._address = address
        self._pulls = Pulls(store)
        self._asked: dict[Incoming, Connection] = {}

    def asked(self, connection: Connection, message: Message) -> None:
        """REPLICATE"""
        _, oid, name, serve = message
        if self._store.has(copy_name(oid)):
            self._answer(connection, oid, None)
            return
        try:
            source = self._reactor.connect(Address(*serve))
        except OSError as error:  # out of descriptors
            self._answer(connection, oid, error)
            return
        source.on_message = self._chunk
        source.on_close = self._lost
        incoming, asks = self._pulls.want(source, oid, name, copy_name(oid))
        self._asked[incoming] = connection
        for ask in asks:
            source.send(ask)

    def _chunk(self, source: Connection, message: Message) -> None:
        incoming, asks = self._pulls.receive(message)
        for ask in asks:
            source.send(ask)
        if incoming is not None and incoming.finished:
            self._done(source, incoming)

    def _lost(self, source: Connection, error: BaseException | None) -> None:
        self._pulls.lost(source, ObjectLostError(f"the process that has it is gone ({error or 'closed'})"))
        for incoming in [each for each in self._asked if each.context is source]:
            self._done(source, incoming)

    def _done(self, source: Connection, incoming: Incoming) -> None:
        source.close()
        self._pulls.leave(incoming)
        self._answer(self._asked.pop(incoming), incoming.object_id, incoming.error)

    def _answer(self, connection: Connection, oid: bytes, error: Exception | None) -> None:
        address = self._address()
        if error is not None:
            connection.send((NOT_COPIED, oid, address.node, str(error)))
        elif connection.closed:  # who wanted it is gone, and would have been the one to give it up
            self._store.drop(copy_name(oid))
        else:
            connection.send((COPIED, oid, address.node, tuple(address)))
