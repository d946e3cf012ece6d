"""The other processes: connections to them, what they say and to whom it goes, and what follows when one is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address
from nbray.core.messages import Message
from nbray.owner.serving import StoreServer

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

Handler = Callable[[Connection, Message], None]


class Peers:
    """Under the owner's lock throughout.

    Attributes:
        handlers: by message kind; an executor adds its own.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        server = StoreServer(owner.values.store)
        self.handlers: dict[int, Handler] = {
            m.RESULT: owner.calls.result,
            m.ITEM: owner.streams.item,
            m.RETURNED: owner.tasks.returned,
            m.LAST: owner.tasks.last,
            m.FETCH: owner.borrowing.asked,
            m.VALUE: owner.borrowing.came,
            m.HOLD: owner.holding.asked,
            m.HOLD_OK: owner.holding.counted,
            m.RELEASE: owner.holding.released,
            m.CLAIM: owner.holding.claimed,
            m.SETTLE: owner.holding.settle_asked,
            m.SETTLED: owner.holding.settled,
            m.PULL: server.asked,
            m.CHUNK: owner.copies.came,
            m.FREE: server.freed,
            m.COPIED: owner.copies.made,
            m.NOT_COPIED: owner.replicas.not_copied,
            m.CANCEL_OBJECT: owner.cancelling.asked,
            m.OUTPUT: lambda connection, message: owner.console.add(*message[1:]),
            m.EVENTS: lambda connection, message: owner.feed.extend(message[1]),
            m.REPORTS: lambda connection, message: owner.reported(message[1]),
            m.INQUIRE: lambda connection, message: owner.inquiry.asked(connection, message),
            m.ACTIVITY: lambda connection, message: owner.inquiry.answered(connection, message),
        }
        self._to: dict[bytes, Connection] = {}
        self._unsaid: dict[bytes, tuple[Address, list[Message]]] = {}

    # -- connections -----------------------------------------------------------------------------------------------

    def accepted(self, connection: Connection) -> None:
        connection.on_message = self.message
        connection.on_close = self.closed

    def message(self, connection: Connection, message: Message) -> None:
        handler = self.handlers.get(message[0])
        if handler is not None:
            handler(connection, message)

    def to(self, address: Address) -> Connection:
        """The connection for requests to that process, opened if there is none.

        Raises:
            OSError: this process is out of descriptors.
        """
        connection = self._to.get(address.process)
        if connection is None or connection.closed:
            connection = self._to[address.process] = self.owner.reactor.connect(address)
            connection.on_message = self.message
            connection.on_close = lambda c, error: self._lost(address, c, error)
        return connection

    def tell(self, address: Address, message: Message) -> None:
        """Send a message to that process; once there are descriptors again, if there are none."""
        unsaid = self._unsaid.get(address.process)
        if unsaid is not None:
            unsaid[1].append(message)
            return
        try:
            connection = self.to(address)
        except OSError:
            self._unsaid[address.process] = (address, [message])
        else:
            connection.send(message)

    def tick(self) -> None:
        """Say what could not be said for want of descriptors."""
        unsaid, self._unsaid = self._unsaid, {}
        for address, messages in unsaid.values():
            for message in messages:
                self.tell(address, message)

    # -- the end of one --------------------------------------------------------------------------------------------

    def closed(self, connection: Connection, error: BaseException | None) -> None:
        """A connection that a peer had opened to us. It may have given a lane back, and live on with refs of ours."""
        if connection.peer is not None:
            self.process_gone(connection.peer.process, alive=True)

    def _lost(self, address: Address, connection: Connection, error: BaseException | None) -> None:
        """The connection on which we asked ``address``."""
        if self._to.get(address.process) is connection:
            del self._to[address.process]
        self._owner_died(address.process)
        self.owner.copies.connection_lost(connection, error)
        self.process_gone(address.process)

    def processes_gone(self, processes: Sequence[bytes]) -> None:
        """Placement says that they are dead."""
        for process in processes:
            self._owner_died(process)
            self.process_gone(process)
            self.owner.holding.process_died(process)

    def process_gone(self, process: bytes, alive: bool = False) -> None:
        """Its holds go. ``alive``: we only let go of it, so its holds stay until placement says that it died."""
        owner = self.owner
        holds = owner.holds
        if not alive:
            holds.holder_gone(process)
        if (alive and holds.has(process)) or holds.in_transit(process) or owner.inheritance.expects(process):
            owner.send_up(("watch_process", process))
        owner.holding.settle(process)

    def _owner_died(self, process: bytes) -> None:
        self.owner.inheritance.owner_died(process)
        self.owner.borrowing.owner_died(process)
        self.owner.holding.owner_died(process)
