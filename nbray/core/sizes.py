"""How many CPUs each node has, where that changes with the work. Pure, part of ``placement``.

A node has at least so many, and up to a most while there is work for more. It gets them at once, and loses those that nobody
has needed for ``SPARE`` seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from nbray.core.effects import Effect, Recheck
from nbray.core.ids import NodeId
from nbray.core.ledger import Ledger, Node

#: Seconds for which CPUs beyond the least must be free before a node loses them again.
SPARE = 5.0


class Sizes:
    """
    Args:
        resized: told of each node that has more or fewer CPUs now.

    Attributes:
        elastic: some node may have more CPUs than it has at least.
    """

    def __init__(self, ledger: Ledger, resized: Callable[[Node], None]) -> None:
        self.elastic = False
        self._ledger = ledger
        self._resized = resized
        self._peaks: dict[NodeId, int] = {}  # the most CPU that was needed since there was more

    def set(self, node: Node, least: int, most: int) -> None:
        """The node has between ``least`` and ``most`` units of CPU from now on."""
        node.cpus = (least, most)
        self.elastic = any(node.cpus[0] < node.cpus[1] for node in self._ledger.nodes.values())
        self._resize(node, node.totals.get("CPU", 0))

    def adapt(self, waits: int) -> list[Effect]:
        """Nodes that may have more CPUs get what work waits for, in units; those that have more than they use lose it after
        a while."""
        effects: list[Effect] = []
        for node in self._ledger.nodes.values():
            (least, most), total = node.cpus, node.totals.get("CPU", 0)
            needs = min(max(total - node.free.get("CPU", 0) + waits, least), most)
            if total < needs:
                self._resize(node, needs)
            elif total > needs and node.id not in self._peaks:
                effects.append(Recheck(SPARE, ("spare", node.id)))
                self._peaks[node.id] = needs
            if node.id in self._peaks:
                self._peaks[node.id] = max(self._peaks[node.id], needs)
        return effects

    def still_spare(self, id: NodeId) -> None:
        """``SPARE`` is over: the node keeps the most that was needed meanwhile."""
        peak, node = self._peaks.pop(id, 0), self._ledger.nodes.get(id)
        if node is not None:
            self._resize(node, min(peak, node.totals["CPU"]))

    def _resize(self, node: Node, cpus: int) -> None:
        least, most = node.cpus
        cpus = min(max(cpus, least), most)
        if cpus != node.totals.get("CPU", 0):
            self._ledger.resize(node, cpus)
            self._resized(node)
