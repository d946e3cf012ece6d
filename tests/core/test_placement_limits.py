"""What no node can hold, and what no node has a process for."""

from __future__ import annotations

from core.placement_support import DRIVER, OTHER, A, B, Pool, process, spec, units

from nbray.core.effects import ActorLost, Place
from nbray.core.impasse import GRACE, LONG_GRACE
from nbray.core.ledger import Block, readable
from nbray.core.messages import RESOURCE_UNIT
from nbray.core.placement import PATIENCE
from nbray.core.sizes import SPARE


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


def test_amounts_of_memory_are_told_in_gibibytes():
    gibibyte = (1 << 30) * RESOURCE_UNIT
    resources = (("CPU", RESOURCE_UNIT // 2), ("memory", gibibyte), ("object_store_memory", 2 * gibibyte))
    assert readable(resources) == "{CPU: 0.5, memory: 1 GiB, object_store_memory: 2 GiB}"
