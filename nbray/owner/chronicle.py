"""What an owner tells the feed of nodes, processes, large objects and prints: all that the views show beside the calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.digest import Digest
from nbray.core.ids import Address, object_id
from nbray.owner.console import NOBODY, Author

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Chronicle:
    """Under the owner's lock, but for ``stored`` and ``watch``."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._digest = Digest()

    def stored(self, oid: bytes, size: int, on_disk: bool, made: str) -> None:
        owner = self.owner
        state = "spilled" if on_disk else "stored"
        owner.feed.append(
            (events.OBJECT, time.time(), oid, state, size, owner.node, made, owner.current_name())
        )

    def process_up(self, role: str, connection: Connection) -> None:
        peer = connection.peer
        assert peer is not None
        self.owner.feed.append(
            (events.PROCESS, time.time(), peer.process, "up", role, connection.pid, peer.node, "")
        )

    def process_down(self, role: str, connection: Connection, why: object = None) -> None:
        owner = self.owner
        peer = connection.peer
        if peer is not None:
            reason = "given back" if why is None else str(why)
            if why is not None:
                owner.console.gone(connection.pid, peer.node, self._author(connection))
            owner.feed.append(
                (events.PROCESS, time.time(), peer.process, "down", role, connection.pid, peer.node, reason)
            )

    def node(self, node: bytes, state: str, resources: Any, address: Any) -> None:
        owner = self.owner
        if state == "down":
            owner.dead_nodes.add(node)
        have = {name: n / m.RESOURCE_UNIT for name, n in resources}
        host = Address(*address).host if address else ""
        owner.feed.append((events.NODE, time.time(), node, state, have, host))

    def sampled(self, node: bytes, figures: Sequence[Any], used: Sequence[Any]) -> None:
        leased = {name: n / m.RESOURCE_UNIT for name, n in used if n}
        self.owner.feed.append((events.NODE_SAMPLED, time.time(), node, *figures, leased))

    def watch(self, kind: int) -> None:
        """Somebody reads events that are made for readers only. On any thread."""
        owner = self.owner
        if kind == events.NODE_SAMPLED and not owner.closed and not owner.abandoned:
            owner.send_up(("watch_nodes", events.WATCHED))

    def printed_last(self, pid: int, node: bytes, rest: Sequence[tuple[int, int, int, bytes]]) -> None:
        """A dead executor's output, as far as it may not have come: after what lies unread in the socket."""
        owner = self.owner
        author = None
        for peer in [*owner.tasks.peers(), *owner.actors.peers()]:
            if peer.peer is None:
                peer.drain()  # who it is lies unread as well
            if peer.pid == pid and peer.peer is not None and peer.peer.node == node:
                peer.drain()
                author = self._author(peer)
        author = author or owner.console.last_of(pid, node)
        for stream, start, missing, data in rest:
            owner.console.add_rest(stream, start, missing, data, pid, node, author)

    def _author(self, peer: Connection) -> Author:
        """Who prints in an executor of ours: the call that runs there, or the last one that was sent."""
        target = peer.context
        call = target.machine.running
        name, origin, sequence = (
            target.last if call is None else (call.function.name, call.origin, call.sequence)
        )
        task = object_id(self.owner.process, sequence) if sequence else b""
        if target.machine.name:  # an actor, which may have told a name of its own
            node = peer.peer.node if peer.peer is not None else b""
            name = self.owner.console.name_of(peer.pid, node) or target.machine.name
        return (name or NOBODY[0], origin, task, target.process)

    def _heard(self, author: Author, stream: int, text: str, pid: int, node: bytes) -> None:
        """The driver's console: what is printed goes into the feed."""
        taken = self._digest.take(text, time.monotonic()) if stream < 3 else None
        if taken is not None:
            name, origin, task, process = author
            self.owner.feed.append_text(
                (events.PRINTED, time.time(), origin, task, name, stream, taken, process, pid, node)
            )

    def listen(self) -> None:
        """This is a driver: what is printed ends here."""
        self.owner.console.heard = self._heard

    def tell_holders(self) -> None:
        """Once a second, and of large objects only: who else has them."""
        owner = self.owner
        now, large = time.time(), owner.values.segments
        changed, owner.holds.changed = owner.holds.changed, set()
        for sequence in changed:
            oid = object_id(owner.process, sequence)
            if oid in large:
                owner.feed.append((events.OBJECT_HELD, now, oid, tuple(owner.holds.holders(sequence))))
