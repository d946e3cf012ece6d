"""Asking holders for what others wait for. Pure.

``("reclaim", n)`` is absolute: ``n`` leases are wanted back now; 0: nobody waits any more. It is said again only when ``n`` grows
or falls to 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from nbray.core.ids import LeaseId, ProcessId
from nbray.core.ledger import Ledger
from nbray.core.messages import Spec
from nbray.core.waiting import WaitingList, Want


class Reclaim:
    """Who wants no more of a spec himself will have idle leases of it, now or soon: he is asked for all that is missing. Who has
    a backlog of his own is asked for one, and only by somebody who has nothing or whose job has fewer by two: otherwise
    two busy owners would take leases from each other without end.

    Args:
        has_backlog: whether that owner waits for more of that spec.
    """

    def __init__(
        self, ledger: Ledger, waiting: WaitingList, has_backlog: Callable[[ProcessId, Spec], bool]
    ) -> None:
        self._ledger = ledger
        self._waiting = waiting
        self._has_backlog = has_backlog
        self._asked: dict[ProcessId, int] = {}  # and not yet returned

    def returned(self, owner: ProcessId) -> None:
        """A lease of the owner ended."""
        if self._asked.get(owner, 0) > 0:
            self._asked[owner] -= 1

    def forget(self, owner: ProcessId) -> None:
        self._asked.pop(owner, None)

    def news(self) -> list[tuple[ProcessId, int]]:
        """What to tell whom, after all that could be placed was placed."""
        due: Counter[ProcessId] = Counter()
        for shape in self._waiting.shapes.values():
            for want in shape.heads():
                self._ask_for(want, due)
        self._ask_back_oversubscribed(due)
        news = [(owner, n) for owner, n in due.items() if n > self._asked.get(owner, 0)]
        self._asked.update(news)
        over = [owner for owner in self._asked if owner not in due]
        return news + [(owner, 0) for owner in over if self._asked.pop(owner)]

    def _ask_back_oversubscribed(self, due: Counter[ProcessId]) -> None:
        """A task that blocked has gone on, and its slot was taken meanwhile: somebody gives a lease back, backlog or not; who
        has none first, then who has most."""
        for node in self._ledger.nodes.values():
            for name, free in node.free.items():
                if free >= 0:
                    continue
                holders = [
                    (self._has_backlog(owner, spec), -len(here), owner, units)
                    for (owner, spec), leases in self._ledger.holders.items()
                    for resource, units in spec[0]
                    if resource == name
                    and units
                    and (here := [lease for lease in leases if self._ledger.leases[lease].node is node])
                ]
                if holders:
                    _, _, owner, units = min(holders)
                    due[owner] = max(due[owner], -(free // units))

    def _ask_for(self, want: Want, due: Counter[ProcessId]) -> None:
        own = (want.owner, want.spec) if want.actor is None else None
        asks = dict(want.asks.resources)
        busy: list[tuple[int, ProcessId]] = []
        for (owner, spec), leases in self._ledger.holders.items():
            shares = [
                -(-asks[name] * want.unmet // units) for name, units in spec[0] if units and name in asks
            ]
            if not shares or (owner, spec) == own:
                continue
            if not self._has_backlog(owner, spec):
                due[owner] = max(due[owner], min(max(shares), len(leases)))
            elif self._should_yield(leases, want, own):
                busy.append((len(leases), owner))
        if busy:
            richest = max(busy)[1]
            due[richest] = max(due[richest], 1)

    def _should_yield(self, leases: set[LeaseId], want: Want, own: tuple[ProcessId, Spec] | None) -> bool:
        mine = self._ledger.holders.get(own, ()) if own is not None else ()
        if not mine:
            return True
        job = self._ledger.leases[next(iter(leases))].job
        if job != want.job:
            return self._ledger.active[job] > self._ledger.active[want.job] + 1
        return len(leases) > len(mine) + 1
