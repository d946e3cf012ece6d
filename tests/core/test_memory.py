"""Which executor goes when memory runs out."""

import pytest

from nbray.core.memory import ACTOR, IDLE, TASK, Candidate, choose, pause, reason

GIB = 1 << 30
MIB = 1 << 20


def executor(number, kind=TASK, since=0.0, size=GIB):
    return Candidate(number, 1000 + number, kind, since, size)


def chosen(*candidates):
    found = choose(candidates)
    return None if found is None else found.number


def test_the_newest_task_goes_first():
    assert chosen(executor(1, since=5.0), executor(2, since=7.0), executor(3, since=6.0)) == 2


def test_idle_executors_go_before_tasks_and_tasks_before_actors():
    idle, task, actor = executor(1, IDLE, 1.0), executor(2, TASK, 2.0), executor(3, ACTOR, 3.0)
    assert chosen(idle, task, actor) == 1
    assert chosen(task, actor) == 2
    assert chosen(executor(4, ACTOR, 1.0), actor) == 3


def test_who_has_next_to_nothing_is_spared():
    assert chosen(executor(1, since=1.0, size=10 * GIB), executor(2, since=2.0, size=33 * MIB)) == 1
    assert chosen(executor(1, TASK, 1.0), executor(2, IDLE, 2.0, size=MIB)) == 1


def test_when_nobody_has_much_nobody_goes():
    assert chosen(executor(1, size=MIB), executor(2, size=31 * MIB)) is None
    assert chosen() is None


def test_many_small_ones_are_many():
    assert chosen(*[executor(n, since=float(n), size=40 * MIB) for n in range(200)]) == 199


@pytest.mark.parametrize(("used", "seconds"), [(0, 1.0), (8 * GIB, 0.4), (9.5 * GIB, 0.1), (10 * GIB, 0.1)])
def test_it_is_looked_at_sooner_the_nearer_the_threshold_is(used, seconds):
    assert pause(used, 10 * GIB, 0.96) == pytest.approx(seconds)


def test_the_reason_names_amounts_and_the_largest_others():
    candidates = [executor(n, size=n * GIB) for n in range(1, 6)]
    text = reason(candidates[1], candidates, 15 * GIB, 16 * GIB, 0.9)
    assert "93.8% of its 16.00 GiB" in text and "more than 90%" in text
    assert "with 2.00 GiB of its own, ran the newest task" in text
    assert text.endswith("others: pid 1005 5.00 GiB, pid 1004 4.00 GiB, pid 1003 3.00 GiB")
    assert "others" not in reason(candidates[0], candidates[:1], 15 * GIB, 16 * GIB, 0.9)
