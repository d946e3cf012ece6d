"""Why a value is not there, in words."""

from __future__ import annotations

from typing import Any

from nbray.core import explaining as e
from nbray.core.explaining import Activity, Explanation, Facts, Held, Running, Standing, Supply, explain
from nbray.core.labels import rule
from nbray.core.ledger import Asks
from nbray.core.messages import RESOURCE_UNIT

ME = b"driver00"


def task(number: int) -> bytes:
    return b"task%04d" % number


def at(name: str) -> Any:
    return (name.encode(), b"node", "", "")


def units(**resources: float) -> Any:
    return tuple((name, round(n * RESOURCE_UNIT)) for name, n in resources.items())


def asks(**resources: float) -> Asks:
    return Asks(units(**resources))


def sent(number: int, name: str, process: str, pid: int = 0) -> Standing:
    return Standing(e.SENT, task(number), name, process=at(process), pid=pid)


def method(number: int, name: str, process: str = "", **more: Any) -> Standing:
    return Standing(
        e.ACTOR, task(number), name, process=at(process) if process else (), actor=b"actor", **more
    )


def busy(pid: int, *running: Running, actor: str = "", waiting: int = 0, beginning: bool = False) -> Activity:
    return Activity(pid, actor, beginning, running, waiting)


def runs(number: int, name: str, seconds: float = 12.0, awaits: int | None = None) -> Running:
    return Running(
        task(number), name, seconds, None if awaits is None else ((task(awaits), at("somewhere")),)
    )


def node(totals: Any, free: Any, full: bool = False, most: int = 100, **labels: str) -> Any:
    return totals, free, full, most, tuple(labels.items())


def why(
    *standings: Standing, processes: dict[str, Activity | None] | None = None, supply: Supply | None = None
) -> Explanation:
    """Of the first: an object is called by its task's id here."""
    objects = {standing.task: standing for standing in standings}
    activities = {name.encode(): activity for name, activity in (processes or {}).items()}
    return explain(Facts(ME, objects, activities, supply, 1.0), [standings[0].task])


def test_a_call_that_runs_is_named_with_its_process_and_time() -> None:
    told = why(sent(1, "load", "x"), processes={"x": busy(123, runs(1, "load"))})
    assert str(told) == "load (running on pid 123 for 12 s)"


def test_a_chain_of_calls_that_wait_leads_to_the_one_that_runs() -> None:
    told = why(
        sent(1, "train", "x"),
        sent(2, "load", "y"),
        processes={"x": busy(120, runs(1, "train", 13, awaits=2)), "y": busy(123, runs(2, "load", 12))},
    )
    assert str(told) == "train (on pid 120, waits in get for 13 s) -> load (running on pid 123 for 12 s)"


def test_a_missing_argument_is_followed() -> None:
    add = Standing(e.ARGUMENTS, task(1), "add", refs=((task(2), at("d")), (task(3), at("d"))))
    told = why(add, sent(2, "load", "y"), processes={"y": busy(123, runs(2, "load"))})
    assert str(told).startswith("add (has not started: 2 arguments missing) -> load (running")


def test_a_missing_resource_is_named_with_who_holds_it_and_for_whom() -> None:
    supply = Supply(
        (node(units(CPU=2), units(CPU=0)),),
        (
            Held(ME, b"", "", units(CPU=1), False, at("x")),
            Held(b"x", b"", "", units(CPU=1), False, at("y")),
        ),
        (),
    )
    told = why(
        Standing(e.QUEUED, task(1), "f", asks=asks(CPU=1)),
        processes={"x": busy(7, runs(8, "hold", 90)), "y": busy(9, runs(10, "child", 3))},
        supply=supply,
    )
    assert told.lines == (
        "f (has not started: waits for {CPU: 1})",
        "CPU is missing: 1 asked, 0 of 2 free. "
        "Held by hold (pid 7, for 1 min 30 s), 1 CPU; child (pid 9, for 3 s), 1 CPU, for hold (pid 7).",
    )


def test_only_the_resource_that_is_short_is_told() -> None:
    supply = Supply((node(units(CPU=2, GPU=1), units(CPU=1, GPU=0)),), (), ())
    told = why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=1, GPU=1)), supply=supply)
    assert "GPU is missing: 1 asked, 0 of 1 free" in str(told)
    assert "CPU is missing: 1 asked, 1" not in str(told)


def test_a_resource_that_nobody_provides() -> None:
    supply = Supply((node(units(CPU=2), units(CPU=2)),), (), ())
    told = why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=1, widget=1)), supply=supply)
    assert told.lines[1] == "No node of the pool provides 'widget'; the nodes have {CPU: 2}."


def test_labels_that_no_node_has() -> None:
    supply = Supply((node(units(CPU=2), units(CPU=2), zone="a"), node(units(CPU=4), units(CPU=4))), (), ())
    where = (rule("zone", "in(b,c)"),)
    told = why(Standing(e.QUEUED, task(1), "f", asks=Asks(units(CPU=1), where)), supply=supply)
    assert told.lines == (
        "f (has not started: waits for {CPU: 1} and labels {zone: in(b,c)})",
        "No node of the pool has labels {zone: in(b,c)}; the nodes have {CPU: 2} and labels {zone: a}, {CPU: 4} and labels {}.",
    )


def test_what_is_free_where_the_labels_forbid_it_is_not_told() -> None:
    supply = Supply(
        (node(units(CPU=2), units(CPU=0), zone="a"), node(units(CPU=4), units(CPU=4), zone="b")),
        (Held(ME, b"", "", units(CPU=2), False, at("x")),),
        (),
    )
    told = why(
        Standing(e.QUEUED, task(1), "f", asks=Asks(units(CPU=1), (rule("zone", "!b"),))),
        processes={"x": busy(7, runs(8, "hold", 90))},
        supply=supply,
    )
    assert told.lines[1].startswith("CPU is missing: 1 asked, 0 of 2 free. Held by hold (pid 7")


def test_more_than_any_node_has() -> None:
    supply = Supply((node(units(CPU=2), units(CPU=2)),), (), ())
    told = why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=8)), supply=supply)
    assert told.lines[1] == "No node is that large: f asks for {CPU: 8}, the nodes have {CPU: 2}."


def test_a_pool_without_nodes() -> None:
    told = why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=8)), supply=Supply((), (), ()))
    assert told.lines[1] == "The pool has no node."


def test_a_node_whose_processes_all_wait() -> None:
    supply = Supply((node(units(CPU=2), units(CPU=2), full=True, most=4),), (), ())
    told = why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=1)), supply=supply)
    assert "at most 4 processes" in told.lines[1]


def test_room_that_is_there_is_about_to_be_used() -> None:
    supply = Supply((node(units(CPU=2), units(CPU=2)),), (), ())
    told = why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=1)), supply=supply)
    assert told.lines[1] == "There is room for it: a process is being started."


def test_a_method_waits_behind_the_one_that_runs() -> None:
    told = why(
        method(1, "Store.read", "a"),
        processes={"a": busy(5, runs(2, "Store.write", 30), actor="Store", waiting=3)},
    )
    assert str(told) == (
        "Store.read (in the queue of its actor, pid 5, behind Store.write and 3 calls) "
        "-> Store.write (running on pid 5 for 30 s)"
    )


def test_an_actor_that_blocks_in_get_keeps_its_cpu_and_that_is_said() -> None:
    supply = Supply(
        (node(units(CPU=1), units(CPU=0)),),
        (Held(ME, b"actor", "Trainer", units(CPU=1), False, at("a")),),
        (),
    )
    told = why(
        method(1, "Trainer.fit", "a"),
        Standing(e.QUEUED, task(2), "load", asks=asks(CPU=1)),
        processes={"a": busy(5, runs(1, "Trainer.fit", 30, awaits=2), actor="Trainer")},
        supply=supply,
    )
    assert told.deadlock
    assert "actor Trainer, pid 5, Trainer.fit waits" in str(told)
    assert "never lent" in str(told)
    assert "num_cpus=0" in str(told)


def test_who_is_stuck_behind_such_an_actor_without_being_its_cause_is_no_deadlock() -> None:
    supply = Supply(
        (node(units(CPU=1), units(CPU=0)),),
        (Held(ME, b"actor", "Trainer", units(CPU=1), False, at("a")),),
        (),
    )
    told = why(
        Standing(e.QUEUED, task(9), "other", asks=asks(CPU=1)),
        method(2, "Clock.tick", "c"),
        processes={"a": busy(5, runs(1, "Trainer.fit", 30, awaits=2), actor="Trainer")},
        supply=supply,
    )
    assert not told.deadlock
    assert "waits in Trainer.fit for Clock.tick and keeps its CPU" in str(told)


def test_calls_that_wait_for_each_other_are_a_deadlock() -> None:
    told = why(
        sent(1, "a", "x"),
        sent(2, "b", "y"),
        processes={"x": busy(1, runs(1, "a", awaits=2)), "y": busy(2, runs(2, "b", awaits=1))},
    )
    assert told.deadlock
    assert (
        told.lines[-1] == "This is a deadlock: each of a, b waits for the next, and the last for the first."
    )


def test_actors_that_call_each_other_are_a_deadlock_through_their_queues() -> None:
    told = why(
        method(1, "A.ask", "a"),
        method(2, "B.ask", "b"),
        method(3, "A.answer", "a"),
        processes={
            "a": busy(1, runs(1, "A.ask", awaits=2), actor="A"),
            "b": busy(2, runs(2, "B.ask", awaits=3), actor="B"),
        },
    )
    assert told.deadlock
    assert "each of A.ask, B.ask, A.answer waits for the next" in str(told)


def test_a_process_that_does_not_answer_may_be_stopped() -> None:
    told = why(sent(1, "load", "x", pid=123), processes={"x": None})
    assert "sent to pid 123, which has not answered for 1 s: it is stopped" in str(told)


def test_an_actor_without_a_place() -> None:
    supply = Supply((node(units(CPU=1), units(CPU=0)),), (), ((b"actor", asks(CPU=1)),))
    told = why(method(1, "A.f", state="pending"), supply=supply)
    assert told.lines[0] == "A.f (its actor has no place yet)"
    assert told.lines[1].startswith("CPU is missing: 1 asked, 0 of 1 free.")


def test_an_actor_whose_constructor_runs() -> None:
    supply = Supply((), (Held(ME, b"actor", "A", (), False, at("a")),), ())
    told = why(
        method(1, "A.f", state="pending"), processes={"a": busy(5, actor="A", beginning=True)}, supply=supply
    )
    assert str(told) == "A.f (its actor's __init__ has been running on pid 5)"


def test_an_actor_whose_constructor_waits_for_an_argument() -> None:
    told = why(
        method(1, "A.f", state="pending", refs=((task(2), at("d")),)),
        sent(2, "load", "x"),
        processes={"x": busy(3, runs(2, "load"))},
    )
    assert str(told) == (
        "A.f (its actor waits for an argument of its constructor) -> load (running on pid 3 for 12 s)"
    )


def test_a_pause_after_memory_ran_out() -> None:
    told = why(Standing(e.PAUSED, task(1), "f", seconds=3.2))
    assert "runs again in 3 s" in str(told)


def test_calls_that_stand_alike_are_told_once() -> None:
    objects = {task(n): sent(n, "load", "x") for n in range(5)}
    told = explain(
        Facts(ME, objects, {b"x": busy(3, runs(0, "load"))}, None, 1.0), [task(n) for n in range(5)]
    )
    assert str(told) == "load (running on pid 3 for 12 s) (and 4 more like it)"


def test_many_kinds_are_told_by_the_first_of_them() -> None:
    objects = {task(n): Standing(e.ENDED, task(n), f"f{n}") for n in range(9)}
    told = explain(Facts(ME, objects, {}, None, 1.0), list(objects))
    assert told.lines[-1] == "... and 6 others"
    assert len(told.lines) == 4


def test_an_endless_chain_is_cut() -> None:
    processes = {f"p{n}": busy(n, runs(n, "deep", awaits=n + 1)) for n in range(100)}
    told = why(*[sent(n, "deep", f"p{n}") for n in range(100)], processes=processes)
    assert str(told).count("->") < 20


def test_nothing_to_explain() -> None:
    told = explain(Facts(ME, {task(1): Standing(e.READY)}, {}, None, 1.0), [task(1)])
    assert str(told) == "Everything is there."
    assert repr(told) == str(told)


def test_whatever_is_unknown_is_said_to_be() -> None:
    told = explain(Facts(ME, {}, {}, None, 1.0), [task(1)])
    assert "has not answered" in str(told)
    assert "does not know" in str(why(Standing(e.GONE, task(1))))
    assert "scheduler has not answered" in str(why(Standing(e.QUEUED, task(1), "f", asks=asks(CPU=1))))
