"""When a node's processes all wait and it takes no more of them: who is told, and in which words. Pure.

A task that blocks lends its CPUs but not its process. Waiting for children takes as many processes as the tree is deep; waiting
for anything else may take any number, so a node has a most (``Node.most``). Whoever is kept out by that alone usually just waits
until a task ends. If every task there waits, and for a while nothing has happened that could end a wait, the call that is next
fails with what all the others wait for. One call only: its failure ends the wait of its caller, and that may free the others.
"""

from __future__ import annotations

from collections import Counter

from nbray.core.ledger import Lease, Ledger, Node
from nbray.core.waiting import Shape, WaitingList, Want

#: Seconds without any movement after which somebody is told. Only tasks run for those that wait: nothing else can end it.
GRACE = 2.0
#: So, if an actor, the driver or a time-out may still end a wait.
LONG_GRACE = 10.0
#: Seconds between two looks.
LOOK = 0.5
#: Kinds of waits that the text tells.
_TOLD = 8


class Impasse:
    """
    Attributes:
        moves: counts what may end a wait: a task has begun, blocked, gone on or ended.
    """

    def __init__(self, ledger: Ledger, waiting: WaitingList) -> None:
        self.moves = 0
        self._ledger = ledger
        self._waiting = waiting

    def kept_out(self) -> tuple[Want, float] | None:
        """The next that only a process is missing for while all there are wait, and the seconds until it is told so."""
        if not self._ledger.full:
            return None
        heads = [
            (want.depth, want.ticket, want, nodes)
            for shape in self._waiting.shapes.values()
            if shape.lane and shape.blocked and (nodes := self._closed_to(shape))
            for want in [*shape.heads(), *shape.claims][-1:]
        ]
        if not heads:
            return None
        _, _, want, nodes = max(heads, key=lambda head: head[:2])
        certain = all(lease.block.certain for node in nodes for lease in self._lanes(node))
        return want, GRACE if certain else LONG_GRACE

    def text(self, want: Want) -> str:
        """What those do that have the processes."""
        nodes = [node for node in self._ledger.nodes.values() if node.full and node.fits(want.asks)]
        lanes = [lease for node in nodes for lease in self._lanes(node)]
        kinds = Counter((lease.block.name or "a task", lease.block.awaits) for lease in lanes)
        told = [
            f"{f'{n} × ' if n > 1 else ''}{name} waits for {' and '.join(awaits) or 'something'}"
            for (name, awaits), n in kinds.most_common(_TOLD)
        ]
        if len(kinds) > _TOLD:
            told.append("and others")
        most = " or ".join(sorted({str(node.most) for node in nodes}))
        return (
            f"it needs one more process. A node runs tasks in at most {most} (NBRAY_MAX_PROCESSES says so many), and all of them "
            f"wait: {'; '.join(told)}"
        )

    def _closed_to(self, shape: Shape) -> list[Node]:
        """The nodes with room for it that take no process more, if on each of them everybody waits; else none."""
        nodes = [node for node in self._ledger.nodes.values() if node.full and node.fits(shape.asks)]
        if all(lease.lent for node in nodes for lease in self._lanes(node)):
            return nodes
        return []

    def _lanes(self, node: Node) -> list[Lease]:
        leases = self._ledger.leases
        return [lease for id_ in sorted(node.leases) if (lease := leases[id_]).actor is None]
