"""Leases of actors, and what follows when executors and nodes are lost."""

from __future__ import annotations

from typing import Any

from core.placement_support import DRIVER, A, Pool, spec, units

from nbray.core.effects import ActorLost, End


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
