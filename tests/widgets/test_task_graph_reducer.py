from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widgets_events import actor, dispatched, finished, oid, process_down, ran, submitted

from nbray.events import Feed, TaskDispatched, TaskFinished, TaskSubmitted
from nbray_widgets.reducers.task_graph import MOST_GROUPS, OTHER, TASKS_SHOWN, TaskGraphReducer

STATES = ("waiting", "running", "done", "failed", "cancelled")


def reduced(*raws) -> TaskGraphReducer:
    reducer = TaskGraphReducer()
    reducer.apply(raws)
    return reducer


def counts(reducer: TaskGraphReducer) -> dict[str, tuple[int, ...]]:
    groups = reducer.snapshot()["groups"].values()
    return {group["name"]: tuple(group[state] for state in STATES) for group in groups}


def edges(reducer: TaskGraphReducer) -> dict[tuple[str, str, str], int]:
    state = reducer.snapshot()
    name = {key: group["name"] for key, group in state["groups"].items()}
    found = {}
    for key, count in state["edges"].items():
        source, target, kind = key.split(">")
        found[name[source], name[target], kind] = count
    return found


def queues(reducer: TaskGraphReducer) -> dict[str, dict]:
    return {entry["name"]: entry for entry in reducer.snapshot()["actors"].values()}


# --- the life of a task ----------------------------------------------------------------------------------------------


def test_a_task_waits_then_runs_then_is_done():
    reducer = reduced(submitted(0))
    assert counts(reducer) == {"work": (1, 0, 0, 0, 0)}
    reducer.apply([dispatched(0)])
    assert counts(reducer) == {"work": (0, 1, 0, 0, 0)}
    reducer.apply([finished(0)])
    assert counts(reducer) == {"work": (0, 0, 1, 0, 0)}
    assert reducer.unfinished == 0


def test_a_retried_task_waits_again_and_counts_once():
    reducer = reduced(submitted(0), dispatched(0), finished(0, "retried", error="signal 9"))
    assert counts(reducer) == {"work": (1, 0, 0, 0, 0)}
    reducer.apply([dispatched(0, attempt=1), finished(0)])
    assert counts(reducer) == {"work": (0, 0, 1, 0, 0)}
    assert reducer.snapshot()["groups"]["0"]["retries"] == 1


def test_a_task_called_back_and_sent_elsewhere_runs_once():
    assert counts(reduced(submitted(0), dispatched(0), dispatched(0), finished(0))) == {
        "work": (0, 0, 1, 0, 0)
    }


def test_a_dependent_fails_without_having_run():
    assert counts(reduced(submitted(0), finished(0, "failed", took=0))) == {"work": (0, 0, 0, 1, 0)}


def test_events_of_tasks_never_seen_are_ignored():
    assert counts(reduced(dispatched(5), finished(5), submitted(0), finished(7))) == {"work": (1, 0, 0, 0, 0)}


def test_what_a_dead_process_submitted_is_cancelled():
    reducer = reduced(
        submitted(0, owner=b"lane-one"),
        submitted(1, owner=b"lane-one"),
        dispatched(1, owner=b"lane-one"),
        submitted(0),
    )
    reducer.apply([process_down(b"lane-one"), finished(1, owner=b"lane-one")])
    assert counts(reducer) == {"work": (1, 0, 0, 0, 2)}


# --- edges -----------------------------------------------------------------------------------------------------------


def test_an_edge_counts_each_dependency_and_a_put_is_none():
    reducer = reduced(
        submitted(0, "load"),
        submitted(2, "train", needs=[oid(0), oid(1)]),
        submitted(3, "train", needs=[oid(0)]),
    )
    assert edges(reducer) == {("load", "train", "data"): 2}


def test_every_return_value_leads_back_to_its_task():
    reducer = reduced(
        submitted(0, "split", returns=3), submitted(3, "use", needs=[oid(0), oid(1), oid(2), oid(3)])
    )
    assert edges(reducer) == {("split", "use", "data"): 3, ("use", "use", "data"): 1}


def test_a_dependency_whose_submission_arrives_later_still_makes_its_edge():
    reducer = reduced(
        submitted(0, "use", needs=[oid(4, b"lane-one")]), submitted(3, "make", owner=b"lane-one", returns=2)
    )
    assert edges(reducer) == {("make", "use", "data"): 1}


def test_every_item_of_a_generator_leads_back_to_its_task():
    first = 1 << 63
    reducer = reduced(
        submitted(0, "use", needs=[oid(first + (1 << 32) + 7)]),
        submitted(first, "make", returns=-1),
        submitted(first + (1 << 32), "make", returns=-1),
        submitted(1, "use", needs=[oid(first + 1), oid(first + (1 << 32) + 100_000)]),
    )
    assert edges(reducer) == {("make", "use", "data"): 3}


def test_a_nested_task_is_joined_to_the_task_that_called_it():
    parent = oid(0).hex()
    reducer = reduced(submitted(0, "outer"), submitted(0, "inner", owner=b"lane-one", parent=parent))
    assert edges(reducer) == {("outer", "inner", "calls"): 1}


# --- actors ----------------------------------------------------------------------------------------------------------


def test_an_actors_queue_is_what_was_called_and_has_not_ended():
    key = oid(0)
    reducer = reduced(
        actor(key, "Board", "pending"), submitted(0, "Board.__init__", kind="actor_creation", actor=key)
    )
    reducer.apply(submitted(i, "Board.add", kind="actor_method", actor=key) for i in (1, 2, 3))
    reducer.apply([dispatched(0), finished(0), actor(key, "Board"), dispatched(1), finished(1)])
    board = queues(reducer)["Board"]
    assert (board["queue"], board["alive"], board["pending"]) == (2, 1, 0)
    assert counts(reducer) == {"Board.__init__": (0, 0, 1, 0, 0), "Board.add": (2, 0, 1, 0, 0)}
    assert {group["actor"] for group in reducer.snapshot()["groups"].values()} == {"0"}


def test_actors_of_one_class_share_a_shape_and_the_dead_are_counted():
    keys = [oid(n) for n in range(3)]
    reducer = reduced(*(actor(key, "Sim") for key in keys), actor(keys[0], "Sim", "dead", reason="killed"))
    sim = queues(reducer)["Sim"]
    assert (sim["alive"], sim["dead"]) == (2, 1)
    reducer.apply([actor(keys[0], "Sim", "alive")])  # late news of a dead actor
    assert queues(reducer)["Sim"]["dead"] == 1


def test_a_creation_is_shown_as_init_however_it_is_named():
    key = oid(0)
    reducer = reduced(submitted(0, "Board", kind="actor_creation", actor=key))
    reducer.apply([submitted(1, "Board", kind="actor_creation", actor=oid(1))])
    assert counts(reducer) == {"Board.__init__": (2, 0, 0, 0, 0)}


# --- single tasks ------------------------------------------------------------------------------------------------------


def test_the_drill_down_lists_running_failed_slowest_and_latest():
    reducer = TaskGraphReducer()
    for i in range(100):
        failed = i in (13, 14)
        reducer.apply([submitted(i), dispatched(i)])
        reducer.apply([finished(i, "failed" if failed else "done", took=(i * 37) % 100, error="x" * failed)])
    reducer.apply([submitted(200), dispatched(200)])
    found = reducer.tasks(0)
    assert [task["task"] for task in found["running"]] == [oid(200).hex()]
    assert [task["task"] for task in found["failed"]] == [oid(14).hex(), oid(13).hex()]
    assert [task["duration"] for task in found["slowest"]] == [
        float(d) for d in range(99, 99 - TASKS_SHOWN, -1)
    ]
    assert [task["task"] for task in found["latest"]] == [
        oid(i).hex() for i in range(99, 99 - TASKS_SHOWN, -1)
    ]


@pytest.mark.parametrize("group", [-1, 1, 10**9])
def test_the_drill_down_of_no_group_is_empty(group):
    assert not any(reduced(*ran(0)).tasks(group).values())


# --- bounds --------------------------------------------------------------------------------------------------------------


def test_names_beyond_the_limit_share_one_group():
    reducer = reduced(*(submitted(i, f"f{i}") for i in range(MOST_GROUPS + 50)))
    groups = counts(reducer)
    assert len(groups) == MOST_GROUPS + 1
    assert groups[OTHER][0] == 50


def test_finished_tasks_leave_no_memory_behind():
    reducer = TaskGraphReducer()

    def chains(first: int, count: int):
        for i in range(first, first + count):
            yield from ran(i, needs=[oid(max(i - 1, 0))])

    reducer.apply(chains(0, 2_000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        reducer.apply(chains(2_000, 30_000))
        assert tracemalloc.get_traced_memory()[0] - before < 20_000  # bytes, for 30,000 tasks
    finally:
        tracemalloc.stop()


def test_a_put_that_many_tasks_use_costs_one_entry():
    reducer = TaskGraphReducer()
    reducer.apply(submitted(i, needs=[oid(10**6)]) for i in range(1_000))
    (owner,) = reducer._owners.values()
    assert len(owner.unseen) == 1


# --- a gap -----------------------------------------------------------------------------------------------------------------


def test_after_a_gap_nothing_counts_as_running_until_it_is_heard_of_again():
    reducer = reduced(submitted(0), submitted(1), dispatched(1), submitted(2), dispatched(2))
    reducer.skip(10)
    assert counts(reducer) == {"work": (0, 0, 0, 0, 0)}
    reducer.apply([dispatched(0), finished(1), finished(0)])
    assert counts(reducer) == {"work": (0, 0, 2, 0, 0)}
    assert reducer.snapshot()["about"]["skipped"] == 10


# --- laws --------------------------------------------------------------------------------------------------------------------

OWNERS = (b"driver-1", b"lane-one")
LIVES = {
    "waits": [],
    "runs": [dispatched],
    "done": [dispatched, finished],
    "fails": [dispatched, lambda n, owner: finished(n, "failed", owner=owner)],
    "is cancelled": [lambda n, owner: finished(n, "cancelled", owner=owner)],
    "is retried": [dispatched, lambda n, owner: finished(n, "retried", owner=owner), dispatched, finished],
}


@st.composite
def streams(draw):
    """The events of two processes that use each other's objects, each in its own order."""
    found = []
    for owner in OWNERS:
        rest, stream, sequence = [], [], 0
        for _ in range(draw(st.integers(0, 8))):
            needs = draw(
                st.lists(st.builds(oid, st.integers(0, 15), st.sampled_from(OWNERS)), max_size=2, unique=True)
            )
            # What a process needs of its own was submitted before.
            needs = [n for n in needs if n[:8] != owner or int.from_bytes(n[8:], "big") < sequence]
            parent = draw(st.sampled_from(["", oid(0, OWNERS[0]).hex()])) if owner != OWNERS[0] else ""
            returns = draw(st.integers(1, 3))
            method = draw(st.booleans())
            name = draw(st.sampled_from(["Act.go", "Act.stop"] if method else ["load", "train"]))
            stream.append(
                submitted(
                    sequence, name, owner=owner, needs=needs, returns=returns, parent=parent,
                    kind="actor_method" if method else "task", actor=oid(99) if method else "",
                )
            )  # fmt: skip
            life = LIVES[draw(st.sampled_from(sorted(LIVES)))]
            rest.append([step(sequence, owner=owner) for step in life])
            sequence += returns + draw(st.integers(0, 1))  # a put now and then
        for steps in rest:
            stream += steps
        found.append(stream)
    return found


def merged(draw, lanes):
    lanes = [list(lane) for lane in lanes if lane]
    order = []
    while lanes:
        lane = draw(st.sampled_from(lanes))
        order.append(lane.pop(0))
        lanes = [lane for lane in lanes if lane]
    return order


def canonical(reducer):
    return counts(reducer), edges(reducer), queues(reducer)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_other_cuts_of_the_same_events_give_the_same_picture(data):
    raws = merged(data.draw, data.draw(streams()))
    whole, cut = reduced(*raws), TaskGraphReducer()
    while raws:
        size = data.draw(st.integers(1, 5))
        cut.apply(raws[:size])
        raws = raws[size:]
    assert cut.snapshot() == whole.snapshot()
    for group in range(len(whole.snapshot()["groups"])):
        assert cut.tasks(group) == whole.tasks(group)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_processes_may_overtake_each_other(data):
    found = data.draw(streams())
    one, other = merged(data.draw, found), merged(data.draw, found)
    assert canonical(reduced(*one)) == canonical(reduced(*other))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_counts_are_those_of_a_plain_count_over_all_records(data):
    """The model keeps every record and every object, as the reducer must not."""
    feed = Feed()
    feed.extend(merged(data.draw, data.draw(streams())))
    state, task_of, needed = {}, {}, []
    for event in feed.since(0)[0]:
        match event:
            case TaskSubmitted(task=task, name=name, returns=returns):
                state[task] = (name, "waiting")
                first = int(task[16:], 16)
                task_of.update((f"{task[:16]}{first + i:016x}", name) for i in range(returns))
                needed += [(d, name, "data") for d in event.dependencies]
                needed += [(event.parent, name, "calls")] * bool(event.parent)
            case TaskDispatched(task=task):
                state[task] = (state[task][0], "running")
            case TaskFinished(task=task, state=ended):
                state[task] = (state[task][0], "waiting" if ended == "retried" else ended)
    reducer = reduced(*feed.raw_since(0)[0])
    plain = Counter(state.values())
    assert counts(reducer) == {name: tuple(plain[name, s] for s in STATES) for name, _ in state.values()}
    assert edges(reducer) == Counter((task_of[d], name, kind) for d, name, kind in needed if d in task_of)


def test_a_task_tells_how_long_it_waited_and_whose_results_it_needed():
    graph = TaskGraphReducer()
    graph.apply(ran(0, "load"))
    graph.apply(
        [submitted(1, "train", needs=[oid(0), oid(99)], time=10.0), dispatched(1), finished(1, took=0.5)]
    )
    (task,) = graph.tasks(1)["latest"]
    assert (task["submitted"], task["waited"]) == (10.0, 1.5)
    assert [(need["group"], need["name"]) for need in task["needs"]] == [(0, "load"), (None, "put")]
