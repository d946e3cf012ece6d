from __future__ import annotations

import json

import pytest

from nbray.bench import comparison
from nbray.bench.comparison import Comparison, compare
from nbray.bench.conductor import Outcome, PeerRun


def filled() -> Comparison:
    found = Comparison(
        [PeerRun("nbray"), PeerRun("ray"), PeerRun("dask", skipped="not installed")], 3, 1.0, 2
    )
    found.outcomes = {
        "cold": {"nbray": Outcome([0.5, 0.4]), "ray": Outcome([4.0]), "dask": Outcome()},
        "tasks_sync": {"nbray": Outcome([900.0]), "ray": Outcome(error="it died"), "dask": Outcome()},
    }
    return found


def test_progress_counts_what_is_to_come_without_what_failed_or_is_not_there():
    assert filled().progress() == (4, 9)  # of 2 cases in 2 peers 3 times, one has failed at once


def test_rows_have_figures_and_how_many_times_as_fast_nbray_is():
    rows = filled().rows
    assert [(row["case"], row["peer"], row["median"], row["ratio"]) for row in rows] == [
        ("cold", "nbray", pytest.approx(0.45), None),
        ("cold", "ray", 4.0, pytest.approx(4 / 0.45)),
        ("tasks_sync", "nbray", 900.0, None),
    ]
    assert rows[0]["lowest"] == 0.4


def test_what_is_there_when_it_is_interrupted_stays_and_says_so(monkeypatch):
    def conduct(runs, names, *, watch, **_):
        outcomes = {name: {run.name: Outcome() for run in runs} for name in names}
        outcomes["wait"]["nbray"].samples.append(5.0)
        watch(outcomes, "wait: nbray")
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "conduct", conduct)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        compare(["wait"], ["processes"], progress=seen.append)
    found = seen[-1]
    assert found.status == "interrupted"
    assert [row["median"] for row in found.rows] == [5.0]
    assert json.loads(found.to_json())["status"] == "interrupted"
    assert "wait one by one" in repr(found)
    assert "| wait one by one" in found.to_markdown()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cases": ["tasks_snyc"]}, "did you mean tasks_sync"),
        ({"vs": ["rya"]}, "no peer 'rya'; did you mean ray"),
        ({"rounds": 0}, "positive"),
        ({"seconds": -1}, "positive"),
    ],
)
def test_mistakes_are_named_before_anything_starts(given, said):
    with pytest.raises(ValueError) as mistake:
        compare(**given)
    assert said in str(mistake.value)


def test_a_frame_has_a_row_for_each_figure():
    pytest.importorskip("pandas")
    assert len(filled().to_pandas()) == 3
