from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widgets_events import DRIVER, LANE, actor, dispatched, oid, process_down, submitted

from nbray.events import OBJECT, PRINTED, PROCESS, TASK_DISPATCHED, TASK_FINISHED
from nbray_widgets.reducers import chrome
from nbray_widgets.reducers import timeline as module
from nbray_widgets.reducers.bins import BIN, COLUMNS, Bins
from nbray_widgets.reducers.timeline import CRASHED, FAILED, SPAN, STATES, TimelineReducer

OTHER_LANE = b"executo2"


def took(sequence, start, duration, *, state="done", lane=LANE, error="", owner=DRIVER):
    return (TASK_FINISHED, start + duration, owner, sequence, state, start, duration, lane, error)


def up(process, pid=77, role="lane", node=b"node-id1"):
    return (PROCESS, 9.0, process, "up", role, pid, node, "")


def life(sequence, name, start, duration, **more):
    return [
        submitted(sequence, name, time=10.0),
        dispatched(sequence),
        took(sequence, start, duration, **more),
    ]


def reduced(*events):
    timeline = TimelineReducer()
    timeline.apply(events)
    return timeline


def spans(timeline):
    found, first = timeline.since(0, timeline.spans)
    assert first == 0
    return found


def test_a_call_is_a_span_in_the_lane_of_its_process():
    timeline = reduced(up(LANE), *life(1, "load", 12.0, 0.5))
    (span,) = spans(timeline)
    state = timeline.snapshot()
    lane = state["lanes"][str(span["lane"])]
    assert (lane["pid"], lane["kind"], lane["spans"], lane["busy"]) == (77, "tasks", 1, 0.5)
    assert state["functions"][str(span["function"])]["name"] == "load"
    assert (span["start"], span["duration"], span["waited"]) == (2.0, 0.5, 2.0)
    assert STATES[span["state"]] == "done"
    assert state["about"]["last"] == 2.5


def test_a_call_under_way_is_known_by_its_lane():
    timeline = reduced(
        up(LANE), submitted(1, "f"), submitted(2, "g"), dispatched(1, time=11.0), dispatched(2, time=11.0)
    )
    (lane,) = timeline.snapshot()["lanes"].values()
    assert (lane["open"], lane["since"], lane["function"]) == (2, 1.0, 0)
    timeline.apply([took(1, 11.0, 3.0)])
    (lane,) = timeline.snapshot()["lanes"].values()
    assert (lane["open"], lane["since"], lane["function"]) == (
        1,
        4.0,
        1,
    )  # it began when the one before it ended
    assert timeline.unfinished == 1


def test_an_actors_lane_has_its_name():
    timeline = reduced(up(LANE, role="actor"), actor(oid(1), "Board", name="best"))
    (lane,) = timeline.snapshot()["lanes"].values()
    assert (lane["kind"], lane["actor"], lane["name"]) == ("actor", "Board", "best")
    assert chrome.label("actor", "best", "Board", 77, "ab") == "Board “best” · pid 77"


def test_a_failure_is_marked_and_keeps_its_error():
    timeline = reduced(*life(1, "f", 12.0, 0.5, state="failed", error="ValueError: no\x1b[31m"))
    (span,) = spans(timeline)
    assert span["state"] == FAILED
    assert timeline.snapshot()["functions"]["0"]["failed"] == 1
    assert timeline.details(0)["error"] == "ValueError: no\N{REPLACEMENT CHARACTER}[31m"
    assert timeline.details(0)["task"] == DRIVER.hex() + f"{1:016x}"


def test_what_its_process_died_under_is_a_span_until_then():
    timeline = reduced(up(LANE), submitted(1, "f"), dispatched(1, time=11.0), process_down(LANE))
    (span,) = spans(timeline)
    assert (span["state"], span["start"], span["duration"]) == (CRASHED, 1.0, 9.0)
    assert timeline.snapshot()["lanes"]["0"]["state"] == "down"
    assert timeline.unfinished == 0


def test_what_never_ran_is_no_span():
    timeline = reduced(submitted(1, "f"), (TASK_FINISHED, 12.0, DRIVER, 1, "cancelled", 0.0, 0.0, b"", ""))
    assert timeline.spans == 0


def test_a_call_that_is_sent_elsewhere_leaves_its_first_lane():
    timeline = reduced(submitted(1), dispatched(1), (TASK_DISPATCHED, 11.5, DRIVER, 1, OTHER_LANE, 0))
    assert [lane["open"] for lane in timeline.snapshot()["lanes"].values()] == [0, 1]


def test_calls_that_overlap_on_an_actor_have_rows():
    events = [e for i in range(3) for e in life(i, "f", 12.0 + i / 10, 1.0)]
    timeline = reduced(*events, *life(9, "f", 14.0, 1.0))
    assert [int(span["row"]) for span in spans(timeline)] == [0, 1, 2, 0]
    assert timeline.snapshot()["lanes"]["0"]["rows"] == 3


def test_copies_of_objects_are_marks_in_a_lane_of_their_node():
    timeline = reduced(
        submitted(1),
        (OBJECT, 11.0, oid(1), "stored", 5_000_000, b"node-id1", "result", "f"),
        (OBJECT, 12.0, oid(1), "copied", 0, b"node-id2"),
    )
    (span,) = spans(timeline)
    lane = timeline.snapshot()["lanes"][str(span["lane"])]
    assert (lane["kind"], lane["node"]) == ("objects", b"node-id2".hex())
    assert timeline.details(0)["size"] == 5_000_000
    assert timeline.details(0)["object"] == oid(1).hex()


def test_events_of_unknown_kinds_and_of_others_are_ignored():
    assert reduced((PRINTED, 1.0, "", "", "", "", "", "", 0, ""), (99, 1.0)).spans == 0


def test_after_a_loss_nothing_is_under_way():
    timeline = reduced(submitted(1), dispatched(1))
    timeline.skip(5)
    assert timeline.unfinished == 0
    timeline.apply([took(1, 12.0, 0.5)])
    (span,) = spans(timeline)
    assert timeline.snapshot()["functions"][str(span["function"])]["name"] == module.OTHER
    assert timeline.snapshot()["about"]["skipped"] == 5


def test_it_forgets_the_oldest_spans_but_not_their_bins(monkeypatch):
    monkeypatch.setattr(module, "MOST_SPANS", 100)
    monkeypatch.setattr(module, "CHUNK", 10)
    timeline = TimelineReducer()
    for i in range(0, 300, 10):
        timeline.apply([e for k in range(10) for e in life(i + k, "f", 12.0 + i + k, 0.5)])
    found, first = timeline.since(0, 1_000)
    assert (first, len(found), timeline.forgotten) == (200, 100, 200)
    assert [int(span["number"]) for span in found] == list(range(200, 300))
    assert int(timeline.bins.all()["count"].sum()) == 300
    assert timeline.details(5) is None
    assert timeline.details(250)["number"] == 250


lives = st.lists(
    st.tuples(
        st.integers(0, 500), st.floats(0, 60), st.sampled_from(["done", "failed", "cancelled"]), st.booleans()
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=50)
@given(lives, st.integers(1, 7))
def test_cutting_the_events_otherwise_changes_nothing(calls, step):
    events = [up(LANE)]
    for i, (start, duration, state, other) in enumerate(calls):
        events += life(
            i, f"f{i % 3}", 10.0 + start, duration, state=state, lane=OTHER_LANE if other else LANE
        )
    whole, pieces = TimelineReducer(), TimelineReducer()
    whole.apply(events)
    for i in range(0, len(events), step):
        pieces.apply(events[i : i + step])
    assert whole.snapshot() == pieces.snapshot()
    assert (spans(whole) == spans(pieces)).all()
    one, other = whole.bins.all(), pieces.bins.all()
    assert whole.bins.width == pieces.bins.width
    assert (one["count"] == other["count"]).all() and (one["failed"] == other["failed"]).all()
    assert np.allclose(one["busy"], other["busy"], atol=1e-3)


def made(*entries):
    found = np.zeros(len(entries), SPAN)
    for i, (start, duration, lane, function, state) in enumerate(entries):
        for name, value in (
            ("start", start),
            ("duration", duration),
            ("lane", lane),
            ("function", function),
            ("state", state),
        ):
            found[name][i] = value
    return found


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5), st.floats(0, 1e4), st.integers(0, 3), st.integers(0, 5), st.integers(0, 2)
        ),
        max_size=30,
    )
)
def test_bins_lose_no_time_and_no_span_however_often_they_fold(entries):
    bins = Bins()
    for entry in entries:
        bins.add(made(entry))
    records = bins.all()
    assert int(records["count"].sum()) == len(entries)
    assert float(records["busy"].sum()) == pytest.approx(sum(e[1] for e in entries), rel=1e-3, abs=1e-2)
    assert records["column"].max(initial=0) < COLUMNS


def test_a_bin_has_the_colour_of_the_call_that_took_most_of_it():
    bins = Bins(0.0, 1.0, 16)
    bins.add(made((0.0, 0.2, 0, 1, 0)))
    bins.add(made((0.2, 0.5, 0, 2, 2)))
    bins.add(made((0.8, 0.1, 0, 3, 0)))
    (record,) = bins.all()
    assert (record["function"], record["count"], record["failed"]) == (2, 3, 1)


def test_changes_of_bins_are_told_once():
    bins = Bins(0.0, 1.0, 16)
    bins.add(made((0.5, 0.1, 0, 1, 0), (3.5, 0.1, 2, 1, 0)))
    assert [(int(r["lane"]), int(r["column"])) for r in bins.changed()] == [(0, 0), (2, 3)]
    assert len(bins.changed()) == 0
    bins.add(made((3.7, 0.1, 2, 1, 0)))
    assert [(int(r["lane"]), int(r["column"])) for r in bins.changed()] == [(2, 3)]
    bins.add(made((100.0, 1.0, 0, 1, 0)))
    assert bins.folded
    assert len(bins.changed()) == 3  # after a fold, all of them
    assert bins.width == 8.0


def test_a_part_of_time_is_spans_if_they_are_few_and_bins_if_not():
    timeline = reduced(*(e for i in range(1_000) for e in life(i, "f", 10.0 + i / 100, 0.005)))
    exact, none = timeline.window(1.0, 2.0, 100, 200)
    assert none is None
    assert {round(float(s["start"]), 3) for s in exact} >= {round(1 + i / 100, 3) for i in range(100)}
    none, bins = timeline.window(0.0, 10.0, 50, 200)
    assert none is None
    assert bins.dtype == BIN
    assert int(bins["count"].sum()) == 1_000
    assert len(bins) == 50


def test_the_trace_is_json_with_a_slice_for_each_span():
    timeline = reduced(up(LANE), *life(1, "<b>", 12.0, 0.5), *life(2, "g", 12.1, 0.5, state="failed"))
    records = json.loads(json.dumps(chrome.trace(timeline)))
    slices = [r for r in records if r["ph"] == "X"]
    assert [(r["name"], r["ts"], r["dur"], r["cat"]) for r in slices] == [
        ("<b>", 2e6, 500_000.0, "done"),
        ("g", 2_100_000.0, 500_000.0, "failed"),
    ]
    assert slices[0]["tid"] != slices[1]["tid"]  # they overlap
    assert {r["args"]["name"] for r in records if r["ph"] == "M"} >= {"tasks · pid 77", "node 6e6f6465"}


def test_the_driver_has_no_lane():
    timeline = reduced(up(b"driver-1", role="driver"), up(LANE))
    assert [lane.pid for lane in timeline.lanes] == [77]
    assert [lane.process for lane in timeline.lanes] == [LANE.hex()]
