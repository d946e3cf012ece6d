"""Placement: who gets which lease where. Pure: events in, effects out; no clock, no I/O.

A lease id is used once and every attempt has its own, so what comes late or twice about an ended one is ignored.

Who is served first:

1. What needs room to start but holds nothing then, such as a default actor: it takes nothing from anybody.
2. Children of a blocked task whose lent slot no child of its own uses yet (a *claim*): recursion goes depth first.
3. The job that has the fewest leases in use; a *job* is a driver with everything that its tasks submit in turn.
4. Within a job the highest priority; then the deepest, so a tree of tasks is finished before it is widened; then the one
   who waits longest.

A large shape does not starve behind small ones: passed over more than ``PATIENCE`` times, it gets a node reserved, and what
is free there waits for it. Claims pass a reservation (the task that must end first may be their parent).

A node takes only so many lanes, however few CPUs they hold while their tasks wait: see ``impasse``.

Only ``unlend`` may oversubscribe a node: a task goes on when its value is there, whether or not its slot was taken meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from nbray.core.effects import ActorLost, Effect, End, Place, Recheck, Resized, Tell
from nbray.core.ids import ActorId, LeaseId, NodeId, ProcessId
from nbray.core.impasse import LOOK, Impasse
from nbray.core.ledger import NO_BLOCK, NO_LIMIT, Asks, Block, Lease, Ledger, Node, add_up, asks_of, supplied
from nbray.core.messages import Loss, Spec
from nbray.core.reclaim import Reclaim
from nbray.core.sizes import Sizes
from nbray.core.waiting import Shape, ShapeKey, WaitingList, Want

PATIENCE = 4  # placements of others that a waiting shape lets pass
ATTEMPTS = 3  # placements of one want that may fail in a row before its owner is told
#: A signal while an executor starts may be somebody's kill -9, which says nothing about the next attempt. On a busy machine who
#: kills every 30 ms may meet thirty in a row before they are up.
SIGNALLED = 0.02
#: Seconds for which a request that no node can meet waits for a sign that the cluster can grow.
GROWTH = 0.8


class Placement:
    """The machine. Feed it events, then ``drain()`` the effects.

    Args:
        fixed: the pool cannot grow, so what no node can ever hold is refused at once. Else it is refused after ``GROWTH``
            seconds, unless the cluster grows: then it waits, and the driver whose work it is is told once.

    Attributes:
        grows: the cluster is said to grow by itself as it is needed.
    """

    def __init__(self, fixed: bool = False) -> None:
        self.fixed = fixed
        self.grows = False
        self.ledger = Ledger()
        self._waiting = WaitingList()
        self._wants: dict[tuple[ProcessId, Spec], Want] = {}
        self._actors: dict[ActorId, Want] = {}
        self._actor_leases: dict[ActorId, LeaseId] = {}
        self._origin: dict[ProcessId, tuple[ProcessId, int]] = {}  # job and depth of what an executor submits
        self._reclaim = Reclaim(self.ledger, self._waiting, self._has_backlog)
        self._impasse = Impasse(self.ledger, self._waiting)
        self._looking = False  # at an impasse, in a while
        self._unmet: set[tuple[ProcessId, ShapeKey]] = set()  # of which the driver was told
        self._reservation: tuple[NodeId, ShapeKey] | None = None
        self._effects: list[Effect] = []
        self._last_lease = 0
        self._sizes = Sizes(self.ledger, self._resized)

    def drain(self) -> list[Effect]:
        """Place what can be placed; the effects since the last call, in the order in which they are to happen."""
        self._pump()
        if self._sizes.elastic:
            self._effects += self._sizes.adapt(self.demand().get("CPU", 0))
            self._pump()
        if self.ledger.full and not self._looking:
            self._look()
        self._effects += [Tell(owner, ("reclaim", n)) for owner, n in self._reclaim.news()]
        effects, self._effects = self._effects, []
        return effects

    # --- nodes -----------------------------------------------------------------------------------------------------
    def add_node(
        self,
        id: NodeId,
        totals: Mapping[str, int],
        labels: Mapping[str, str] | None = None,
        address: Any = None,
        most: int = NO_LIMIT,
    ) -> None:
        """A node is there. ``totals`` in ``RESOURCE_UNIT`` units; ``most`` lanes at a time."""
        if id in self.ledger.nodes:
            self.remove_node(id, "its agent started anew")
        self.ledger.add(Node(id, totals, labels or {}, address, most))
        self._impasse.moves += 1
        self._waiting.unblock()

    def remove_node(self, id: NodeId, text: str) -> None:
        """A node is gone: holders learn it, and what was being placed there is placed elsewhere."""
        node = self.ledger.nodes.get(id)
        if node is None:
            return
        loss: Loss = ("node", text, 0, 0, "")
        for lease in sorted(node.leases):
            self._lose(self.ledger.leases[lease], loss, charge=False)
        self.ledger.remove(node)
        self._impasse.moves += 1
        self._had_more(id)

    def resize(self, id: NodeId, least: int, most: int) -> None:
        """A node has so many units of CPU from now on: at least ``least``, and up to ``most`` while there is work for more.

        If that is fewer than its leases hold, some are asked back.
        """
        node = self.ledger.nodes.get(id)
        if node is None:
            return
        fewer = most < node.cpus[1]
        self._sizes.set(node, least, most)
        if fewer:
            self._had_more(id)

    def _resized(self, node: Node) -> None:
        self._impasse.moves += 1
        self._waiting.unblock()
        self._effects.append(Resized(node.id))

    def _had_more(self, id: NodeId) -> None:
        """There is less than before: what waits may wait for what is nowhere any more."""
        if self._reservation is not None and self._reservation[0] == id:
            self._cancel_reservation()
        for want in list(self._waiting.all()):
            if not self.ledger.feasible(want.asks):
                if self.fixed:
                    self._refuse(want)
                else:
                    self._effects.append(Recheck(GROWTH, ("unmet", want)))

    # --- owners ----------------------------------------------------------------------------------------------------
    def want(
        self, owner: ProcessId, spec: Spec, n: int, parent: LeaseId | None = None, priority: int = 0
    ) -> None:
        """``owner`` has ``n`` leases of that spec to come. Absolute: it replaces what the owner wanted before.

        Args:
            parent: the lease under which the asking task runs.
            priority: the highest of the calls that wait.
        """
        want = self._wants.get((owner, spec))
        if want is None:
            if n <= 0:
                return
            want = self._wants[owner, spec] = Want(owner, spec, asks_of(spec))
        waited, before = want.unmet > 0, (want.parent, want.job, want.depth, want.priority)
        origin = (*self._origin_of(owner, parent), priority)
        if before != origin:
            self._waiting.remove(want)
            want.parent, want.job, want.depth, want.priority = origin
        want.wanted = max(n, want.placing)  # what is on its way will come, wanted or not
        if not want.unmet:
            self._met(want)
        elif not waited or before != origin:
            self._enqueue(want)

    def want_actor(self, owner: ProcessId, actor: ActorId, epoch: int, asks: Spec, holds: Spec) -> None:
        """A place for an actor's incarnation. ``asks`` must be free on the node, ``holds`` is what it keeps."""
        self.end_actor(actor)
        want = self._actors[actor] = Want(owner, holds, asks_of(asks), actor)
        want.epoch, want.wanted = epoch, 1
        want.parent, want.job, want.depth = self._origin_of(owner, None)
        self._enqueue(want)

    def end_actor(self, actor: ActorId) -> None:
        """The actor needs no place any more; a process that is it is killed."""
        want = self._actors.pop(actor, None)
        lease = self._actor_leases.get(actor)
        if lease is not None:
            self._end(self.ledger.leases[lease], kill=True)
        elif want is not None:
            want.wanted = 0
            self._met(want)

    def give(self, owner: ProcessId, lease: LeaseId, kill: bool = False) -> None:
        """The owner is done with the lease. ``kill``: its executor does not react, nobody else may have it."""
        held = self.ledger.leases.get(lease)
        if held is not None and held.owner == owner and held.actor is None and held.granted:
            self._end(held, kill=kill)

    def lend(self, process: ProcessId, lease: LeaseId, block: Block | None = None) -> None:
        """The lane's task blocks: others may use its CPUs, its own children first. Actors never lend."""
        held = self.ledger.leases.get(lease)
        if held is None or held.lent or held.actor is not None or process not in (held.process, held.owner):
            return
        self.ledger.lend(held)
        held.block = block or NO_BLOCK
        self._impasse.moves += 1
        self._waiting.unblock()
        self._claims(held)

    def unlend(self, process: ProcessId, lease: LeaseId) -> None:
        """The lane's task goes on and has its CPUs back at once, even if that is more than there are."""
        held = self.ledger.leases.get(lease)
        if held is None or not held.lent or process not in (held.process, held.owner):
            return
        self.ledger.unlend(held)
        held.block = NO_BLOCK
        self._impasse.moves += 1
        self._claims(held)

    def process_gone(self, process: ProcessId) -> None:
        """A process ended: what it wanted is forgotten, lanes it held are killed. Its actors are the directory's affair."""
        for group in [group for group in self._wants if group[0] == process]:
            want = self._wants.pop(group)
            want.wanted = want.placing
            self._met(want)
        for lease in [lease for lease in self.ledger.leases.values() if lease.owner == process]:
            if lease.actor is None:
                self._end(lease, kill=True)
        self._origin.pop(process, None)
        self._reclaim.forget(process)
        self._unmet = {told for told in self._unmet if told[0] != process}

    # --- the nodes' answers ------------------------------------------------------------------------------------------
    def granted(self, lease: LeaseId, address: tuple[Any, ...]) -> None:
        """The lease's executor is ready at ``address`` (its first field is the process)."""
        held = self.ledger.leases.get(lease)
        if held is None or held.granted:
            return
        held.granted = True
        held.process = ProcessId(address[0])
        held.address = address
        self._impasse.moves += 1
        self._origin[held.process] = (held.job, held.depth + 1)
        want = self._actors[held.actor] if held.actor is not None else self._wants[held.owner, held.spec]
        want.placing -= 1
        want.wanted -= 1
        want.failures = 0
        if held.actor is None:
            self._met(want)
            self.ledger.list_holder(held)
            self._effects.append(Tell(held.owner, ("granted", lease, held.spec, address)))

    def exited(self, lease: LeaseId, loss: Loss) -> None:
        """The lease's executor ended, or could not be started."""
        held = self.ledger.leases.get(lease)
        if held is not None:
            self._lose(held, loss, charge=True)

    # --- what waits for long ---------------------------------------------------------------------------------------
    def recheck(self, event: tuple[Any, ...]) -> None:
        """The time of a ``Recheck`` is over."""
        what, *fields = event
        if what == "unmet":
            self._still_unmet(*fields)
        elif what == "spare":
            self._sizes.still_spare(*fields)
        else:
            self._still_kept_out(*fields)

    def _look(self) -> None:
        kept_out = self._impasse.kept_out()
        if kept_out is not None:
            self._looking = True
            self._effects.append(Recheck(LOOK, ("impasse", self._impasse.moves, LOOK)))

    def _still_kept_out(self, moves: int, seconds: float) -> None:
        self._looking = False
        kept_out = self._impasse.kept_out()
        if kept_out is None or moves != self._impasse.moves:
            return
        want, grace = kept_out
        if seconds < grace:
            self._looking = True
            self._effects.append(Recheck(LOOK, ("impasse", moves, seconds + LOOK)))
        else:
            text = self._impasse.text(want)
            want.wanted = want.placing
            self._met(want)
            self._effects.append(Tell(want.owner, ("full", want.spec, text)))

    def _still_unmet(self, want: Want) -> None:
        if not want.unmet or self.ledger.feasible(want.asks):
            return
        hopeful = self.grows or not self.ledger.nodes or self.ledger.was_feasible(want.asks)
        if not hopeful:
            self._refuse(want)
        elif (want.job, want.shape) not in self._unmet:
            self._unmet.add((want.job, want.shape))
            text = f"asked for {want.asks}, and no node has that: {self._what_there_is(want.asks)}"
            self._effects.append(Tell(want.job, ("unmet", want.spec, want.actor, text)))

    def _what_there_is(self, asks: Asks) -> str:
        nodes = [(node.greatest, node.labels) for node in self.ledger.nodes.values()]
        return f"the pool's nodes have {supplied(nodes, asks)}" if nodes else "the pool has no node"

    # --- views -----------------------------------------------------------------------------------------------------
    def lease_of(self, actor: ActorId) -> Lease | None:
        """The lease of the actor's present incarnation."""
        lease = self._actor_leases.get(actor)
        return self.ledger.leases[lease] if lease is not None else None

    def actors_waiting(self) -> tuple[tuple[ActorId, Asks], ...]:
        """The actors that have no place, and what must be free for them."""
        return tuple((actor, want.asks) for actor, want in self._actors.items() if want.unmet)

    def demand(self) -> dict[str, int]:
        """What waits, in units, for a cluster that can grow."""
        return add_up(
            {name: units * want.unmet for name, units in want.asks.resources} for want in self._waiting.all()
        )

    def validate(self) -> None:
        """Assert the laws; tests call it after every step."""
        self.ledger.validate()
        leases = self.ledger.leases
        placing: Counter[Any] = Counter(
            lease.actor if lease.actor is not None else (lease.owner, lease.spec)
            for lease in leases.values()
            if not lease.granted
        )
        waiting = Counter(id(want) for want in self._waiting.all())
        for key, want in [*self._wants.items(), *self._actors.items()]:
            assert 0 <= want.placing == placing.pop(key, 0) <= want.wanted
            assert waiting.pop(id(want), 0) == (want.unmet > 0)
            assert want.parent is None or not want.unmet or want.parent in leases
        assert not placing
        assert not waiting
        for shape in self._waiting.shapes.values():
            for want in shape.claims:
                assert want.unmet > 0
                assert want.parent is not None
                assert leases[want.parent].lent
                assert not leases[want.parent].children
            if shape.blocked:
                assert self.ledger.choose(shape.asks, self._barred(shape), shape.lane) is None

    # --- the queue -------------------------------------------------------------------------------------------------
    def _origin_of(self, owner: ProcessId, parent: LeaseId | None) -> tuple[LeaseId | None, ProcessId, int]:
        held = self.ledger.leases.get(parent) if parent is not None else None
        if held is not None:
            return held.id, held.job, held.depth + 1
        return None, *self._origin.get(owner, (owner, 0))

    def _enqueue(self, want: Want) -> None:
        if not self.ledger.feasible(want.asks):
            if self.fixed and self.ledger.nodes:
                self._refuse(want)
                return
            self._effects.append(Recheck(GROWTH, ("unmet", want)))
        if want.parent is not None and want.parent not in self.ledger.leases:
            want.parent = None
        self._waiting.add(want)
        if want.parent is not None:
            self._claims(self.ledger.leases[want.parent])

    def _has_backlog(self, owner: ProcessId, spec: Spec) -> bool:
        want = self._wants.get((owner, spec))
        return want is not None and want.unmet > 0

    def _met(self, want: Want) -> None:
        if not want.unmet:
            self._waiting.remove(want)
        if not want.wanted and want.actor is None:
            self._wants.pop((want.owner, want.spec), None)

    def _claims(self, parent: Lease) -> None:
        """Recompute who has a claim to the slot that ``parent`` lent."""
        claim = parent.lent and not parent.children
        for want in self._waiting.children(parent.id):
            shape = self._waiting.shapes[want.shape]
            if claim:
                shape.claims[want] = None
                shape.blocked = False  # a claim may pass the reservation that blocked the others
            else:
                shape.claims.pop(want, None)

    def _pump(self) -> None:
        while True:
            best: tuple[tuple[int, int, int, int], Want, bool] | None = None
            for shape in [shape for shape in self._waiting.shapes.values() if not shape.blocked]:
                candidate = self._candidate(shape)
                if candidate is not None and (best is None or candidate < best):
                    best = candidate
            if best is None:
                return
            _, want, claim = best
            shape = self._waiting.shapes[want.shape]
            node = self.ledger.choose(want.asks, None if claim else self._barred(shape), shape.lane)
            if node is None:
                shape.blocked = True
            else:
                self._place(want, node, claim)

    def _candidate(self, shape: Shape) -> tuple[tuple[int, int, int, int], Want, bool] | None:
        if shape.claims:
            want = next(reversed(shape.claims))
            return (-1, 0, -want.depth, want.ticket), want, True
        heads = shape.heads()
        if heads:
            # What holds nothing takes nothing from anybody: first.
            rank = self.ledger.active if shape.holds else dict.fromkeys((want.job for want in heads), -2)
            return min(
                ((rank[want.job], -want.priority, -want.depth, want.ticket), want, False) for want in heads
            )
        del self._waiting.shapes[shape.key]
        if self._reservation is not None and self._reservation[1] == shape.key:
            self._cancel_reservation()
        return None

    def _barred(self, shape: Shape) -> NodeId | None:
        """The node that is reserved for another shape. What holds nothing takes nothing away from it."""
        if self._reservation is None or self._reservation[1] == shape.key or not shape.holds:
            return None
        return self._reservation[0]

    def _place(self, want: Want, node: Node, claim: bool) -> None:
        shape = self._waiting.shapes[want.shape]
        self._last_lease += 1
        lease = Lease(
            LeaseId(self._last_lease), node, want.owner, want.spec, want.parent, want.job, want.depth
        )
        lease.actor, lease.epoch = want.actor, want.epoch
        want.placing += 1
        self._waiting.remove(want)
        self.ledger.open(lease)
        parent = self.ledger.parent_of(lease)
        if parent is not None:
            self._claims(parent)
        if want.actor is not None:
            self._actor_leases[want.actor] = lease.id
        if want.unmet:
            self._enqueue(want)
        shape.passed = 0
        if self._reservation is not None and self._reservation[1] == want.shape:
            self._cancel_reservation()
        elif lease.holds and not claim:
            self._passed_by(shape)
        if self._reservation is not None and self._reservation[0] == node.id and node.full:
            self._cancel_reservation()  # it may be for a lane, which this node does not take now
        self._effects.append(
            Place(lease.id, node.id, lease.spec, lease.owner, lease.actor, lease.epoch, lease.gpus)
        )

    def _passed_by(self, served: Shape) -> None:
        for shape in self._waiting.shapes.values():
            if shape is served or not shape.blocked or not shape.heads():
                continue
            shape.passed += 1
            if shape.passed > PATIENCE and self._reservation is None:
                fitting = [
                    node
                    for node in self.ledger.nodes.values()
                    if node.could_fit(shape.asks) and not (shape.lane and node.full)
                ]
                if fitting:
                    node = max(fitting, key=lambda node: node.room_after(shape.asks))
                    self._reservation = (node.id, shape.key)

    def _cancel_reservation(self) -> None:
        self._reservation = None
        self._waiting.unblock()

    # --- ends ------------------------------------------------------------------------------------------------------
    def _end(self, lease: Lease, kill: bool) -> None:
        self.ledger.close(lease)
        self._impasse.moves += 1
        self._waiting.orphan(lease.id)
        if lease.actor is not None:
            self._actor_leases.pop(lease.actor, None)
            self._actors.pop(lease.actor, None)
        else:
            if not lease.granted and (want := self._wants.get((lease.owner, lease.spec))) is not None:
                want.placing -= 1
            self._reclaim.returned(lease.owner)
        parent = self.ledger.parent_of(lease)
        if parent is not None:
            self._claims(parent)
        self._waiting.unblock()
        self._effects.append(End(lease.id, lease.node.id, kill))

    def _lose(self, lease: Lease, loss: Loss, charge: bool) -> None:
        self._end(lease, kill=True)
        if lease.actor is not None:
            self._effects.append(ActorLost(lease.actor, lease.epoch, loss))
        elif lease.granted:
            self._effects.append(Tell(lease.owner, ("lost", lease.id, loss)))
        elif (want := self._wants.get((lease.owner, lease.spec))) is not None:
            want.failures += charge * (SIGNALLED if loss[0] == "signal" else 1)
            self._waiting.remove(want)
            if want.failures < ATTEMPTS:
                self._enqueue(want)
            else:
                self._refuse(
                    want,
                    f"its executor could not be started: {loss[1]!s}" + (f"\n{loss[4]}" if loss[4] else ""),
                )

    def _refuse(self, want: Want, text: str = "") -> None:
        if not text:
            text = f"asked for {want.asks}, which no node can ever hold: {self._what_there_is(want.asks)}"
        want.wanted = want.placing
        self._met(want)
        if want.actor is not None:
            self._actors.pop(want.actor, None)
            self._effects.append(ActorLost(want.actor, want.epoch, ("infeasible", text, 0, 0, "")))
        else:
            self._effects.append(Tell(want.owner, ("infeasible", want.spec, text)))
