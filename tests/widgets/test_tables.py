"""From events to rows: actors, large objects, printed lines, nodes."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widgets_events import (
    DRIVER,
    LANE,
    actor,
    dispatched,
    finished,
    gone,
    held,
    node,
    oid,
    printed,
    process_down,
    process_up,
    ran,
    sampled,
    stored,
    submitted,
)

from nbray.events import ACTOR, PROCESS, Feed
from nbray_widgets.reducers import log_table
from nbray_widgets.reducers.actor_table import MOST_ROWS, ActorReducer
from nbray_widgets.reducers.cluster import SECONDS, ClusterReducer
from nbray_widgets.reducers.log_table import LogReducer
from nbray_widgets.reducers.object_table import MOST_ROWS as MOST_OBJECTS
from nbray_widgets.reducers.object_table import ObjectReducer
from nbray_widgets.text import age, size, visible

KEY = oid(900)


def of(reducer, *raws):
    reducer.apply(raws)
    return reducer.snapshot()


def call(sequence, name="Board.add", key=KEY, owner=DRIVER):
    return submitted(sequence, name, kind="actor_method", actor=key, owner=owner)


def only_row(state, table="actors"):
    (row,) = state[table].values()
    return row


# --- actors --------------------------------------------------------------------------------------------------------------


def test_an_actor_says_what_it_runs_since_when_and_what_waits_behind_it():
    reducer = ActorReducer()
    row = only_row(
        of(
            reducer,
            process_up(LANE, "actor", 77),
            actor(KEY, "Board", name="best"),
            *(call(n) for n in range(3)),
            dispatched(0, time=11.0),
            dispatched(1, time=11.0),
        )
    )
    assert (row["class"], row["name"], row["state"], row["pid"]) == ("Board", "best", "alive", 77)
    assert row["node"] == b"node-id1".hex()[:8]
    assert (row["queue"], row["running"], row["method"], row["since"]) == (3, 2, "add", 11.0)
    row = only_row(of(reducer, finished(0, time=12.0)))
    # The next one was sent with it, and has begun only now.
    assert (row["queue"], row["done"], row["method"], row["since"]) == (2, 1, "add", 12.0)
    row = only_row(of(reducer, finished(1, "failed"), dispatched(2), finished(2, "retried")))
    assert (row["queue"], row["failed"], row["method"]) == (1, 1, "")


def test_an_actor_that_restarts_counts_it_and_one_that_died_says_why_for_good():
    reducer = ActorReducer()
    again = (ACTOR, 12.0, KEY, "Board", "", "restarting", 1, b"", "its process (pid=7) was ended by SIGKILL")
    row = only_row(of(reducer, actor(KEY, "Board"), again))
    assert (row["state"], row["restarts"], row["reason"]) == ("restarting", 1, again[8])
    of(reducer, actor(KEY, "Board", "dead", reason="it was killed"), actor(KEY, "Board", "alive"))
    row = only_row(reducer.snapshot())
    assert (row["state"], row["reason"]) == ("dead", "it was killed")
    assert reducer.snapshot()["totals"] == {"alive": 0, "pending": 0, "restarting": 0, "dead": 1, "queue": 0}


def test_calls_of_a_caller_that_died_wait_no_more():
    reducer = ActorReducer()
    of(
        reducer,
        actor(KEY, "Board"),
        call(0, owner=LANE),
        call(1, owner=LANE),
        dispatched(1, owner=LANE),
        call(0),
    )
    assert only_row(of(reducer, process_down(LANE)))["queue"] == 1
    assert reducer.unfinished == 1


def test_tasks_are_no_calls_of_actors():
    reducer = ActorReducer()
    assert of(reducer, *ran(0), actor(KEY, "Board"), *ran(1))["totals"]["queue"] == 0
    assert only_row(reducer.snapshot())["done"] == 0


def test_of_very_many_actors_those_with_queues_are_shown_and_the_others_counted():
    reducer = ActorReducer()
    keys = [oid(n) for n in range(MOST_ROWS + 200)]
    state = of(reducer, *(actor(key, "Sim") for key in keys), call(10_000, "Sim.run", keys[0]))
    assert len(state["actors"]) == MOST_ROWS and state["about"]["hidden"] == 200
    assert keys[0].hex() in state["actors"]
    assert state["totals"]["alive"] == MOST_ROWS + 200


# --- objects -------------------------------------------------------------------------------------------------------------


def test_an_object_says_what_made_it_where_it_lies_and_who_has_it():
    reducer = ObjectReducer()
    state = of(
        reducer,
        node(),
        process_up(DRIVER, "driver", 1),
        process_up(LANE, "actor", 77),
        actor(oid(900), "Board"),
        stored(oid(1), 5 << 20),
        gone(oid(1), "copied", b"node-id2"),
        held(oid(1), LANE),
        stored(oid(2), 3 << 20, state="spilled", made="put", by=""),
    )
    one, two = (state["objects"][oid(n).hex()] for n in (1, 2))
    assert (one["made"], one["place"], one["owner"], one["holders"]) == (
        "result of load",
        "memory",
        "driver",
        ["Board (pid 77)"],
    )
    assert one["nodes"] == [b"node-id1".hex()[:8], b"node-id2".hex()[:8]]
    assert (two["made"], two["place"], two["holders"]) == ("put by the driver", "disk", [])
    assert state["totals"] == {"memory": 5 << 20, "disk": 3 << 20, "lost": 0, "count": 2}
    state = of(reducer, gone(oid(1)), gone(oid(2)))
    assert state["objects"] == {} and state["totals"] == {"memory": 0, "disk": 0, "lost": 0, "count": 0}


def test_the_store_of_a_driver_outside_of_the_cluster_is_called_by_its_name():
    reducer = ObjectReducer()
    of(reducer, node(b"node-id2"), process_up(DRIVER, "driver"), stored(oid(1)))
    assert only_row(reducer.snapshot(), "objects")["nodes"] == ["driver"]


def test_what_was_on_a_node_that_died_is_lost_or_lives_in_its_copy_and_may_be_made_again():
    reducer = ObjectReducer()
    of(reducer, stored(oid(1)), stored(oid(2)), gone(oid(2), "copied", b"node-id2"))
    state = of(reducer, node(state="down"))
    one, two = (state["objects"][oid(n).hex()] for n in (1, 2))
    assert (one["place"], two["place"], two["nodes"]) == ("lost", "memory", [b"node-id2".hex()[:8]])
    state = of(reducer, stored(oid(1), at=b"node-id2"))
    assert state["objects"][oid(1).hex()]["place"] == "memory"
    assert state["totals"] == {"memory": 2 << 20, "disk": 0, "lost": 0, "count": 2}


def test_an_object_goes_with_its_owner_unless_somebody_else_has_it():
    reducer = ObjectReducer()
    mine, shared = oid(1, LANE), oid(2, LANE)
    of(reducer, process_up(DRIVER, "driver"), stored(mine), stored(shared), held(shared, DRIVER))
    assert list(of(reducer, process_down(LANE))["objects"]) == [shared.hex()]


def test_a_lane_that_is_given_back_keeps_what_others_hold():
    reducer = ObjectReducer()
    of(reducer, stored(oid(1, LANE)), held(oid(1, LANE), b"somebody"))
    assert of(reducer, (PROCESS, 9.0, LANE, "down", "lane", 1, b"node-id1", "given back"))["objects"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2_000), st.booleans()), max_size=1_500))
def test_the_largest_are_always_those_that_a_plain_sort_finds(steps):
    reducer, alive = ObjectReducer(), {}
    for number, (weight, drop) in enumerate(steps):
        if drop and alive:
            key = max(alive, key=lambda each: (alive[each], each))
            del alive[key]
            reducer.apply([gone(key)])
        else:
            for extra in range(3):
                key = oid(10 * number + extra)
                alive[key] = 200_000 + weight * 7 + extra
                reducer.apply([stored(key, alive[key])])
    state = reducer.snapshot()
    shown = sorted((row["size"] for row in state["objects"].values()), reverse=True)
    best = sorted(alive.values(), reverse=True)
    assert shown[: MOST_OBJECTS // 2] == best[: min(len(shown), MOST_OBJECTS // 2)]
    assert len(shown) >= min(len(best), MOST_OBJECTS // 2)
    assert state["totals"]["memory"] == sum(best)


# --- logs ----------------------------------------------------------------------------------------------------------------


def lines(state):
    return [row["text"] for row in state["lines"].values()]


def test_lines_come_in_order_whole_and_with_their_stream():
    state = of(LogReducer(), printed("one\ntwo\n"), printed("three\n", "Board", stream=2, pid=7))
    assert lines(state) == ["one", "two", "three"]
    last = state["lines"]["2"]
    assert (last["name"], last["stream"], last["pid"]) == ("Board", "err", 7)
    assert state["names"] == {"work": 2, "Board": 1}


def test_endless_lines_leave_the_last_ones_and_their_number(monkeypatch):
    monkeypatch.setattr(log_table, "MOST_LINES", 100)
    reducer = LogReducer()
    state = of(reducer, *(printed(f"{n}\n") for n in range(70)), printed("\n".join(map(str, range(1_000)))))
    assert lines(state) == [str(n) for n in range(900, 1_000)]
    assert list(state["lines"]) == [str(n) for n in range(970, 1_070)]
    assert (state["about"]["count"], state["about"]["hidden"]) == (1_070, 970)


@pytest.mark.parametrize("wanted", ["Board", "best", "7"])
def test_only_lines_of_a_class_an_actor_or_a_process_when_asked(wanted):
    mine = (ACTOR, 9.0, KEY, "Board", "best", "alive", 0, b"process7", "")
    state = of(
        LogReducer(wanted), mine, printed("no\n"), printed("yes\n", "Board", process=b"process7", pid=7)
    )
    assert lines(state) == ["yes"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("10 %\r50 %\r100 %", "100 %"),
        ("bell\x07\x00\u202e", r"bell\x07\x00\u202e"),
        ("<script>", "<script>"),
        ("x" * 2_000, "x" * 999 + "…"),
        ("bad \udc80 bytes", r"bad \udc80 bytes"),
    ],
)
def test_a_line_is_shown_as_text(line, shown):
    assert visible(line, 1_000) == shown


# --- the cluster ---------------------------------------------------------------------------------------------------------


def test_nodes_have_their_figures_and_what_is_leased():
    reducer = ClusterReducer()
    of(reducer, node(), node(b"node-id2", cpus=1.0, host="10.0.0.2"))
    assert reducer.unsampled
    state = of(
        reducer,
        process_up(DRIVER, "driver"),
        process_up(LANE),
        process_up(b"actor-01", "actor"),
        sampled(spilled=5),
        sampled(b"node-id2", used=0.5),
    )
    assert not reducer.unsampled
    one, two = state["nodes"].values()
    assert (one["cpus"], one["used"], one["busy"], one["spilled"]) == (2.0, 1.0, 1.5, 5)
    assert (one["lanes"], one["actors"], two["host"], two["used"]) == (1, 1, "10.0.0.2", 0.5)
    assert state["history"]["10"][1:] == [1.5, 3.0, 8 << 30, 2 << 20]
    state = of(reducer, node(state="down"))
    assert [each["up"] for each in state["nodes"].values()] == [False, True]


def test_nodes_of_one_machine_do_not_count_its_memory_twice():
    reducer = ClusterReducer()
    nodes = [node(key, host="127.0.0.1") for key in (b"node-id1", b"node-id2")]
    state = of(reducer, *nodes, sampled(), sampled(b"node-id2"))
    assert state["history"]["10"][1:] == [2.0, 1.5, 4 << 30, 2 << 20]


def test_tasks_wait_run_and_end_by_the_second():
    reducer = ClusterReducer()
    state = of(
        reducer, *ran(0), *ran(1), submitted(2), submitted(3), dispatched(3), dispatched(3), submitted(4),
        dispatched(4), finished(4, "retried"), finished(99, "failed", time=14.5),
    )  # fmt: skip
    assert state["tasks"] == {
        "waiting": 2,
        "running": 1,
        "done": 2,
        "failed": 1,
        "cancelled": 0,
        "retried": 1,
    }
    assert (state["history"]["12"][0], state["history"]["14"][0]) == (2, 1)
    state = of(reducer, submitted(0, owner=LANE), dispatched(0, owner=LANE), process_down(LANE))
    assert (state["tasks"]["waiting"], state["tasks"]["running"]) == (2, 1)
    reducer.skip(10)
    assert reducer.unfinished == 0


def test_calls_that_queue_at_an_actor_do_not_run():
    reducer = ClusterReducer()
    calls = [call(n) for n in range(5)] + [call(5, owner=LANE), call(6, key=oid(901))]
    sent = [dispatched(n) for n in range(4)] + [dispatched(5, owner=LANE), dispatched(6)]
    tasks = of(reducer, *calls, *sent)["tasks"]
    assert (tasks["running"], tasks["waiting"]) == (2, 5)
    tasks = of(reducer, process_down(LANE), finished(6), *(finished(n) for n in range(4)))["tasks"]
    assert (tasks["running"], tasks["waiting"]) == (0, 1)


def test_actors_are_counted_by_their_state():
    state = of(ClusterReducer(), actor(oid(1), "A"), actor(oid(2), "A"), actor(oid(2), "A", "dead"))
    assert state["actors"] == {"alive": 1, "pending": 0, "restarting": 0, "dead": 1}


def test_a_long_run_costs_no_memory():
    reducer = ClusterReducer()

    def run(first, count):
        for i in range(first, first + count):
            reducer.apply(
                [submitted(i), dispatched(i), finished(i, time=10.0 + i / 100), sampled(time=10.0 + i / 100)]
            )

    run(0, 20_000)
    reducer.apply([node()])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(20_000, 30_000)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
    assert len(reducer.snapshot()["history"]) <= SECONDS


# --- what all have in common ----------------------------------------------------------------------------------------------

REDUCERS = [ActorReducer, ObjectReducer, LogReducer, ClusterReducer]
ALL = [
    node(), process_up(DRIVER, "driver"), process_up(LANE, "actor", 77), actor(KEY, "Board"), *ran(0), call(3), dispatched(3),
    stored(oid(5)), held(oid(5), LANE), printed("hello\n"), sampled(), (99, 12.0, "of a later version"), finished(3), call(7),
]  # fmt: skip


@pytest.mark.parametrize("kind", REDUCERS)
def test_other_cuts_of_the_same_events_give_the_same_picture(kind):
    whole = of(kind(), *ALL)
    reducer = kind()
    for raw in ALL:
        reducer.apply([raw])
        reducer.snapshot()
    assert reducer.snapshot() == whole


@pytest.mark.parametrize("kind", REDUCERS)
def test_a_reader_who_comes_late_still_sees_what_there_is(kind):
    feed = Feed(capacity=2)
    feed.extend([event for event in ALL if event[0] != 99])
    feed.extend(ran(200))
    feed.trim()
    raws, cursor = feed.raw_since(0)
    reducer = kind()
    reducer.skip(cursor - len(raws))
    reducer.apply(feed.standing())
    reducer.apply(raws)
    state = reducer.snapshot()
    assert state["about"]["skipped"] > 0
    if kind is ActorReducer:
        row = only_row(state)
        assert (row["class"], row["state"], row["pid"]) == ("Board", "alive", 77)
    elif kind is ObjectReducer:
        assert only_row(state, "objects")["holders"] == ["Board (pid 77)"]
    elif kind is ClusterReducer:
        assert only_row(state, "nodes")["up"] and state["actors"]["alive"] == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (7_500, "2 h 5 min"),
        (277_200, "3 d 5 h"),
        (-1, "0 s"),
    ],
)
def test_ages_have_two_units_at_most(value, shown):
    assert age(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1 KiB"),
        (12_600, "12.3 KiB"),
        (1 << 30, "1 GiB"),
        (1.5 * 2**40, "1.5 TiB"),
    ],
)
def test_bytes_have_binary_units(value, shown):
    assert size(value) == shown
