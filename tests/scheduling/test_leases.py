"""Leases as Dask tasks, from a want to its end, on a real scheduler with real workers."""

from __future__ import annotations

import asyncio
import platform
from typing import Any

import pytest
from scheduling.world import DRIVER, World, run, spec

from nbray.scheduling import streams


@run
async def test_a_want_becomes_a_pinned_task_and_comes_back_as_a_grant(world: World) -> None:
    await world.add_node(CPU=1)
    node = await world.add_node(CPU=4)
    world.say("want", spec(CPU=2), 1, None)
    _, lease, shape, address = await world.hear("granted")
    assert shape == spec(CPU=2)
    assert address == tuple(node.leases[lease])
    (key,) = world.tasks()
    task: Any = world.scheduler.tasks[key]
    assert task.state == "processing"
    assert task.processing_on.address == world.workers[1].address


@run
async def test_a_lease_that_is_given_back_leaves_no_task(world: World) -> None:
    node = await world.add_node()
    lease = await world.lease()
    world.say("give", lease)
    await world.until(lambda: node.ended == [(lease, False)])
    await world.until(lambda: not world.tasks() and not world.workers[0].state.tasks)
    assert await world.lease() == lease + 1


@run
async def test_many_leases_need_no_threads_of_the_worker(world: World) -> None:
    await world.add_node(CPU=50)
    world.say("want", spec(), 50, None)
    leases = [(await world.hear("granted"))[1] for _ in range(50)]
    assert len(set(leases)) == 50
    assert not world.workers[0].executors["default"]._threads


@run
async def test_a_lent_slot_is_used_while_the_lender_keeps_its_task(world: World) -> None:
    node = await world.add_node(CPU=1)
    first = await world.lease()
    node.up(first, "want", spec(), 1, first)
    node.up(first, "lend", first, "f", ("g",), True)
    await world.until(lambda: len(node.leases) == 2)
    await world.until(lambda: [m for _, m in node.heard if m[0] == "granted"])
    ((process, message),) = node.heard
    assert process == node.leases[first].process
    assert message[1] == first + 1
    assert len(world.tasks()) == 2


@run
async def test_a_lease_that_ends_before_its_executor_is_ready_ends_the_executor_too(world: World) -> None:
    node = await world.add_node()
    node.ready.clear()
    world.say("want", spec(), 1, None)
    await world.until(lambda: world.workers[0].plugins[streams.AGENT]._held)
    world.placement.remove_client(world.scheduler, "")
    await world.until(lambda: node.ended)
    node.ready.set()
    await world.until(lambda: not world.workers[0].state.tasks)
    assert world.inbox.empty() or (await world.hear("node"))


@run
async def test_a_lease_that_ends_before_its_task_began_is_never_started(world: World) -> None:
    """Placed and ended in the same turn of the loop: the order to end it overtakes the coroutine."""
    node = await world.add_node()
    world.say("want", spec(), 1, None)
    world.placement.remove_client(world.scheduler, "")
    await world.until(lambda: not world.workers[0].state.tasks and not world.tasks())
    await asyncio.sleep(0)
    assert node.leases == {}
    assert not world.workers[0].plugins[streams.AGENT]._held


@run
async def test_an_executors_death_is_told_with_its_reason(world: World) -> None:
    node = await world.add_node()
    lease = await world.lease()
    loss = ("signal", "SIGSEGV", 42, 11, "tail")
    node.exit(lease, loss)
    assert await world.hear("lost") == ("lost", lease, loss)
    await world.until(lambda: not world.tasks() and not world.workers[0].state.tasks)
    assert await world.lease() != lease


@run
async def test_an_executor_that_does_not_start_is_tried_three_times(world: World) -> None:
    node = await world.add_node()
    node.refuse = ("exit", "no such interpreter", 0, 1, "")
    world.say("want", spec(), 1, None)
    assert "no such interpreter" in (await world.hear("infeasible"))[2]
    await world.until(lambda: not world.tasks())


@run
async def test_what_no_node_can_hold_is_refused_on_a_cluster_that_does_not_scale(world: World) -> None:
    await world.add_node(CPU=2)
    world.say("want", spec(CPU=8), 1, None)
    _, shape, text = await world.hear("infeasible")
    assert shape == spec(CPU=8)
    assert "{CPU: 8}" in text
    assert "{CPU: 2" in text


@run
async def test_on_a_cluster_that_scales_it_waits_and_the_driver_hears_so(world: World) -> None:
    await world.add_node(CPU=2)
    assert world.scheduler.handlers["adaptive_target"]() >= 0  # as Dask's adaptive scaling does every second
    world.say("want", spec(CPU=8), 1, None)
    _, shape, actor, text = await world.hear("unmet")
    assert (shape, actor) == (spec(CPU=8), None)
    assert "{CPU: 8}" in text
    await world.add_node(CPU=8)
    await world.hear("granted")


@run
async def test_a_driver_may_know_that_the_cluster_scales(world: World) -> None:
    await world.add_node(CPU=2)
    world.say("hello", True)
    world.say("want", spec(CPU=8), 1, None)
    await world.hear("unmet")


@run
async def test_a_workers_death_loses_its_leases_and_never_reruns_them(world: World) -> None:
    first = await world.add_node()
    lease = await world.lease()
    second = await world.add_node()
    await world.workers[0].close(timeout=1, executor_wait=False, nanny=False)
    _, lost, loss = await world.hear("lost")
    assert (lost, loss[0]) == (lease, "node")
    assert (await world.hear("node"))[1:3] == (first.id, "down")
    assert world.tasks() == set()
    assert second.leases == {}
    again = await world.lease()
    assert again in second.leases


@run
async def test_a_retired_worker_runs_no_lease_twice(world: World) -> None:
    await world.add_node()
    lease = await world.lease()
    second = await world.add_node()
    await world.scheduler.retire_workers(workers=[world.workers[0].address], stimulus_id="test")
    assert (await world.hear("lost"))[1] == lease
    assert second.leases == {}
    assert world.tasks() == set()


@run
async def test_a_task_that_somebody_else_cancels_is_a_lost_lease(world: World) -> None:
    node = await world.add_node()
    lease = await world.lease()
    (key,) = world.tasks()
    world.scheduler.client_releases_keys(keys=[key], client="nbray-placement")
    assert (await world.hear("lost"))[1] == lease
    await world.until(lambda: node.ended == [(lease, True)])


@run
async def test_a_busy_worker_is_not_chosen_when_the_cluster_shrinks(world: World) -> None:
    await world.add_node()
    await world.lease()
    await world.add_node()
    chosen = world.scheduler.workers_to_close(n=2)
    assert chosen == [world.workers[1].address]


@run
async def test_what_waits_reaches_dasks_adaptive_scaling(world: World) -> None:
    target = world.scheduler.handlers["adaptive_target"]
    world.say("want", spec(), 1, None)
    assert target() == 1
    await world.add_node(CPU=2)
    await world.hear("granted")
    world.say("want", spec(), 6, None)
    await world.hear("granted")
    assert target(target_duration="5s") == 1 + 3


@run
async def test_a_new_driver_is_told_of_the_nodes(world: World) -> None:
    node = await world.add_node(CPU=2)
    heard: list[Any] = []
    world.placement.connect(b"driver01", heard.append)
    itself = (("node:127.0.0.1", 10_000), ("node:__internal_head__", 10_000))
    totals = (("CPU", 20_000), ("object_store_memory", 1000 * 10_000), *itself)
    assert heard == [("node", node.id, "up", totals, tuple(node.address))]


@run
async def test_resources_are_answered_node_by_node(world: World) -> None:
    node = await world.add_node(CPU=2, GPU=1)
    await world.lease()
    world.say("resources", 7)
    _, request, nodes = await world.hear("resources")
    assert request == 7
    store = ("object_store_memory", 1000 * 10_000)
    rest = (store, ("node:127.0.0.1", 10_000), ("node:__internal_head__", 10_000))
    free = (("CPU", 10_000), ("GPU", 10_000), *rest)
    totals = (("CPU", 20_000), ("GPU", 10_000), *rest)
    labels = (("number", "0"), ("ray.io/node-id", node.id.hex()))
    assert nodes == ((node.id, totals, free, labels, tuple(node.address), platform.node()),)


@run
async def test_a_watched_process_is_reported_when_it_is_gone(world: World) -> None:
    node = await world.add_node()
    lease = await world.lease()
    process = node.leases[lease].process
    world.say("watch_process", process)
    node.exit(lease)
    assert await world.hear("processes_gone") == ("processes_gone", (process,))
    world.say("watch_process", process)
    assert await world.hear("processes_gone") == ("processes_gone", (process,))


@run
async def test_lanes_of_an_executor_end_with_it(world: World) -> None:
    node = await world.add_node(CPU=2)
    first = await world.lease()
    node.up(first, "want", spec(), 1, first)
    await world.until(lambda: len(node.leases) == 2)
    node.exit(first)
    await world.until(lambda: node.ended == [(first + 1, True)])


def test_nonsense_is_logged_and_breaks_no_link(caplog: pytest.LogCaptureFixture) -> None:
    @run
    async def scenario(world: World) -> None:
        node = await world.add_node()
        lease = await world.lease()
        world.say("want", "nonsense")
        world.say("no such message", 1)
        node.up(lease, "nor this")
        node.up(lease, "lend", {})
        world.workers[0].batched_stream.send({"op": streams.REPORT, "message": ("no such report",)})
        world.scheduler.worker_send(
            world.workers[0].address, {"op": streams.ORDER, "message": ("retire", 1, 2)}
        )
        world.say("give", lease)
        assert await world.lease() == lease + 1

    scenario()
    assert sum(record.name in ("nbray.placement", "nbray.agent") for record in caplog.records) >= 4


def test_the_plugin_travels_with_its_secret_and_does_not_show_it() -> None:
    import pickle

    from nbray.scheduling.plugin import PlacementPlugin

    plugin = pickle.loads(pickle.dumps(PlacementPlugin(b"the secret", fixed=True)))
    assert (plugin.secret, plugin.fixed) == (b"the secret", True)
    assert "secret" not in repr(plugin)
    assert DRIVER not in repr(plugin).encode()
