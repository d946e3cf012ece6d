"""What the timeline sends, answers and leaves behind, without a browser."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pytest
from widgets_events import DRIVER, LANE, dispatched, submitted

from nbray.events import PROCESS, TASK_FINISHED, Feed
from nbray_widgets import Timeline
from nbray_widgets import timeline as module
from nbray_widgets.reducers.bins import BIN
from nbray_widgets.reducers.timeline import SPAN

EVIL = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "a\x00b\x1b[31m\u202ec",
    "مرحبا",
    "🚀 launch",
]


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(
        Timeline, "send", lambda self, content, buffers=None: messages.append((content, buffers))
    )
    return messages


def calls(first, count, name="f", state="done"):
    for i in range(first, first + count):
        start = 11.0 + i / 10
        yield submitted(i, name)
        yield dispatched(i)
        yield (
            TASK_FINISHED,
            start + 0.05,
            DRIVER,
            i,
            state,
            start,
            0.05,
            LANE,
            "ValueError: no" if state == "failed" else "",
        )


def view_of(*events):
    feed = Feed()
    feed.extend(events)
    view = Timeline(feed)
    view.read()
    return feed, view


def bulk(messages):
    return [(told, np.frombuffer(spans, SPAN), np.frombuffer(bins, BIN)) for told, (spans, bins) in
            ((told, buffers) for told, buffers in messages if told["op"] == "bulk")]  # fmt: skip


def test_each_span_goes_to_the_browser_once(sent):
    feed, view = view_of(*calls(0, 5))
    feed.extend(calls(5, 3))
    view.read()
    view.read()
    assert [(told["first"], len(spans)) for told, spans, _ in bulk(sent)] == [(0, 5), (5, 3)]


def test_of_many_spans_at_once_the_browser_gets_the_last_and_bins_of_all(sent):
    _, view = view_of(*calls(0, 3_000))
    ((told, spans, bins),) = bulk(sent)
    assert (told["first"], len(spans)) == (3_000 - module.AT_ONCE, module.AT_ONCE)
    assert int(bins["count"].sum()) == 3_000
    assert view.picture["about"]["spans"] == 3_000


def test_who_comes_late_gets_the_state_the_bins_and_the_latest_spans(sent):
    _, view = view_of(*calls(0, 10_000))
    sent.clear()
    view._heard(None, {"op": "open", "view": "v"}, [])
    assert sent[0][0]["op"] == "whole"
    ((told, spans, bins),) = bulk(sent)
    assert told["whole"]
    assert len(spans) == module.MOST
    assert int(bins["count"].sum()) == 10_000


def test_a_zoomed_part_is_answered_with_spans_or_with_bins(sent):
    _, view = view_of(*calls(0, 10_000))
    sent.clear()
    view._heard(None, {"op": "window", "begin": 1.0, "end": 11.0, "columns": 500}, [])
    view._heard(None, {"op": "window", "begin": 0, "end": 1_000, "columns": 500}, [])
    (near, (spans,)), (far, (bins,)) = sent
    assert near["exact"] and 100 <= len(np.frombuffer(spans, SPAN)) <= 103
    assert not far["exact"] and len(np.frombuffer(bins, BIN)) <= 500


def test_a_span_is_answered_with_all_there_is_to_say(sent):
    _, view = view_of(*calls(0, 1, state="failed"))
    sent.clear()
    view._heard(None, {"op": "span", "number": 0}, [])
    assert sent[0][0]["error"] == "ValueError: no"


def test_a_trace_is_answered_as_json(sent):
    _, view = view_of(*calls(0, 3))
    sent.clear()
    view._heard(None, {"op": "trace"}, [])
    ((told, (trace,)),) = sent
    assert told == {"op": "trace"}
    assert sum(record["ph"] == "X" for record in json.loads(trace)["traceEvents"]) == 3


@pytest.mark.parametrize(
    "message",
    [
        {"op": "window"},
        {"op": "window", "begin": 2, "end": 1, "columns": 10},
        {"op": "window", "begin": float("nan"), "end": 1, "columns": 10},
        {"op": "window", "begin": 0, "end": 1, "columns": "10"},
        {"op": "span", "number": -1},
        {"op": "span", "number": 10**20},
        {"op": "span", "number": "0"},
        {"op": ["x"]},
    ],
)
def test_messages_that_make_no_sense_are_ignored(sent, message):
    _, view = view_of(*calls(0, 3))
    sent.clear()
    view._heard(None, message, [])
    assert sent == []


def image(html):
    (found,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    return b64decode(found).decode()


def test_the_still_picture_has_a_shape_for_each_span_and_tables(sent):
    _, view = view_of((PROCESS, 9.0, LANE, "up", "lane", 4321, b"node-id1", ""), *calls(0, 20, "load"))
    html = view.html(view.picture)
    assert 'class="nbray-timeline nbray-still"' in html and 'data-spans="20"' in html
    svg = ElementTree.fromstring(image(html))
    assert sum(node.get("fill") is not None for node in svg.iter("{http://www.w3.org/2000/svg}rect")) == 20
    assert "pid 4321" in image(html)
    assert "load" in html and "script" not in html
    text = view.text(view.picture)
    assert "tasks · pid 4321" in text and "load: 20 spans" in text and "▅" in text


def test_many_spans_make_no_larger_picture_than_bins(sent):
    _, view = view_of(*calls(0, 20_000))
    assert len(view.html(view.picture)) < 150_000


@pytest.mark.parametrize("name", EVIL)
def test_names_are_text_in_the_picture(sent, name):
    _, view = view_of(*calls(0, 3, name, state="failed"))
    html = view.html(view.picture)
    ElementTree.fromstring(image(html))
    assert "<img src=x" not in html and "<script" not in html
    assert not re.search(r"[\x00-\x08\x1b\u202e]", html + view.text(view.picture))


def test_before_anything_has_run_it_says_so(sent):
    _, view = view_of()
    assert view.text(view.picture) == "nbray timeline: nothing has run yet"
    assert 'data-spans="0"' in view.html(view.picture)


def test_the_saved_state_has_the_spans_without_a_kernel(sent):
    _, view = view_of(*calls(0, 30), *calls(30, 1, state="failed"))
    view.keep()
    told, (spans, bins) = view.kept["told"], view.kept["buffers"]
    assert told["first"] == 0
    assert len(np.frombuffer(spans, SPAN)) == 31
    assert bins == b""  # the spans tell all
    assert view.get_state()["picture"]["about"]["spans"] == 31


def test_the_saved_state_of_many_spans_is_small_and_has_bins_for_the_earlier_ones(sent, monkeypatch):
    monkeypatch.setattr(module, "MOST", 50)
    _, view = view_of(*calls(0, 400))
    view.keep()
    assert view.kept["told"]["first"] == 350
    fine = np.frombuffer(view.kept["buffers"][1], BIN)
    assert fine["count"].sum() == 400
    monkeypatch.setattr(module, "MOST_BINS", 20)
    view.keep()
    coarse = np.frombuffer(view.kept["buffers"][1], BIN)
    assert len(coarse) <= 20 < len(fine)
    assert coarse["count"].sum() == 400
    assert view.kept["told"]["width"] > 0.5
