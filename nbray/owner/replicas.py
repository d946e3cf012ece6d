"""Replicas of puts: copies on other nodes that exist before ``put`` returns, and take the object's place when its node is lost.

Where they are travels in the value, so whoever has the ref finds one when the object's owner went with the node, too.
"""

from __future__ import annotations

import random
import time
import warnings
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address
from nbray.core.lineage import put_value
from nbray.core.messages import Message
from nbray.core.ownership import Entry

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: Seconds for all replicas of one object to be made.
LIMIT = 60.0


class Replicas:
    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        #: Nodes that could not make a copy, and why; by the object that is being put.
        self._refused: dict[bytes, dict[bytes, str]] = {}

    def make(self, entry: Entry, nodes: int) -> None:
        """Have a large object that was just put on so many nodes, this one included. Blocks; warns if they are fewer."""
        owner = self.owner
        refused = self._refused[entry.id] = {}
        try:
            others = self._other_nodes() if owner.address.tcp else []
            self._copy(entry, nodes - 1, others, refused)
        finally:
            del self._refused[entry.id]
        with owner.lock:
            there = owner.copies.of(entry.id)
            entry.value = put_value(entry.value, there)
        if len(there) < nodes - 1:
            why = f"other nodes there are: {len(others)}"
            if refused:
                why += "; " + "; ".join(f"node {node.hex()[:8]}: {text}" for node, text in refused.items())
            warnings.warn(
                f"put(replicas={nodes}): the object is on {1 + len(there)} of {nodes} nodes ({why})",
                RuntimeWarning,
                stacklevel=4,
            )

    def _other_nodes(self) -> list[Address]:
        """The agents of the nodes that take leases, in any order."""
        owner = self.owner
        (nodes,) = owner.questions.ask("resources")
        addresses = [Address(*row[4]) for row in nodes]
        others = [a for a in addresses if a.node != owner.node and a.node not in owner.dead_nodes]
        random.shuffle(others)
        return others

    def _copy(self, entry: Entry, wanted: int, others: list[Address], refused: dict[bytes, str]) -> None:
        """Ask one node for each copy that is wanted, and another one for each that refuses."""
        owner = self.owner
        value: Any = entry.value
        message = (m.REPLICATE, entry.id, value[3], value[6])
        untried = list(others)
        asked: dict[bytes, Connection] = {}
        deadline = time.monotonic() + LIMIT

        def waited_for() -> list[bytes]:
            there = {address.node for address in owner.copies.of(entry.id)}
            gone = owner.dead_nodes | refused.keys() | there
            return [node for node, line in asked.items() if node not in gone and not line.closed]

        while True:
            with owner.lock:
                waiting = waited_for()
                while untried and len(owner.copies.of(entry.id)) + len(waiting) < wanted:
                    address = untried.pop()
                    line = asked[address.node] = owner.peers.to(address)
                    line.send(message)
                    waiting.append(address.node)
            if not waiting:
                break
            count = len(waiting)
            if not owner.lead.run_until(lambda: len(waited_for()) < count, deadline):  # noqa: B023 (it is called here)
                refused |= dict.fromkeys(waiting, f"no answer within {LIMIT:.0f} s")
                break
        for node, line in asked.items():
            if line.closed and node not in refused:
                refused[node] = "the connection to it broke"

    def not_copied(self, connection: Connection, message: Message) -> None:
        """NOT_COPIED"""
        _, oid, node, why = message
        if oid in self._refused:
            self._refused[oid][node] = why
