"""Who gets which lease, where, and in which order."""

from __future__ import annotations

import pytest
from core.placement_support import DRIVER, OTHER, A, B, Pool, process, spec, units

from nbray.core.effects import End, Place
from nbray.core.messages import RESOURCE_UNIT
from nbray.core.placement import PATIENCE


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
