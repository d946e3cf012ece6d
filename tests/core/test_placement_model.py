"""Placement against a naive model, which knows only sums."""

from __future__ import annotations

from typing import Any

from core.placement_support import DRIVER, OTHER, process, spec, units
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.core.effects import End, Place, Recheck, Resized, Tell
from nbray.core.messages import RESOURCE_UNIT
from nbray.core.placement import Placement


class AgainstTheModel(RuleBasedStateMachine):
    """The model knows only sums: totals, what every lease holds, who wants how much."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Placement()
        self.totals: dict[bytes, dict[str, int]] = {}
        self.leases: dict[int, Place] = {}
        self.granted: set[int] = set()
        self.lent: set[int] = set()
        self.wanted: dict[tuple[bytes, Any], int] = {}
        self.actors: dict[bytes, tuple[Any, Any]] = {}
        self.dead: set[int] = set()
        self.most: dict[bytes, int] = {}
        self.zones: dict[bytes, str] = {}
        self.cpus: dict[bytes, tuple[int, int]] = {}
        self.later: list[Any] = []
        self.next = 0

    SPECS = (
        spec(1), spec(0.5), spec(2), spec(1, GPU=1), spec(1, GPU=0.5), spec(0, GPU=2), spec(0),
        spec(1, {"zone": "in(a,b)"}), spec(2, {"zone": "!a"}), spec(0.5, {"zone": "a"}), spec(1, {"zone": "a"}, GPU=0.5),
    )  # fmt: skip

    def free(self, node: bytes) -> dict[str, int]:
        free = dict(self.totals[node])
        for lease, place in self.leases.items():
            if place.node == node:
                for name, n in place.spec[0]:
                    if name != "CPU" or lease not in self.lent:
                        free[name] = free.get(name, 0) - n
        return free

    def fits(self, asks: Any, node: bytes) -> bool:
        free = self.free(node)
        gpus = dict(asks[0]).get("GPU", 0)
        return (
            all(
                self.zones[node] in zones if not barred else self.zones[node] not in zones
                for _, barred, zones in asks[2]
            )
            and all(free.get(name, 0) >= n for name, n in asks[0] if n)
            and sum(left >= min(gpus, RESOURCE_UNIT) for left in self.free_of_gpus(node)) * RESOURCE_UNIT
            >= gpus
        )

    def lanes(self, node: bytes) -> int:
        return sum(place.node == node and place.actor is None for place in self.leases.values())

    def free_of_gpus(self, node: bytes) -> list[int]:
        """What nobody has of each GPU."""
        free = [RESOURCE_UNIT] * (self.totals[node].get("GPU", 0) // RESOURCE_UNIT)
        for place in self.leases.values():
            for index in place.gpus if place.node == node else ():
                free[index] -= min(dict(place.spec[0])["GPU"], RESOURCE_UNIT)
        return free

    def on_way(self, owner: bytes, shape: Any) -> int:
        """Lanes placed and not granted."""
        placed = [place for lease, place in self.leases.items() if lease not in self.granted]
        return sum(place.actor is None and (place.owner, place.spec) == (owner, shape) for place in placed)

    def settle(self) -> None:
        for effect in self.machine.drain():
            if isinstance(effect, Place):
                asks = self.actors[effect.actor][0] if effect.actor else effect.spec
                assert effect.lease not in self.dead
                assert effect.lease not in self.leases
                assert self.fits(asks, effect.node)
                self.leases[effect.lease] = effect
                if effect.actor is None:
                    assert self.on_way(effect.owner, effect.spec) <= self.wanted[effect.owner, effect.spec]
            elif isinstance(effect, End):
                place = self.leases.pop(effect.lease)
                self.dead.add(effect.lease)
                self.lent.discard(effect.lease)
                self.granted.discard(effect.lease)
                if place.actor is not None:
                    self.actors.pop(place.actor, None)
            elif isinstance(effect, Recheck):
                self.later.append(effect.event)
            elif isinstance(effect, Resized):
                if effect.node in self.totals:
                    cpus = self.machine.ledger.nodes[effect.node].totals["CPU"]
                    least, most = self.cpus[effect.node]
                    assert least <= cpus <= most
                    self.totals[effect.node] = {**self.totals[effect.node], "CPU": cpus}
            elif isinstance(effect, Tell) and effect.message[0] in ("infeasible", "full"):
                key = effect.to, effect.message[1]
                self.wanted[key] = self.on_way(*key)
        self.machine.validate()

    @precondition(lambda self: self.later)
    @rule(grows=st.booleans())
    def recheck(self, grows: bool) -> None:
        self.machine.grows = grows
        self.machine.recheck(self.later.pop(0))
        self.settle()

    @rule(
        cpus=st.integers(1, 4),
        gpus=st.integers(0, 2),
        most=st.integers(1, 5),
        zone=st.sampled_from(["", "a", "b"]),
    )
    def add_node(self, cpus: int, gpus: int, most: int, zone: str) -> None:
        self.next += 1
        node = self.next.to_bytes(2, "big")
        self.totals[node] = units(CPU=cpus, GPU=gpus)
        self.most[node] = most
        self.zones[node] = zone
        self.machine.add_node(node, self.totals[node], {"zone": zone} if zone else {}, most=most)
        self.settle()

    @precondition(lambda self: self.totals)
    @rule(data=st.data(), least=st.integers(0, 4), more=st.integers(0, 3))
    def resize(self, data: Any, least: int, more: int) -> None:
        node = data.draw(st.sampled_from(sorted(self.totals)))
        self.cpus[node] = (least * RESOURCE_UNIT, (least + more) * RESOURCE_UNIT)
        self.machine.resize(node, *self.cpus[node])
        self.settle()

    @precondition(lambda self: self.totals)
    @rule(data=st.data())
    def remove_node(self, data: Any) -> None:
        node = data.draw(st.sampled_from(sorted(self.totals)))
        self.machine.remove_node(node, "gone")
        del self.totals[node]
        self.settle()
        assert all(place.node != node for place in self.leases.values())

    @rule(data=st.data(), shape=st.sampled_from(SPECS), n=st.integers(0, 4))
    def want(self, data: Any, shape: Any, n: int) -> None:
        owners = [DRIVER, OTHER, *(process(lease) for lease in self.granted)]
        owner = data.draw(st.sampled_from(owners))
        parent = int.from_bytes(owner[4:], "big") if owner.startswith(b"exec") else None
        self.wanted[owner, shape] = max(n, self.on_way(owner, shape))
        self.machine.want(owner, shape, n, parent)
        self.settle()

    @rule(asks=st.sampled_from(SPECS), keeps=st.booleans())
    def want_actor(self, asks: Any, keeps: bool) -> None:
        self.next += 1
        actor = self.next.to_bytes(4, "big")
        holds = asks if keeps else spec(0)
        self.actors[actor] = (asks, holds)
        self.machine.want_actor(DRIVER, actor, 0, asks, holds)
        self.settle()

    @precondition(lambda self: self.actors)
    @rule(data=st.data())
    def end_actor(self, data: Any) -> None:
        actor = data.draw(st.sampled_from(sorted(self.actors)))
        self.machine.end_actor(actor)
        self.actors.pop(actor)
        self.settle()

    @precondition(lambda self: set(self.leases) - self.granted)
    @rule(data=st.data())
    def grant(self, data: Any) -> None:
        lease = data.draw(st.sampled_from(sorted(set(self.leases) - self.granted)))
        place = self.leases[lease]
        self.granted.add(lease)
        if place.actor is None:
            self.wanted[place.owner, place.spec] -= 1
        self.machine.granted(lease, (process(lease), place.node, "", ""))
        self.settle()

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def give(self, data: Any) -> None:
        lease = data.draw(st.sampled_from(sorted(self.granted)))
        place = self.leases[lease]
        self.machine.give(place.owner, lease)
        self.settle()
        assert (lease in self.leases) == (place.actor is not None)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), back=st.booleans())
    def lend(self, data: Any, back: bool) -> None:
        lease = data.draw(st.sampled_from(sorted(self.granted)))
        if self.leases[lease].actor is None:
            (self.lent.discard if back else self.lent.add)(lease)
        (self.machine.unlend if back else self.machine.lend)(process(lease), lease)
        self.settle()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def exit(self, data: Any) -> None:
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        owner = process(lease)
        self.machine.exited(lease, ("exit", "", 0, 1, ""))
        self.machine.process_gone(owner)
        self.wanted = {key: n for key, n in self.wanted.items() if key[0] != owner}
        self.settle()
        assert all(place.actor is not None or place.owner != owner for place in self.leases.values())

    @invariant()
    def nobody_waits_for_what_is_free(self) -> None:
        if self.machine._reservation is not None:
            return
        for (owner, shape), n in self.wanted.items():
            if n > self.on_way(owner, shape):
                open_ = [node for node in self.totals if self.lanes(node) < self.most[node]]
                assert not any(self.fits(shape, node) for node in open_), (owner, shape)

    def teardown(self) -> None:
        """With a node large enough and everybody giving back, all is served in the end."""
        for zone in "ab":
            self.add_node(4, 2, 5, zone)
        for _ in range(400):
            for lease in sorted(set(self.leases) - self.granted):
                place = self.leases[lease]
                self.granted.add(lease)
                if place.actor is None:
                    self.wanted[place.owner, place.spec] -= 1
                self.machine.granted(lease, (process(lease), place.node, "", ""))
                self.settle()
            for lease in sorted(self.granted):
                if self.leases[lease].actor is None:
                    self.machine.give(self.leases[lease].owner, lease)
                else:
                    self.machine.end_actor(self.leases[lease].actor)
                self.settle()
            if not self.leases:
                break
        assert not self.machine.demand()
        assert self.machine.ledger.available() == {k: v for k, v in self.machine.ledger.totals().items() if v}


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
