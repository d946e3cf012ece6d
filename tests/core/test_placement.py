"""Who gets which lease, where, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.core.effects import ActorLost, End, Place, Recheck, Resized, Tell
from nbray.core.impasse import GRACE, LONG_GRACE
from nbray.core.ledger import NO_LIMIT, Block, readable
from nbray.core.messages import RESOURCE_UNIT
from nbray.core.placement import PATIENCE, SPARE, Placement

DRIVER, OTHER = b"driver00", b"driver01"
A, B = b"node-a", b"node-b"


def spec(cpu: float = 1, **more: float) -> Any:
    resources = {"CPU": cpu, **more}
    return tuple(sorted((name, int(n * RESOURCE_UNIT)) for name, n in resources.items())), ()


def units(**resources: float) -> dict[str, int]:
    return {name: int(n * RESOURCE_UNIT) for name, n in resources.items()}


def process(lease: int) -> bytes:
    return b"exec" + lease.to_bytes(4, "big")


class Pool:
    """A placement whose nodes grant at once what they are given."""

    def __init__(self, *cpus: float, fixed: bool = False, grant: bool = True, most: int = NO_LIMIT) -> None:
        self.machine = Placement(fixed=fixed)
        self.grant = grant
        self.running: list[Place] = []
        self.told: list[tuple[bytes, Any]] = []
        self.now = 0.0
        self.later: list[tuple[float, Any]] = []
        for number, n in enumerate(cpus):
            self.machine.add_node(b"node-" + bytes([97 + number]), units(CPU=n), most=most)
        self.settle()

    def settle(self) -> list[Any]:
        """Carry out effects until there are none; returns them."""
        done: list[Any] = []
        while effects := self.machine.drain():
            self.machine.validate()
            done += [effect for effect in effects if not isinstance(effect, Recheck)]
            for effect in effects:
                if isinstance(effect, Place):
                    self.running.append(effect)
                    if self.grant:
                        self.machine.granted(effect.lease, (process(effect.lease), effect.node, "", ""))
                elif isinstance(effect, End):
                    self.running = [place for place in self.running if place.lease != effect.lease]
                elif isinstance(effect, Tell):
                    self.told.append((effect.to, effect.message))
                elif isinstance(effect, Recheck):
                    self.later.append((self.now + effect.seconds, effect.event))
        return done

    def pass_time(self, seconds: float = 60.0) -> list[Any]:
        """What is due within that time is looked at again; the effects of it."""
        end = self.now + seconds
        done: list[Any] = []
        while self.later and (due := min(self.later, key=lambda each: each[0]))[0] <= end:
            self.later.remove(due)
            self.now = due[0]
            self.machine.recheck(due[1])
            done += self.settle()
        self.now = end
        return done

    @property
    def cpus(self) -> float:
        """Of node A, whether or not they are free."""
        return self.machine.ledger.nodes[A].totals["CPU"] / RESOURCE_UNIT

    def want(self, owner: bytes, n: int, shape: Any = None, parent: int | None = None) -> list[int]:
        """The leases that were placed because of it."""
        self.machine.want(owner, shape or spec(), n, parent)
        return [effect.lease for effect in self.settle() if isinstance(effect, Place)]

    def messages(self, owner: bytes, kind: str) -> list[Any]:
        return [message for to, message in self.told if to == owner and message[0] == kind]

    @property
    def free(self) -> dict[str, float]:
        return {name: n / RESOURCE_UNIT for name, n in self.machine.ledger.available().items()}


def test_a_want_is_granted_as_far_as_there_is_room() -> None:
    pool = Pool(2)
    assert len(pool.want(DRIVER, 3)) == 2
    assert len(pool.messages(DRIVER, "granted")) == 2
    assert pool.free == {}


def test_a_granted_message_names_lease_spec_and_address() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    assert pool.messages(DRIVER, "granted") == [("granted", lease, spec(), (process(lease), A, "", ""))]


def test_a_lease_that_is_given_goes_to_who_waits() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    assert pool.want(OTHER, 1) == []
    pool.machine.give(DRIVER, lease)
    effects = pool.settle()
    assert End(lease, A, False) in effects
    assert [e.owner for e in effects if isinstance(e, Place)] == [OTHER]


def test_only_its_owner_can_give_a_lease() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    pool.machine.give(OTHER, lease)
    assert pool.settle() == []


def test_a_want_is_absolute() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 5)
    pool.want(DRIVER, 1)
    pool.machine.give(DRIVER, lease)
    pool.settle()
    pool.machine.give(DRIVER, pool.running[0].lease)
    pool.settle()
    assert pool.running == []


def test_a_want_repeated_while_it_is_being_placed_is_not_placed_twice() -> None:
    pool = Pool(4, grant=False)
    assert len(pool.want(DRIVER, 2)) == 2
    assert pool.want(DRIVER, 2) == []
    assert len(pool.want(DRIVER, 3)) == 1


def test_leases_are_spread_over_the_nodes_by_room() -> None:
    pool = Pool(2, 4)
    pool.want(DRIVER, 6)
    nodes = [place.node for place in pool.running]
    assert nodes.count(A) == 2
    assert nodes.count(B) == 4
    assert nodes[:3].count(A) == 1


def test_a_node_with_gpus_is_the_last_choice_for_who_needs_none() -> None:
    pool = Pool(1)
    pool.machine.add_node(B, units(CPU=8, GPU=1))
    pool.want(DRIVER, 2)
    assert [place.node for place in pool.running] == [A, B]


def test_fractions_share_a_cpu() -> None:
    pool = Pool(1)
    assert len(pool.want(DRIVER, 20, spec(0.1))) == 10


def test_a_new_node_serves_who_waits() -> None:
    pool = Pool()
    assert pool.want(DRIVER, 1) == []
    pool.machine.add_node(A, units(CPU=1))
    pool.settle()
    assert len(pool.running) == 1


# --- fairness ------------------------------------------------------------------------------------------------------
def test_a_freed_slot_goes_to_the_job_with_the_fewest_leases() -> None:
    pool = Pool(4)
    leases = pool.want(DRIVER, 10)
    pool.want(OTHER, 10)
    for lease in leases[:2]:
        pool.machine.give(DRIVER, lease)
        pool.settle()
    assert sorted(place.owner for place in pool.running) == [DRIVER, DRIVER, OTHER, OTHER]


def test_specs_of_one_owner_take_turns() -> None:
    pool = Pool(1)
    pool.want(DRIVER, 10, spec(1))
    pool.want(DRIVER, 10, spec(0.5))
    order = []
    for _ in range(4):
        for place in list(pool.running):
            order.append(place.spec)
            pool.machine.give(DRIVER, place.lease)
        pool.settle()
    assert set(order) == {spec(1), spec(0.5)}


def test_a_large_want_does_not_starve_behind_small_ones() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 1000, spec(1))
    pool.want(OTHER, 1, spec(2))
    for _ in range(2 * PATIENCE + 4):
        pool.machine.give(DRIVER, next(p.lease for p in pool.running if p.owner == DRIVER))
        pool.settle()
        if any(place.owner == OTHER for place in pool.running):
            return
    pytest.fail("the large want was never served")


def test_children_pass_a_reservation_because_it_may_wait_for_their_parent() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 1000, spec(1))
    pool.want(OTHER, 1, spec(2))
    while len(pool.running) == 2:  # until the node is reserved
        pool.machine.give(DRIVER, pool.running[0].lease)
        pool.settle()
    parent = pool.running[0].lease
    child = process(parent)
    assert pool.want(DRIVER, 1, spec(0.5)) == []
    pool.machine.want(child, spec(), 1, parent)
    pool.machine.lend(child, parent)
    placed = [e for e in pool.settle() if isinstance(e, Place)]
    assert [place.owner for place in placed] == [child]


# --- lending -------------------------------------------------------------------------------------------------------
def test_a_lent_slot_goes_to_the_borrowers_own_children_first() -> None:
    pool = Pool(1)
    (parent,) = pool.want(DRIVER, 1)
    pool.want(OTHER, 5)
    pool.machine.want(process(parent), spec(), 2, parent)
    pool.machine.lend(process(parent), parent)
    placed = [e for e in pool.settle() if isinstance(e, Place)]
    assert [place.owner for place in placed] == [process(parent)]


def test_only_one_child_has_a_claim_to_a_lent_slot() -> None:
    pool = Pool(2)
    first, second = pool.want(DRIVER, 2)
    pool.want(OTHER, 5)
    pool.machine.want(process(first), spec(), 5, first)
    pool.machine.lend(process(first), first)
    pool.settle()
    pool.machine.give(DRIVER, second)
    placed = [e for e in pool.settle() if isinstance(e, Place)]
    assert [place.owner for place in placed] == [OTHER]


def test_recursion_64_deep_on_one_cpu_needs_one_process_a_level() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    pool.want(DRIVER, 100)
    for _ in range(64):
        parent = lease
        pool.machine.want(process(parent), spec(), 1, parent)
        pool.machine.lend(process(parent), parent)
        (place,) = [e for e in pool.settle() if isinstance(e, Place)]
        assert place.owner == process(parent)
        lease = place.lease
    assert len(pool.running) == 65


def test_a_tree_is_finished_before_it_is_widened() -> None:
    """Ten blocked parents would need ten times the processes if every freed slot started another root."""
    pool = Pool(2)
    roots = pool.want(DRIVER, 10)
    for root in roots:
        pool.machine.want(process(root), spec(), 3, root)
        pool.machine.lend(process(root), root)
    pool.settle()
    for _ in range(4):
        child = next(p for p in pool.running if p.owner != DRIVER)
        pool.machine.give(child.owner, child.lease)
        pool.settle()
        assert sum(p.owner == DRIVER for p in pool.running) == 2


def test_unlend_takes_back_at_once_even_beyond_the_total() -> None:
    pool = Pool(1)
    (parent,) = pool.want(DRIVER, 1)
    pool.machine.lend(process(parent), parent)
    pool.want(OTHER, 1)
    pool.machine.unlend(process(parent), parent)
    pool.settle()
    assert pool.machine.ledger.nodes[A].free == {"CPU": -RESOURCE_UNIT}
    pool.machine.give(DRIVER, parent)
    assert [e for e in pool.settle() if isinstance(e, Place)] == []


def test_a_lent_lease_keeps_all_but_its_cpus() -> None:
    pool = Pool()
    pool.machine.add_node(A, units(CPU=1, GPU=1, x=1))
    (parent,) = pool.want(DRIVER, 1, spec(1, GPU=1, x=1))
    pool.machine.lend(process(parent), parent)
    assert pool.machine.ledger.available() == units(CPU=1)
    assert pool.want(process(parent), 1, spec(1, GPU=1), parent=parent) == []
    pool.machine.unlend(process(parent), parent)
    assert pool.machine.ledger.available() == {}
    pool.machine.give(DRIVER, parent)
    (child,) = [e for e in pool.settle() if isinstance(e, Place)]
    assert child.gpus == (0,)


# --- GPUs ----------------------------------------------------------------------------------------------------------
def gpu_pool(gpus: float) -> Pool:
    pool = Pool()
    pool.machine.add_node(A, units(CPU=8, GPU=gpus))
    return pool


def gpus_of(pool: Pool, *shares: float) -> list[tuple[int, ...]]:
    """Want a lease with each so many GPUs; those of all that run."""
    for share in shares:
        pool.want(DRIVER, 1, spec(0, GPU=share))
    return [place.gpus for place in pool.running]


def test_whole_gpus_are_nobody_elses() -> None:
    assert gpus_of(gpu_pool(3), 1, 2) == [(0,), (1, 2)]


def test_shares_of_one_gpu_lie_on_the_fullest_that_has_room() -> None:
    assert gpus_of(gpu_pool(3), 0.5, 1, 0.75, 0.5, 0.25) == [(0,), (1,), (2,), (0,), (2,)]


def test_a_whole_gpu_is_not_put_together_of_shares() -> None:
    pool = gpu_pool(2)
    assert gpus_of(pool, 0.75, 0.75, 1) == [(0,), (1,)]
    pool.machine.give(DRIVER, pool.running[0].lease)
    pool.settle()
    assert [place.gpus for place in pool.running] == [(1,), (0,)]


def test_a_share_is_not_put_together_of_what_two_gpus_have_left() -> None:
    assert gpus_of(gpu_pool(2), 0.75, 0.75, 0.5) == [(0,), (1,)]


def test_the_last_gpu_may_be_a_share() -> None:
    assert gpus_of(gpu_pool(1.5), 0.5, 1, 0.5) == [(1,), (0,)]


def test_a_lease_that_needs_no_gpu_has_none() -> None:
    pool = gpu_pool(1)
    pool.want(DRIVER, 1)
    assert [place.gpus for place in pool.running] == [()]


def test_an_actors_gpu_goes_to_the_next_when_it_ends() -> None:
    pool = gpu_pool(1)
    pool.machine.want_actor(DRIVER, b"actor", 0, spec(1, GPU=1), spec(0, GPU=1))
    pool.settle()
    assert gpus_of(pool, 1) == [(0,)]
    pool.machine.end_actor(b"actor")
    pool.settle()
    assert [(place.actor, place.gpus) for place in pool.running] == [(None, (0,))]


def test_strangers_cannot_lend_a_lease() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    pool.machine.lend(OTHER, lease)
    assert pool.want(OTHER, 1) == []


def test_a_lent_lease_that_ends_leaves_its_waiting_children_in_the_queue() -> None:
    pool = Pool(1)
    (parent,) = pool.want(DRIVER, 1)
    pool.machine.want(process(parent), spec(2), 1, parent)
    pool.machine.want(process(parent), spec(1), 1, parent)
    pool.settle()
    pool.machine.give(DRIVER, parent)
    placed = [e for e in pool.settle() if isinstance(e, Place)]
    assert [(place.owner, place.spec) for place in placed] == [(process(parent), spec(1))]


# --- asking back ---------------------------------------------------------------------------------------------------
def test_a_holder_without_backlog_is_asked_once_for_what_others_lack() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 2)
    pool.want(OTHER, 1)
    pool.want(OTHER, 1)
    assert pool.messages(DRIVER, "reclaim") == [("reclaim", 1)]
    pool.want(OTHER, 2)
    assert pool.messages(DRIVER, "reclaim") == [("reclaim", 1), ("reclaim", 2)]


def test_a_holder_is_told_when_nobody_waits_any_more() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 2)
    pool.want(OTHER, 1)
    pool.want(OTHER, 0)
    assert pool.messages(DRIVER, "reclaim") == [("reclaim", 1), ("reclaim", 0)]


def test_the_same_owner_is_asked_for_another_shape() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 2)
    pool.want(DRIVER, 1, spec(2))
    assert pool.messages(DRIVER, "reclaim") == [("reclaim", 2)]


def test_two_busy_owners_with_equal_shares_are_left_alone() -> None:
    pool = Pool(2)
    pool.machine.want(DRIVER, spec(), 100)
    pool.machine.want(OTHER, spec(), 100)
    pool.settle()
    assert [pool.messages(owner, "reclaim") for owner in (DRIVER, OTHER)] == [[], []]


def test_a_busy_owner_yields_to_who_has_nothing() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 100)
    pool.want(OTHER, 100)
    assert pool.messages(DRIVER, "reclaim") == [("reclaim", 1)]


def test_nobody_is_asked_for_what_would_not_help() -> None:
    pool = Pool(1)
    pool.machine.add_node(B, units(GPU=1))
    pool.want(DRIVER, 1)
    pool.want(OTHER, 2, spec(0, GPU=1))
    assert pool.messages(DRIVER, "reclaim") == []


# --- what can never be ---------------------------------------------------------------------------------------------
def test_a_fixed_pool_says_what_was_asked_and_what_there_is() -> None:
    pool = Pool(2, fixed=True)
    pool.want(DRIVER, 1, spec(8))
    ((_, shape, text),) = pool.messages(DRIVER, "infeasible")
    assert shape == spec(8)
    assert "{CPU: 8}" in text
    assert "{CPU: 2}" in text


def test_a_pool_that_grows_waits_instead_and_says_so_once() -> None:
    pool = Pool(2)
    pool.machine.grows = True
    pool.want(DRIVER, 1, spec(8))
    pool.want(process(7), 1, spec(8))
    pool.pass_time()
    assert pool.messages(DRIVER, "infeasible") == []
    ((_, shape, actor, text),) = pool.messages(DRIVER, "unmet")
    assert (shape, actor) == (spec(8), None)
    assert "{CPU: 8}" in text
    assert "{CPU: 2}" in text
    pool.machine.add_node(B, units(CPU=8))
    pool.settle()
    assert [place.node for place in pool.running] == [B]


def test_on_a_cluster_that_does_not_grow_the_request_fails_after_a_while() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 1, spec(8))
    pool.machine.want_actor(DRIVER, b"actor", 0, spec(9), spec(9))
    assert pool.settle() == []
    assert pool.messages(DRIVER, "infeasible") == []
    done = pool.pass_time()
    ((_, shape, text),) = pool.messages(DRIVER, "infeasible")
    assert shape == spec(8)
    assert "{CPU: 2}" in text
    assert [effect.actor for effect in done if isinstance(effect, ActorLost)] == [b"actor"]
    assert pool.machine.demand() == {}


def test_a_request_that_a_node_meets_meanwhile_is_not_refused() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 1, spec(8))
    pool.machine.add_node(B, units(CPU=8))
    pool.settle()
    pool.pass_time()
    assert pool.messages(DRIVER, "infeasible") == pool.messages(DRIVER, "unmet") == []


def test_what_a_node_that_is_gone_could_hold_waits_for_it_to_come_back() -> None:
    pool = Pool(2, 8)
    pool.machine.remove_node(B, "killed")
    pool.want(DRIVER, 1, spec(8))
    pool.pass_time()
    assert pool.messages(DRIVER, "infeasible") == []
    assert len(pool.messages(DRIVER, "unmet")) == 1


def test_a_node_that_grows_takes_what_waits() -> None:
    pool = Pool(1)
    assert len(pool.want(DRIVER, 3)) == 1
    pool.machine.resize(A, 3 * RESOURCE_UNIT, 3 * RESOURCE_UNIT)
    assert len([effect for effect in pool.settle() if isinstance(effect, Place)]) == 2
    assert pool.free == {}


def test_of_a_node_that_shrinks_leases_are_asked_back_and_none_is_taken() -> None:
    pool = Pool(3)
    leases = pool.want(DRIVER, 3)
    pool.machine.resize(A, RESOURCE_UNIT, RESOURCE_UNIT)
    pool.settle()
    assert len(pool.running) == 3
    assert pool.messages(DRIVER, "reclaim")[-1] == ("reclaim", 2)
    pool.machine.give(DRIVER, leases[0])
    pool.settle()
    assert pool.want(OTHER, 1) == []
    pool.machine.give(DRIVER, leases[1])
    pool.machine.give(DRIVER, leases[2])
    assert len([effect for effect in pool.settle() if isinstance(effect, Place)]) == 1


def test_on_a_fixed_pool_that_shrinks_what_fits_nowhere_any_more_is_refused() -> None:
    pool = Pool(3, fixed=True)
    pool.want(DRIVER, 1)
    pool.want(OTHER, 1, spec(3))
    pool.machine.resize(A, 2 * RESOURCE_UNIT, 2 * RESOURCE_UNIT)
    pool.settle()
    ((_, _, text),) = pool.messages(OTHER, "infeasible")
    assert "asked for {CPU: 3}" in text
    assert "{CPU: 2}" in text


def test_a_node_that_may_have_more_gets_what_is_needed_and_no_more_than_its_most() -> None:
    pool = Pool(1)
    pool.machine.resize(A, RESOURCE_UNIT, 4 * RESOURCE_UNIT)
    assert len(pool.want(DRIVER, 1)) == 1
    assert pool.cpus == 1
    assert len(pool.want(DRIVER, 2)) == 2
    assert pool.cpus == 3
    assert len(pool.want(OTHER, 1, spec(2))) == 0
    assert pool.cpus == 4


def test_what_only_its_most_can_hold_is_placed_on_a_fixed_pool_and_more_is_refused() -> None:
    pool = Pool(1, fixed=True)
    pool.machine.resize(A, RESOURCE_UNIT, 4 * RESOURCE_UNIT)
    assert len(pool.want(DRIVER, 1, spec(4))) == 1
    assert pool.want(OTHER, 1, spec(5)) == []
    ((_, _, text),) = pool.messages(OTHER, "infeasible")
    assert "the pool's nodes have {CPU: 4}" in text


def test_it_loses_what_was_not_used_for_a_while() -> None:
    pool = Pool(1)
    pool.machine.resize(A, RESOURCE_UNIT, 4 * RESOURCE_UNIT)
    leases = pool.want(DRIVER, 4)
    for lease in leases[:3]:
        pool.machine.give(DRIVER, lease)
    pool.settle()
    (again,) = pool.want(DRIVER, 1)
    pool.machine.give(DRIVER, again)
    pool.settle()
    assert pool.cpus == 4
    pool.pass_time(SPARE)
    assert pool.cpus == 2  # so many were used at a time meanwhile
    pool.pass_time(SPARE)
    assert pool.cpus == 1
    pool.machine.give(DRIVER, leases[3])
    pool.settle()
    pool.pass_time(10 * SPARE)
    assert pool.cpus == 1


def test_fixed_again_it_has_what_it_is_told_to_have() -> None:
    pool = Pool(1)
    pool.machine.resize(A, RESOURCE_UNIT, 4 * RESOURCE_UNIT)
    pool.want(DRIVER, 4)
    pool.machine.resize(A, 2 * RESOURCE_UNIT, 2 * RESOURCE_UNIT)
    pool.settle()
    assert pool.cpus == 2
    pool.pass_time()
    assert pool.cpus == 2


def test_what_waits_when_its_only_node_goes_is_told_too() -> None:
    pool = Pool(2)
    pool.want(DRIVER, 3)
    pool.machine.remove_node(A, "killed")
    pool.settle()
    pool.pass_time()
    ((_, _, _, text),) = pool.messages(DRIVER, "unmet")
    assert "no node" in text


# --- processes -----------------------------------------------------------------------------------------------------
def block(
    pool: Pool, lease: int, name: str = "f", awaits: tuple[str, ...] = ("g",), certain: bool = True
) -> None:
    pool.machine.lend(process(lease), lease, Block(name, awaits, certain))
    pool.settle()


def test_a_node_takes_only_so_many_lanes() -> None:
    pool = Pool(4, most=2)
    assert len(pool.want(DRIVER, 3)) == 2
    assert pool.free == {"CPU": 2}


def test_actors_are_not_among_them() -> None:
    pool = Pool(4, most=1)
    pool.want(DRIVER, 1)
    for number in range(3):
        pool.machine.want_actor(DRIVER, bytes([number]), 0, spec(1), spec(1))
    pool.settle()
    assert len(pool.running) == 4


def test_who_is_kept_out_waits_while_a_task_is_at_work() -> None:
    pool = Pool(2, most=2)
    first, second = pool.want(DRIVER, 3)
    block(pool, first)
    pool.pass_time()
    assert pool.messages(DRIVER, "full") == []
    pool.machine.give(DRIVER, second)
    pool.settle()
    assert len(pool.running) == 2


def test_when_all_wait_the_next_hears_what_for() -> None:
    pool = Pool(2, most=2)
    first, second = pool.want(DRIVER, 3)
    block(pool, first, "walk", ("step", "turn"))
    block(pool, second, "hold", ("Gate.pass",))
    pool.pass_time()
    ((_, shape, text),) = pool.messages(DRIVER, "full")
    assert shape == spec()
    assert "at most 2" in text
    assert "walk waits for step and turn" in text
    assert "hold waits for Gate.pass" in text
    assert pool.machine.demand() == {}


def test_alike_waits_are_counted() -> None:
    pool = Pool(3, most=3)
    for lease in pool.want(DRIVER, 4):
        block(pool, lease)
    pool.pass_time()
    assert "3 × f waits for g" in pool.messages(DRIVER, "full")[0][2]


def test_children_of_those_that_wait_are_refused_first() -> None:
    pool = Pool(1, most=1)
    (lease,) = pool.want(DRIVER, 9)
    pool.want(process(lease), 1, spec(), lease)
    block(pool, lease)
    pool.pass_time(GRACE)
    assert pool.messages(DRIVER, "full") == []
    assert len(pool.messages(process(lease), "full")) == 1


def test_as_long_as_something_moves_nobody_is_refused() -> None:
    pool = Pool(2, most=2)
    first, second = pool.want(DRIVER, 3)
    block(pool, first)
    for _ in range(20):
        block(pool, second)
        pool.pass_time(GRACE / 2)
        pool.machine.unlend(process(second), second)
        pool.settle()
    assert pool.messages(DRIVER, "full") == []


def test_where_something_else_may_end_the_wait_it_takes_longer() -> None:
    pool = Pool(1, most=1)
    (lease,) = pool.want(DRIVER, 2)
    block(pool, lease, certain=False)
    pool.pass_time(LONG_GRACE / 2)
    assert pool.messages(DRIVER, "full") == []
    pool.pass_time(LONG_GRACE)
    assert len(pool.messages(DRIVER, "full")) == 1


def test_a_full_node_is_passed_over_for_one_that_is_not() -> None:
    pool = Pool(4, most=1)
    pool.machine.add_node(B, units(CPU=1))
    pool.want(DRIVER, 2)
    assert {place.node for place in pool.running} == {A, B}


def test_no_node_is_reserved_for_who_is_kept_out_by_its_processes() -> None:
    pool = Pool(8, most=1)
    (lease,) = pool.want(DRIVER, 2, spec(2))
    block(pool, lease)
    for number in range(PATIENCE + 2):
        pool.machine.want_actor(DRIVER, bytes([number]), 0, spec(1), spec(1))
    pool.settle()
    assert len(pool.running) == PATIENCE + 3


def test_an_actor_that_fits_nowhere_is_reported_as_lost() -> None:
    pool = Pool(2, fixed=True)
    pool.machine.want_actor(DRIVER, b"actor", 0, spec(8), spec(8))
    (lost,) = pool.settle()
    assert isinstance(lost, ActorLost)
    assert (lost.actor, lost.epoch, lost.loss[0]) == (b"actor", 0, "infeasible")


# --- actors --------------------------------------------------------------------------------------------------------
def test_a_default_actor_needs_a_cpu_to_be_placed_and_holds_none() -> None:
    pool = Pool(1)
    for number in range(5):
        pool.machine.want_actor(DRIVER, bytes([number]), 0, spec(1), spec(0))
    pool.settle()
    assert len(pool.running) == 5
    assert pool.free == {"CPU": 1}


def test_an_actor_waits_while_no_cpu_is_free_and_asks_for_one() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 100)
    pool.machine.want_actor(DRIVER, b"actor", 0, spec(1), spec(0))
    pool.settle()
    assert pool.messages(DRIVER, "reclaim") == [("reclaim", 1)]
    pool.machine.give(DRIVER, lease)
    pool.settle()
    assert {place.actor for place in pool.running} == {b"actor", None}


def test_an_actor_holds_what_it_asked_for_until_it_ends() -> None:
    pool = Pool(1)
    pool.machine.want_actor(DRIVER, b"actor", 3, spec(1), spec(1))
    pool.settle()
    assert pool.free == {}
    assert pool.running[0].epoch == 3
    pool.machine.end_actor(b"actor")
    assert [type(effect) for effect in pool.settle()] == [End]
    assert pool.free == {"CPU": 1}


def test_an_actor_that_waits_can_be_withdrawn() -> None:
    pool = Pool(1)
    pool.want(DRIVER, 1)
    pool.machine.want_actor(DRIVER, b"actor", 0, spec(1), spec(1))
    pool.settle()
    pool.machine.end_actor(b"actor")
    pool.machine.give(DRIVER, pool.running[0].lease)
    pool.settle()
    assert pool.running == []


def test_an_actors_exit_is_reported_with_its_epoch() -> None:
    pool = Pool(1)
    pool.machine.want_actor(DRIVER, b"actor", 2, spec(1), spec(0))
    pool.settle()
    loss = ("signal", "SIGKILL", 1, 9, "")
    pool.machine.exited(pool.running[0].lease, loss)
    assert ActorLost(b"actor", 2, loss) in pool.settle()


# --- losses --------------------------------------------------------------------------------------------------------
def test_a_lanes_exit_is_told_to_its_owner() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    loss = ("signal", "SIGSEGV", 1, 11, "")
    pool.machine.exited(lease, loss)
    pool.settle()
    assert pool.messages(DRIVER, "lost") == [("lost", lease, loss)]
    assert pool.free == {"CPU": 1}


def test_a_nodes_death_loses_its_leases_and_moves_what_was_on_its_way() -> None:
    pool = Pool(1, 1)
    first, second = pool.want(DRIVER, 2)
    gone = pool.running[0].node
    pool.machine.remove_node(gone, "its agent's connection broke")
    pool.settle()
    assert pool.messages(DRIVER, "lost") == [
        ("lost", first, ("node", "its agent's connection broke", 0, 0, ""))
    ]
    pool.grant = False
    pool.machine.give(DRIVER, second)
    (on_its_way,) = pool.want(DRIVER, 1)
    pool.machine.remove_node(pool.running[0].node, "")
    pool.settle()
    pool.machine.add_node(b"new", units(CPU=1))
    pool.settle()
    assert [(p.node, p.lease != on_its_way) for p in pool.running] == [(b"new", True)]


def test_a_lease_that_cannot_start_is_tried_again_and_then_reported() -> None:
    pool = Pool(1, grant=False)
    pool.want(DRIVER, 1)
    attempts = []
    while pool.running:
        attempts.append(pool.running[0].lease)
        pool.machine.exited(pool.running[0].lease, ("exit", "fork failed", 0, 1, ""))
        pool.settle()
    assert len(set(attempts)) == 3
    assert "fork failed" in pool.messages(DRIVER, "infeasible")[0][2]


def test_an_owners_death_frees_what_it_held_and_kills_its_lanes() -> None:
    pool = Pool(2)
    (lease,) = pool.want(DRIVER, 1)
    pool.want(DRIVER, 9, spec(4))
    pool.machine.process_gone(DRIVER)
    assert pool.settle() == [End(lease, A, True)]
    assert pool.free == {"CPU": 2}
    assert pool.machine.demand() == {}


def test_news_about_an_ended_lease_is_ignored() -> None:
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    pool.machine.give(DRIVER, lease)
    pool.settle()
    pool.machine.granted(lease, (b"late", A, "", ""))
    pool.machine.exited(lease, ("exit", "", 0, 0, ""))
    pool.machine.lend(DRIVER, lease)
    pool.machine.unlend(DRIVER, lease)
    pool.machine.give(DRIVER, lease)
    assert pool.settle() == []


def test_demand_says_what_waits() -> None:
    pool = Pool(1)
    pool.want(DRIVER, 3)
    pool.machine.want_actor(DRIVER, b"actor", 0, spec(2), spec(2))
    pool.settle()
    assert pool.machine.demand() == units(CPU=4)


def test_an_event_is_cheap_however_long_the_queue_is() -> None:
    """Counted in looks at wants, not in time."""
    pool = Pool(1)
    (lease,) = pool.want(DRIVER, 1)
    for number in range(2000):
        pool.machine.want_actor(DRIVER, number.to_bytes(4, "big"), 0, spec(1), spec(1))
    pool.machine.drain()
    looks = 0
    choose = pool.machine.ledger.choose

    def counting(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return choose(*args)

    pool.machine.ledger.choose = counting  # type: ignore[method-assign]
    pool.machine.give(DRIVER, lease)
    pool.machine.drain()
    assert looks <= 3


# --- against a naive model -----------------------------------------------------------------------------------------
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
        self.cpus: dict[bytes, tuple[int, int]] = {}
        self.later: list[Any] = []
        self.next = 0

    SPECS = (spec(1), spec(0.5), spec(2), spec(1, GPU=1), spec(1, GPU=0.5), spec(0, GPU=2), spec(0))

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
        return all(free.get(name, 0) >= n for name, n in asks[0] if n) and (
            sum(left >= min(gpus, RESOURCE_UNIT) for left in self.free_of_gpus(node)) * RESOURCE_UNIT >= gpus
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

    @rule(cpus=st.integers(1, 4), gpus=st.integers(0, 2), most=st.integers(1, 5))
    def add_node(self, cpus: int, gpus: int, most: int) -> None:
        self.next += 1
        node = self.next.to_bytes(2, "big")
        self.totals[node] = units(CPU=cpus, GPU=gpus)
        self.most[node] = most
        self.machine.add_node(node, self.totals[node], most=most)
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
        self.add_node(4, 2, 5)
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


def test_amounts_of_memory_are_told_in_gibibytes():
    gibibyte = (1 << 30) * RESOURCE_UNIT
    resources = (("CPU", RESOURCE_UNIT // 2), ("memory", gibibyte), ("object_store_memory", 2 * gibibyte))
    assert readable(resources) == "{CPU: 0.5, memory: 1 GiB, object_store_memory: 2 GiB}"
