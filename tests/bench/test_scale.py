"""The scale figures are figures: each measurement runs, checks what it got, and counts what it says it counts."""

import pytest

from nbray.bench import scale

pytestmark = pytest.mark.usefixtures("pool")


def test_tasks_are_counted_by_tenths_and_placement_hears_little_of_them(monkeypatch):
    monkeypatch.setattr(scale, "WINDOW", 100)
    figures = scale.many_tasks(2_000)
    assert figures["tasks"] == 2_000
    assert figures["tasks_per_second_first_tenth"] > 0 < figures["tasks_per_second_last_tenth"]
    assert figures["messages_to_placement"] < 200


def test_waiting_tasks_end_with_the_measurement():
    assert scale.waiting_tasks(1_000)["waiting_tasks"] == 1_000


def test_refs_are_read():
    assert scale.many_refs(1_001)["refs"] == 1_001


def test_actors_live_together_and_are_gone_at_the_end():
    figures = scale.many_actors(5)
    assert 0 < figures["private_mib_of_an_actor_median"] <= figures["private_mib_of_an_actor_most"]
    assert figures["more_threads_in_the_node_agent"] == 0


def test_an_idle_pool_is_measured():
    assert scale.idle(0.1)["processes_besides_the_driver"] >= 1


def test_too_few_of_anything_is_refused(capsys):
    with pytest.raises(SystemExit):
        scale.main(["--tasks", "3"])
    assert "--tasks must be 10 or more" in capsys.readouterr().err
