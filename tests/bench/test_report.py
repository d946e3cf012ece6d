from __future__ import annotations

import json

import pytest

from nbray.bench import report
from nbray.bench.conductor import Outcome, PeerRun

FACTS = {
    "date": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "a|b", "cpus": 2, "memory_gib": 4.0, "system": "Linux 6", "python": "3.11.7"},
    "rounds": 3,
    "seconds": 1.0,
    "cpus": 2,
}


@pytest.fixture
def runs():
    return [
        PeerRun("nbray", version="0.1.0"),
        PeerRun("ray", version="2.60.0"),
        PeerRun("mp", version="3.11.7"),
        PeerRun("dask", skipped="not installed"),
    ]


@pytest.fixture
def outcomes():
    def of(nbray: Outcome, ray: Outcome, mp: Outcome) -> dict[str, Outcome]:
        return {"nbray": nbray, "ray": ray, "mp": mp, "dask": Outcome()}

    return {
        "cold": of(Outcome([0.5, 0.4, 0.6]), Outcome([4.0]), Outcome([0.05])),
        "tasks_sync": of(Outcome([9000.0]), Outcome([1000.0, 900.0, 1100.0]), Outcome([4500.0])),
        "wait": of(Outcome([100.0]), Outcome(error="ValueError: no"), Outcome(absent="no wait")),
    }


def test_ratios_say_how_many_times_as_fast_nbray_is_whichever_way_the_unit_counts(outcomes):
    cold, sync, wait = report.rows(outcomes, ["nbray", "ray", "mp"])
    assert cold.cells["ray"].ratio == pytest.approx(8)
    assert cold.cells["mp"].ratio == pytest.approx(0.1)
    assert sync.cells["ray"].ratio == pytest.approx(9)
    assert wait.cells["ray"].ratio is None


def test_geometric_means_are_over_what_both_did(outcomes):
    table = report.rows(outcomes, ["nbray", "ray", "mp"])
    means = report.geometric_means(table, ["nbray", "ray", "mp"])
    assert means == {"ray": pytest.approx(72**0.5), "mp": pytest.approx((0.1 * 2) ** 0.5)}


def test_a_peer_that_failed_leaves_nbrays_own_figure_standing(outcomes, runs):
    lines = report.text(outcomes, runs).splitlines()
    line = next(line for line in lines if line.startswith("wait one by one"))
    assert "failed" in line
    assert "100" in line
    assert "ray: wait failed: ValueError: no" in lines
    assert "dask: not installed" in lines


def test_without_nbray_there_are_figures_but_no_ratios(outcomes):
    for by_peer in outcomes.values():
        by_peer["nbray"] = Outcome(error="no")
    assert all(row.cells["ray"].ratio is None for row in report.rows(outcomes, ["nbray", "ray"]))


def test_one_failure_in_many_cases_is_told_once(runs):
    outcomes = {
        name: {
            "nbray": Outcome([1.0]),
            "ray": Outcome(error="does not start"),
            "mp": Outcome(),
            "dask": Outcome(),
        }
        for name in ("tasks_sync", "tasks_batch")
    }
    assert "ray: tasks_sync, tasks_batch failed: does not start" in report.text(outcomes, runs).splitlines()


def test_the_page_is_a_table_of_equal_rows_and_says_where_it_was_measured(outcomes, runs):
    page = report.markdown(outcomes, runs, FACTS)
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "ray 2.60.0" in page
    assert "2 CPUs, 4.0 GiB" in page


def test_the_document_keeps_every_sample_and_is_json(outcomes, runs):
    document = json.loads(json.dumps(report.document(outcomes, runs, FACTS)))
    assert document["cases"]["tasks_sync"]["peers"]["ray"]["samples"] == [1000.0, 900.0, 1100.0]
    assert document["cases"]["wait"]["peers"]["mp"]["absent"] == "no wait"
    assert document["peers"]["dask"]["skipped"] == "not installed"
    assert document["format"] == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (0.0123, "0.0123"),
        (0.4125, "0.412"),
        (3.456, "3.46"),
        (34.56, "34.6"),
        (345.6, "346"),
        (12345.0, "12,300"),
        (999.9, "1,000"),
        (1.0, "1"),
    ],
)
def test_figures_have_three_digits(value, said):
    assert report.figure(value) == said
