"""The benchmark view: from what was measured to its state, its pictures, and how often it speaks."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from splits_machine import made_up, swept

from nbray.bench.comparison import Comparison
from nbray.bench.conductor import Outcome, PeerRun
from nbray.bench.splits.account import Account
from nbray.bench.splits.result import Run
from nbray.bench.splits.sweeping import planned
from nbray.bench.splits.timings import Timing
from nbray_widgets import BenchmarkView, benchmark
from nbray_widgets.picture import bench_still, bench_words
from nbray_widgets.picture.bench_svg import drawing, scale, ticks
from nbray_widgets.reducers.benchmark import state_of

BAD = "<img src=x onerror=alert(1)>\u202e\n"


def compared() -> Comparison:
    found = Comparison(
        [PeerRun("nbray", version="1"), PeerRun("ray"), PeerRun("dask", skipped="not installed")], 3, 1.0, 2
    )
    found.outcomes = {
        "cold": {"nbray": Outcome([0.5, 0.4]), "ray": Outcome([4.0]), "dask": Outcome()},
        "tasks_sync": {"nbray": Outcome([900.0]), "ray": Outcome(error=BAD), "dask": Outcome()},
        "wait": {"nbray": Outcome(), "ray": Outcome(), "dask": Outcome()},
    }
    return found


def timed() -> Timing:
    runs = [
        Run(
            wall,
            wall,
            Account(wall, 2, tasks=4, mean=0.1, longest=0.2, busy=wall, transfer=wall / 2, too_few=wall / 2),
        )
        for wall in (1.0, 3.0, 2.0)
    ]
    return Timing("code()", 3, 2, runs, status="done")


EVERYTHING = {"sweep": swept, "bench": compared, "time": timed, "nothing": lambda: None}


@pytest.mark.parametrize("what", EVERYTHING)
def test_a_state_goes_through_json_and_has_the_tables_that_the_browser_reads(what):
    state = state_of(EVERYTHING[what]())
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert state.keys() == {"about", "said", "columns", "rows", "series", "cases"}
    for row in state["rows"].values():
        assert len(row["cells"]) == len(state["columns"])


@pytest.mark.parametrize("what", EVERYTHING)
def test_pictures_are_well_formed_and_stand_alone(what):
    state = state_of(EVERYTHING[what]())
    html = bench_still.html(state)
    ET.fromstring(html.replace("<details open>", "<details>").replace('height:auto">', 'height:auto"/>'))
    assert "<script" not in html
    found = drawing(state)
    assert (found is None) == (what == "nothing")
    if found is not None:
        ET.fromstring(found[0])
        assert "http" not in found[0].replace("http://www.w3.org/2000/svg", "")
        assert "nan" not in found[0]


def test_a_row_of_a_sweep_knows_its_place_its_line_and_its_share_of_the_ideal():
    state = state_of(swept(serial=lambda: 1.0))
    assert state["about"]["x"] == {
        "name": "chunk", "scale": "log", "ticks": [[1, "1"], [10, "10"], [100, "100"], [1000, "1000"]]
    }  # fmt: skip
    assert [entry["label"] for entry in state["series"].values()] == ["1 worker", "2 workers"]
    assert [entry["ideal"] for entry in state["series"].values()] == [1.0, 0.5]
    (best,) = [row for row in state["rows"].values() if row["best"]]
    assert (best["x"], best["series"], best["label"]) == (100, "1", "chunk=100 with 2 workers")
    assert best["shares"][0] == pytest.approx(0.98, abs=0.01)
    assert sum(best["shares"]) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(
    ("over", "scale_of", "places"),
    [
        ({"chunk": [1, 2, 3]}, "linear", [1, 2, 3]),
        ({"chunk": [0, 1000]}, "linear", [0, 1000]),
        ({"chunk": [0.01, 1.0]}, "log", [0.01, 1.0]),
        ({"chunk": ["b", "a", None]}, "words", [0, 1, 2]),
        ({"chunk": [True, False]}, "words", [0, 1]),
    ],
)
def test_values_stand_where_they_belong(over, scale_of, places):
    run = made_up(swept().rows[0])
    state = state_of(swept(over, [1], measure=lambda row: run))
    assert state["about"]["x"]["scale"] == scale_of
    assert [row["x"] for row in state["rows"].values()] == places


def test_without_a_parameter_the_workers_are_the_axis():
    state = state_of(swept({}, [1, 2, 4]))
    assert state["about"]["x"]["name"] == "workers"
    assert [row["x"] for row in state["rows"].values()] == [1, 2, 4]
    assert len(state["series"]) == 1


def test_a_second_parameter_is_a_line_for_each_of_its_values():
    state = state_of(swept({"chunk": [1, 10], "kind": ["a", "b"]}, [1, 2]))
    assert [entry["label"] for entry in state["series"].values()] == [
        "kind=a, 1 worker", "kind=b, 1 worker", "kind=a, 2 workers", "kind=b, 2 workers"
    ]  # fmt: skip
    assert len(state["rows"]) == 8


def test_a_comparison_has_bars_with_ratios_and_says_why_one_is_missing():
    state = state_of(compared())
    assert state["about"]["cases"] == 3
    assert list(state["series"]) == ["nbray", "ray"]
    assert state["rows"]["cold ray"]["ratio"] == pytest.approx(4 / 0.45)
    assert state["rows"]["cold nbray"]["low"] == 0.4
    assert "median" not in state["rows"]["tasks_sync ray"]
    assert state["rows"]["tasks_sync ray"]["note"].startswith("failed: <img")
    assert "wait nbray" not in state["rows"]
    assert next(iter(state["said"].values())).startswith("8.89 times as fast as ray")


def test_names_are_text_and_nothing_else():
    bad = swept({"chunk": [10], BAD: [BAD]}, [1])
    for found in (compared(), bad):
        html = bench_still.html(state_of(found))
        assert "<img src=x" not in html
        assert "\u202e" not in html


def test_the_text_has_a_line_a_row_and_the_sentences():
    lines = bench_words.text(state_of(swept())).splitlines()
    assert lines[0] == "How to split the work"
    assert lines[1].startswith("chunk  workers  time")
    assert lines[11].startswith("Best: chunk=100 with 2 workers")
    running = compared()
    running.now = "cold: ray"
    assert (
        bench_words.summary(state_of(running)) == "nbray and its peers: 4 of 15 measurements, now cold: ray"
    )
    assert (
        bench_words.summary(state_of(planned({"chunk": [1]}, None, 1, 1)))
        == "How to split the work: nothing measured yet"
    )


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0, 1, False), (0, 7.3e-5, False), (3, 4000, True), (0.9, 1.1, True)]
)
def test_ticks_are_round_and_inside(low, high, log):
    found = ticks(low, high, log=log)
    assert found == sorted(found)
    assert all(low <= tick <= high for tick in found)
    assert 1 <= len(found) <= 12
    place = scale(low, high, 10, 20, log=log)
    assert (place(low), place(high)) == (10, 20)


# --- how often the view speaks -----------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.due: list = []

    def timer(self, wait, action):
        self.due.append((self.now + wait, action))
        return self

    daemon = False

    def start(self):
        pass

    def cancel(self):
        self.due.clear()

    def passes(self, seconds):
        self.now += seconds
        due, self.due = (
            [each for each in self.due if each[0] <= self.now],
            [e for e in self.due if e[0] > self.now],
        )
        for _, action in due:
            action()


@pytest.fixture
def view(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(benchmark, "monotonic", lambda: clock.now)
    monkeypatch.setattr(benchmark.threading, "Timer", clock.timer)
    view = BenchmarkView()
    view.clock, view.sent = clock, []
    view.send = lambda message, *_: view.sent.append(message["op"])
    return view


def test_updates_are_shown_ten_times_a_second_at_most_and_the_last_one_is(view):
    found = swept()
    found.status = "running"
    for number in range(1000):
        found.done = number
        view.update(found)
        view.clock.passes(0.001)
    view.clock.passes(0.1)
    assert 9 <= view.sent.count("change") <= 12
    assert view._state["about"]["done"] == 999


def test_the_end_is_shown_at_once(view):
    found = swept()
    found.status = "running"
    view.update(found)
    found.status = "done"
    view.update(found)
    assert view._state["about"]["status"] == "done"
    assert view.clock.due == []
    assert view.sent[-1] == "whole"  # for a browser that missed what came while the kernel was busy


def test_once_a_second_the_whole_state_is_sent_unasked(view):
    found = swept()
    found.status = "running"
    for number in range(30):
        found.done = number
        view.update(found)
        view.clock.passes(0.1001)
    assert view.sent.count("whole") == 3
