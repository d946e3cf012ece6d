"""The ledger: which node has what, which lease holds what of it. Pure bookkeeping; who gets what is ``placement``'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from nbray.core.ids import ActorId, LeaseId, NodeId, ProcessId
from nbray.core.labels import NODE_ID, Selector, matches, told
from nbray.core.messages import RESOURCE_UNIT, Spec

Resources: TypeAlias = "tuple[tuple[str, int], ...]"


class Asks(NamedTuple):
    """What must be free on a node, and the rules for its labels."""

    resources: Resources
    where: Selector = ()

    def __str__(self) -> str:
        """``{CPU: 2} and labels {zone: a}`` for an error's text."""
        return readable(self.resources) + (f" and labels {told(self.where)}" if self.where else "")


def asks_of(spec: Spec) -> Asks:
    """What a spec asks for, without what asks for nothing."""
    resources, _, where = spec
    return Asks(tuple((name, units) for name, units in resources if units), where)


NO_LIMIT = 1 << 30
#: A node is a resource itself, 1 of this and its address: whoever asks for a bit of it runs there.
NODE_ITSELF = "node:"
#: And so is the scheduler's machine, under the name that Ray's programs know it by.
HEAD_NODE = NODE_ITSELF + "__internal_head__"
#: So many kinds of nodes are told in a text.
_TOLD = 8
#: Of so many kinds of nodes that are gone it is known what they had.
_KINDS = 64


class Node:
    """
    Attributes:
        gpus: what is free of each GPU, by index. A share lies on one of them; whole ones are had alone.
        lanes: how many of its leases are lanes. most: how many may be, whatever they hold.
        cpus: units of CPU that it has at least, and that it may have at most when they are needed.
    """

    __slots__ = ("address", "cpus", "free", "gpus", "id", "labels", "lanes", "leases", "most", "totals")

    def __init__(
        self,
        id: NodeId,
        totals: Mapping[str, int],
        labels: Mapping[str, str],
        address: Any,
        most: int = NO_LIMIT,
    ) -> None:
        self.id = id
        self.totals = dict(totals)
        self.cpus = (totals.get("CPU", 0), totals.get("CPU", 0))
        self.free = dict(totals)
        self.gpus = shares(totals.get("GPU", 0))
        self.labels = dict(labels)
        self.address = address
        self.leases: set[LeaseId] = set()
        self.lanes = 0
        self.most = most

    @property
    def full(self) -> bool:
        """It takes no lane more, whatever is free."""
        return self.lanes >= self.most

    def fits(self, asks: Asks) -> bool:
        free = self.free
        return matches(self.labels, asks.where) and all(
            free.get(name, 0) >= units and (name != "GPU" or self.pick_gpus(units))
            for name, units in asks.resources
        )

    def pick_gpus(self, units: int) -> tuple[int, ...]:
        """The GPUs that serve so much: whole ones that nobody uses, or for a share the fullest that has room. None: ()."""
        if units < RESOURCE_UNIT:
            roomy = [(free, index) for index, free in enumerate(self.gpus) if free >= units]
            return (min(roomy)[1],) if roomy else ()
        unused = [index for index, free in enumerate(self.gpus) if free == RESOURCE_UNIT]
        wanted = units // RESOURCE_UNIT
        return tuple(unused[:wanted]) if len(unused) >= wanted else ()

    @property
    def greatest(self) -> dict[str, int]:
        """What it has, or may have when it is needed."""
        return {**self.totals, "CPU": self.cpus[1]} if self.cpus[1] else self.totals

    def could_fit(self, asks: Asks) -> bool:
        return meets(self.greatest, self.labels, asks)

    def room_after(self, asks: Asks) -> float:
        """The share of the scarcest resource that stays free."""
        shares = ((self.free[name] - units) / self.totals[name] for name, units in asks.resources)
        return min(shares, default=0.0)


class Block(NamedTuple):
    """What a task that lends does, by the names of functions, and whether only other tasks of its own can end its wait."""

    name: str
    awaits: tuple[str, ...]
    certain: bool


NO_BLOCK = Block("", (), False)


class Lease:
    """``parent`` is the lease under which the task that asked for it runs; ``job`` the driver whose work it is in the end.

    Attributes:
        gpus: indices of the node's GPUs that it may use, from its beginning to its end. share: units that it has of each.
        lent: its task blocks, and others may use its CPUs. What else it holds is in use all the same: a GPU's memory, say.
        block: what it does and waits for meanwhile.
        address: of its executor, once it is granted.
    """

    __slots__ = (
        "actor", "address", "block", "children", "depth", "epoch", "gpus", "granted", "holds", "id", "job", "lent", "node",
        "owner", "parent", "process", "share", "spec",
    )  # fmt: skip

    def __init__(
        self,
        id: LeaseId,
        node: Node,
        owner: ProcessId,
        spec: Spec,
        parent: LeaseId | None,
        job: ProcessId,
        depth: int,
    ) -> None:
        self.id = id
        self.node = node
        self.owner = owner
        self.spec = spec
        self.holds: Resources = tuple((name, units) for name, units in spec[0] if units)
        self.gpus: tuple[int, ...] = ()
        self.share = min(dict(self.holds).get("GPU", 0), RESOURCE_UNIT)
        self.parent = parent
        self.job = job
        self.depth = depth
        self.actor: ActorId | None = None
        self.epoch = 0
        self.granted = False
        self.lent = False
        self.block = NO_BLOCK
        self.address: tuple[Any, ...] | None = None
        self.children = 0  # leases whose parent this is
        self.process: ProcessId | None = None

    @property
    def has(self) -> Resources:
        """What it holds and has not lent."""
        return tuple((name, units) for name, units in self.holds if not (self.lent and name == "CPU"))


class Ledger:
    """Law: on every node ``free = total - what its leases hold and have not lent``; so it is with each GPU."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.leases: dict[LeaseId, Lease] = {}
        self.active: Counter[ProcessId] = Counter()  # leases that hold something and have not lent it, by job
        # What can be asked back: granted lanes that are not lent, by holder and spec.
        self.holders: dict[tuple[ProcessId, Spec], set[LeaseId]] = {}
        self.full = 0  # nodes that take no lane more
        self._gone: dict[
            tuple[Resources, tuple[tuple[str, str], ...]], None
        ] = {}  # what nodes had that are gone

    def feasible(self, asks: Asks) -> bool:
        return any(node.could_fit(asks) for node in self.nodes.values())

    def was_feasible(self, asks: Asks) -> bool:
        """A node that is gone could hold it; such a one may come again."""
        return any(meets(dict(totals), dict(labels), asks) for totals, labels in self._gone)

    def add(self, node: Node) -> None:
        self.nodes[node.id] = node
        self.full += node.full

    def remove(self, node: Node) -> None:
        """It has no lease any more."""
        del self.nodes[node.id]
        self.full -= node.full
        labels = {name: value for name, value in node.labels.items() if name != NODE_ID}
        self._gone[tuple(sorted(node.totals.items())), tuple(sorted(labels.items()))] = None
        if len(self._gone) > _KINDS:
            del self._gone[next(iter(self._gone))]

    def resize(self, node: Node, cpus: int) -> None:
        """A node has so many units of CPU from now on, and perhaps fewer than its leases hold."""
        node.free["CPU"] = node.free.get("CPU", 0) + cpus - node.totals.get("CPU", 0)
        node.totals["CPU"] = cpus

    def choose(self, asks: Asks, barred: NodeId | None, lane: bool = True) -> Node | None:
        """The node with the most room for it; a node with GPUs last if none is asked for.

        Args:
            lane: it is a lane, of which a node takes only so many.
        """
        gpu = any(name == "GPU" for name, _ in asks.resources)
        best: Node | None = None
        best_score: tuple[bool, float, int] | None = None
        for node in self.nodes.values():
            if node.id == barred or (lane and node.full) or not node.fits(asks):
                continue
            score = (not gpu and node.totals.get("GPU", 0) > 0, -node.room_after(asks), len(node.leases))
            if best_score is None or score < best_score:
                best, best_score = node, score
        return best

    def open(self, lease: Lease) -> None:
        self.leases[lease.id] = lease
        lease.node.leases.add(lease.id)
        self._count(lease, 1)
        parent = self.parent_of(lease)
        if parent is not None:
            parent.children += 1
        gpus = dict(lease.holds).get("GPU")
        if gpus:
            lease.gpus = lease.node.pick_gpus(gpus)
            self._use_gpus(lease, lease.share)
        self._take(lease)

    def close(self, lease: Lease) -> None:
        self._release(lease)
        self._use_gpus(lease, -lease.share)
        del self.leases[lease.id]
        lease.node.leases.discard(lease.id)
        self._count(lease, -1)
        parent = self.parent_of(lease)
        if parent is not None:
            parent.children -= 1

    def parent_of(self, lease: Lease) -> Lease | None:
        return self.leases.get(lease.parent) if lease.parent is not None else None

    def _count(self, lease: Lease, n: int) -> None:
        if lease.actor is None:
            node = lease.node
            self.full -= node.full
            node.lanes += n
            self.full += node.full

    def lend(self, lease: Lease) -> None:
        """Others may have its CPUs."""
        self._release(lease)
        lease.lent = True
        self._take(lease)

    def unlend(self, lease: Lease) -> None:
        """It has its CPUs again, even if that is more than there are."""
        self._release(lease)
        lease.lent = False
        self._take(lease)

    def _use_gpus(self, lease: Lease, units: int) -> None:
        for index in lease.gpus:
            lease.node.gpus[index] -= units

    def _take(self, lease: Lease) -> None:
        free = lease.node.free
        for name, units in lease.has:
            free[name] = free.get(name, 0) - units
        if lease.holds and not lease.lent:
            self.active[lease.job] += 1
        if lease.granted:
            self.list_holder(lease)

    def _release(self, lease: Lease) -> None:
        free = lease.node.free
        for name, units in lease.has:
            free[name] += units
        if lease.holds and not lease.lent:
            self.active[lease.job] -= 1
            if not self.active[lease.job]:
                del self.active[lease.job]
        leases = self.holders.get((lease.owner, lease.spec))
        if leases is not None:
            leases.discard(lease.id)
            if not leases:
                del self.holders[lease.owner, lease.spec]

    def list_holder(self, lease: Lease) -> None:
        if lease.actor is None and not lease.lent:
            self.holders.setdefault((lease.owner, lease.spec), set()).add(lease.id)

    def totals(self) -> dict[str, int]:
        return add_up(node.totals for node in self.nodes.values())

    def available(self) -> dict[str, int]:
        free = add_up(
            {name: max(units, 0) for name, units in node.free.items()} for node in self.nodes.values()
        )
        return {name: units for name, units in free.items() if units}

    def validate(self) -> None:
        active: Counter[ProcessId] = Counter()
        children: Counter[LeaseId | None] = Counter(lease.parent for lease in self.leases.values())
        holders: dict[tuple[ProcessId, Spec], set[LeaseId]] = {}
        for lease in self.leases.values():
            assert self.nodes[lease.node.id] is lease.node
            assert lease.id in lease.node.leases
            assert lease.children == children[lease.id]
            active[lease.job] += bool(lease.holds) and not lease.lent
            if lease.granted and not lease.lent and lease.actor is None:
                holders.setdefault((lease.owner, lease.spec), set()).add(lease.id)
        assert self.active == +active
        assert self.holders == holders
        assert self.full == sum(node.full for node in self.nodes.values())
        for node in self.nodes.values():
            assert node.lanes == sum(self.leases[id_].actor is None for id_ in node.leases) <= node.most
            held = add_up(dict(self.leases[id_].has) for id_ in node.leases)
            for name in {*node.totals, *node.free, *held}:
                assert node.free.get(name, 0) == node.totals.get(name, 0) - held.get(name, 0), (name, node.id)
            gpus = shares(node.totals.get("GPU", 0))
            for lease in (self.leases[id_] for id_ in node.leases):
                wanted = dict(lease.holds).get("GPU", 0)
                assert len(set(lease.gpus)) == -(-wanted // RESOURCE_UNIT)
                for index in lease.gpus:
                    gpus[index] -= lease.share
            assert node.gpus == gpus
            assert min(gpus, default=0) >= 0


def shares(gpus: int) -> list[int]:
    """So many units of GPUs, by GPU: a whole one each, and the last one what remains."""
    return [min(RESOURCE_UNIT, gpus - before) for before in range(0, gpus, RESOURCE_UNIT)]


def add_up(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def readable(resources: Iterable[tuple[str, int]]) -> str:
    """``{CPU: 2, GPU: 0.5}`` for an error's text."""
    return (
        "{" + ", ".join(f"{name}: {amount(name, units)}" for name, units in sorted(resources) if units) + "}"
    )


def meets(totals: Mapping[str, int], labels: Mapping[str, str], asks: Asks) -> bool:
    return matches(labels, asks.where) and all(totals.get(name, 0) >= n for name, n in asks.resources)


def supplied(nodes: Iterable[tuple[Mapping[str, int], Mapping[str, str]]], asks: Asks) -> str:
    """What nodes have, (totals, labels) each, for a text about what is asked for.

    That a node has itself, and its labels, is told only where that matters.
    """
    pinned = any(name.startswith(NODE_ITSELF) for name, _ in asks.resources)
    ruled = {label for label, _, _ in asks.where}

    def one(totals: Mapping[str, int], labels: Mapping[str, str]) -> str:
        text = readable((name, n) for name, n in totals.items() if pinned or not name.startswith(NODE_ITSELF))
        if not ruled:
            return text
        shown = sorted((name, value) for name, value in labels.items() if name in ruled or name != NODE_ID)
        return f"{text} and labels " + "{" + ", ".join(f"{name}: {value}" for name, value in shown) + "}"

    kinds = sorted({one(*node) for node in nodes})
    more = [f"{len(kinds) - _TOLD} others"] if len(kinds) > _TOLD else []
    return ", ".join(kinds[:_TOLD] + more)


def amount(name: str, units: int) -> str:
    """``0.5``, or of memory ``1.5 GiB``."""
    whole = units / RESOURCE_UNIT
    return f"{whole / (1 << 30):.3g} GiB" if name.endswith("memory") else f"{whole:g}"
