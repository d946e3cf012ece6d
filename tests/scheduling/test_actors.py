"""Actors from creation to death, on a real scheduler with real workers."""

from __future__ import annotations

from typing import Any

from scheduling.world import FakeNode, World, run, spec

ACTOR = b"actor-id-0000001"
NOTHING: Any = ((), (), ())


async def create(world: World, node: FakeNode, **options: Any) -> int:
    """A living actor; answers its lease."""
    world.say("actor_new", ACTOR, spec(), b"creation", {"held": NOTHING, **options})
    lease = await placed(world, node)
    node.hosted(lease)
    assert (await world.hear("actor"))[2] == "alive"
    return lease


async def placed(world: World, node: FakeNode) -> int:
    before = set(node.ended)
    await world.until(lambda: set(node.leases) & set(node.actors) and set(node.ended) >= before)
    return max(node.actors)


@run
async def test_an_actor_is_alive_when_its_init_has_returned(world: World) -> None:
    node = await world.add_node()
    world.say("actor_new", ACTOR, spec(), b"creation", {"held": NOTHING})
    lease = await placed(world, node)
    assert node.actors[lease] == (ACTOR, 0, b"creation")
    assert world.placement.directory.records()[0].state == "pending"
    node.hosted(lease)
    assert await world.hear("actor") == ("actor", ACTOR, "alive", 0, tuple(node.leases[lease]), None)


@run
async def test_hundreds_of_actors_that_hold_nothing_share_a_cpu(world: World) -> None:
    node = await world.add_node(CPU=1)
    for number in range(200):
        world.say("actor_new", number.to_bytes(16, "big"), spec(), b"", {"held": NOTHING})
    await world.until(lambda: len(node.leases) == 200)


@run
async def test_an_init_that_raises_kills_the_actor_with_its_failure(world: World) -> None:
    node = await world.add_node()
    world.say("actor_new", ACTOR, spec(), b"creation", {"max_restarts": 5})
    lease = await placed(world, node)
    node.hosted(lease, b"pickled failure")
    assert await world.hear("actor") == (
        "actor",
        ACTOR,
        "dead",
        0,
        None,
        ("init", b"pickled failure", 0, 0, ""),
    )
    await world.until(lambda: node.ended == [(lease, True)])


@run
async def test_a_crashed_actor_is_restarted_with_its_creation(world: World) -> None:
    node = await world.add_node()
    lease = await create(world, node, max_restarts=1)
    loss = ("signal", "SIGKILL", 3, 9, "")
    node.exit(lease, loss)
    assert await world.hear("actor") == ("actor", ACTOR, "restarting", 1, None, loss)
    again = await placed(world, node)
    assert node.actors[again] == (ACTOR, 1, b"creation")
    node.hosted(again)
    assert (await world.hear("actor"))[2:4] == ("alive", 1)


@run
async def test_an_actor_whose_node_died_restarts_on_another(world: World) -> None:
    first = await world.add_node()
    await create(world, first, max_restarts=1)
    second = await world.add_node()
    await world.workers[0].close(timeout=1, executor_wait=False, nanny=False)
    _, _, state, epoch, _, loss = await world.hear("actor")
    assert (state, epoch, loss[0]) == ("restarting", 1, "node")
    second.hosted(await placed(world, second))
    assert (await world.hear("actor"))[2] == "alive"


@run
async def test_kill_ends_the_process(world: World) -> None:
    node = await world.add_node()
    lease = await create(world, node, max_restarts=5)
    world.say("actor_kill", ACTOR, True)
    assert (await world.hear("actor"))[2] == "dead"
    await world.until(lambda: node.ended == [(lease, True)])
    assert world.tasks() == set()


@run
async def test_a_dropped_actor_is_retired(world: World) -> None:
    node = await world.add_node()
    lease = await create(world, node)
    world.say("actor_drop", ACTOR)
    await world.until(lambda: node.retired == [lease])
    node.exit(lease, ("exit", "exit code 0", 3, 0, ""))
    assert (await world.hear("actor"))[5][0] == "dropped"
    await world.until(lambda: not world.tasks())


@run
async def test_actors_are_found_by_name(world: World) -> None:
    node = await world.add_node()
    lease = await create(world, node, name="counter", namespace="n", handle=b"handle")
    node.up(lease, "actor_named", 3, "counter", "n")
    await world.until(lambda: node.heard)
    assert node.heard == [(node.leases[lease].process, ("named", 3, ACTOR, b"handle"))]


@run
async def test_an_executor_can_watch_an_actor(world: World) -> None:
    node = await world.add_node(CPU=2)
    actor = await create(world, node)
    lane = await world.lease()
    node.up(lane, "actor_watch", ACTOR)
    await world.until(lambda: node.heard)
    world.say("actor_kill", ACTOR, True)
    await world.until(lambda: len(node.heard) == 2)
    assert [message[2] for _, message in node.heard] == ["alive", "dead"]
    assert (actor, True) in node.ended


@run
async def test_an_actor_of_an_executor_dies_with_it(world: World) -> None:
    node = await world.add_node(CPU=2)
    lane = await world.lease()
    node.up(lane, "actor_new", ACTOR, spec(), b"", {"held": NOTHING})
    lease = await placed(world, node)
    node.hosted(lease)
    node.exit(lane)
    await world.until(lambda: (lease, True) in node.ended)


@run
async def test_an_actor_killed_in_the_turn_it_was_created_in_never_lives(world: World) -> None:
    node = await world.add_node()
    world.say("actor_new", ACTOR, spec(), b"creation", {})
    world.say("actor_kill", ACTOR, True)
    assert (await world.hear("actor"))[2] == "dead"
    await world.until(lambda: not world.tasks() and not world.workers[0].state.tasks)
    assert node.leases == {}


@run
async def test_actors_are_listed_with_what_people_want_to_know(world: World) -> None:
    node = await world.add_node()
    lease = await create(world, node, class_name="Counter", name="c", namespace="n")
    world.say("actors", 9)
    _, request, listed = await world.hear("actors")
    assert request == 9
    (row,) = listed
    assert row[:6] == (ACTOR, "Counter", "c", "n", "alive", 0)
    assert row[7] == tuple(node.leases[lease])
