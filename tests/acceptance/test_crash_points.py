"""An executor that dies at each point in the life of a call: how often the call runs, and what becomes of it."""

from __future__ import annotations

import os

import pytest
from gates import Marks, until

import nbray
from nbray import _runtime
from nbray.exceptions import ActorDiedError, ActorUnavailableError, WorkerCrashedError
from nbray.testing import crash_point

pytestmark = pytest.mark.usefixtures("pool")

#: Point, runs of a call that is not tried again, runs of one that is.
RUNS = [
    ("after_recv", 0, 1),
    ("before_exec", 0, 1),
    ("after_exec", 1, 2),
    ("before_reply", 1, 2),
    ("after_reply", 1, 1),
]
AT_EACH_POINT = pytest.mark.parametrize(("point", "once", "twice"), RUNS)


def outcome(ref, limit=30):
    try:
        return nbray.get(ref, timeout=limit)
    except nbray.exceptions.RayError as error:
        return type(error)


@nbray.remote
def work(marks, i):
    marks.mark(f"call{i}")
    return i


def doomed(function, point, tmp_path, nth=1, **options):
    """That function, in executors of which the first dies there."""
    variables = crash_point(point, nth, tmp_path / "died")
    return function.options(runtime_env={"env_vars": variables}, **options)


# --- tasks -------------------------------------------------------------------------------------------------------------


@AT_EACH_POINT
def test_a_task_without_retries_runs_at_most_once(tmp_path, point, once, twice):
    marks = Marks(tmp_path)
    ref = doomed(work, point, tmp_path, max_retries=0).remote(marks, 7)
    assert outcome(ref) == (7 if point == "after_reply" else WorkerCrashedError)
    until((tmp_path / "died").exists)
    assert marks.count("call7") == once


@AT_EACH_POINT
def test_a_task_with_retries_gives_its_value(tmp_path, point, once, twice):
    marks = Marks(tmp_path)
    ref = doomed(work, point, tmp_path, max_retries=3).remote(marks, 7)
    assert outcome(ref) == 7
    until((tmp_path / "died").exists)
    assert marks.count("call7") == twice


@AT_EACH_POINT
def test_of_many_tasks_only_the_one_under_way_is_charged(tmp_path, point, once, twice):
    marks = Marks(tmp_path)
    # One lane: the pool has 2 CPUs.
    run = doomed(work, point, tmp_path, nth=5, max_retries=0, num_cpus=2)
    refs = [run.remote(marks, i) for i in range(12)]
    outcomes = [outcome(ref) for ref in refs]
    until((tmp_path / "died").exists)
    lost = [i for i in range(12) if outcomes[i] is WorkerCrashedError]
    assert len(lost) <= 1
    assert all(outcomes[i] == i and marks.count(f"call{i}") == 1 for i in range(12) if i not in lost)
    if point in ("after_recv", "after_reply"):  # the next one could have begun, for all that its owner knows
        assert all(marks.count(f"call{i}") == 0 for i in lost)
    else:
        assert lost == [4]
        assert marks.count("call4") == once


@pytest.mark.parametrize("point", ["after_recv", "before_exec", "after_exec", "before_reply"])
def test_a_task_whose_executor_dies_each_time_ends_after_its_retries(tmp_path, point):
    marks = Marks(tmp_path)
    variables = crash_point(point)
    ref = work.options(runtime_env={"env_vars": variables}, max_retries=3).remote(marks, 7)
    assert outcome(ref) is WorkerCrashedError
    assert marks.count("call7") == (4 if point in ("after_exec", "before_reply") else 0)


@AT_EACH_POINT
def test_a_value_that_was_stored_is_there_or_made_again(tmp_path, point, once, twice):
    @nbray.remote
    def large(marks):
        marks.mark()
        return bytes(1 << 20)

    marks = Marks(tmp_path)
    ref = doomed(large, point, tmp_path, max_retries=1).remote(marks)
    assert outcome(ref) == bytes(1 << 20)
    assert marks.count() == twice


# --- actors ------------------------------------------------------------------------------------------------------------


class Sync:
    def __init__(self, marks):
        self.marks = marks
        marks.mark("init")

    def work(self, i):
        self.marks.mark(f"call{i}")
        return i


class Async(Sync):
    async def work(self, i):
        self.marks.mark(f"call{i}")
        return i


KINDS = pytest.mark.parametrize("kind", [Sync, Async])


@KINDS
@AT_EACH_POINT
def test_a_call_to_an_actor_that_dies_for_good_runs_at_most_once(tmp_path, kind, point, once, twice):
    marks = Marks(tmp_path)
    actor = doomed(nbray.remote(kind), point, tmp_path).remote(marks)
    assert outcome(actor.work.remote(7)) == (7 if point == "after_reply" else ActorDiedError)
    assert outcome(actor.work.remote(8)) is ActorDiedError
    assert [marks.count(name) for name in ("init", "call7", "call8")] == [1, once, 0]


@KINDS
@AT_EACH_POINT
def test_a_call_to_an_actor_that_restarts_is_not_run_again(tmp_path, kind, point, once, twice):
    marks = Marks(tmp_path)
    actor = doomed(nbray.remote(kind), point, tmp_path, max_restarts=1).remote(marks)
    first = outcome(actor.work.remote(7))
    assert first == (7 if point == "after_reply" else ActorUnavailableError)
    while (again := outcome(actor.work.remote(8))) is ActorUnavailableError:
        assert point == "after_reply", "sent before its death was known"
    assert again == 8
    assert [marks.count(name) for name in ("init", "call7", "call8")] == [2, once, 1]


@KINDS
@AT_EACH_POINT
def test_a_call_that_may_be_tried_again_gives_its_value(tmp_path, kind, point, once, twice):
    marks = Marks(tmp_path)
    actor = doomed(nbray.remote(kind), point, tmp_path, max_restarts=1, max_task_retries=1).remote(marks)
    assert [outcome(actor.work.remote(i)) for i in (7, 8)] == [7, 8]
    assert [marks.count(name) for name in ("init", "call7", "call8")] == [2, twice, 1]


def test_a_point_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"before_lunch.*after_recv"):
        crash_point("before_lunch")


# --- refs that a result passes on --------------------------------------------------------------------------------------


@nbray.remote
def hand_back(refs):
    return refs


@nbray.remote(num_cpus=0)
class Putter:
    def put(self):
        return [nbray.put(bytes(1 << 20))]

    def kept_for_others(self):
        return len(_runtime.current().owner.holds)


@pytest.mark.parametrize(("retries", "end"), [(0, WorkerCrashedError), (1, None)])
def test_a_ref_of_ours_that_a_result_was_bringing_back_is_not_kept_for_it(tmp_path, retries, end):
    holds = _runtime.current().owner.holds
    until(lambda: not holds)
    ref = nbray.put(bytes(1 << 20))
    name = ref.hex()
    back = doomed(hand_back, "after_hold", tmp_path, max_retries=retries).remote([ref])
    assert outcome(back) == (end or [ref])
    assert (tmp_path / "died").exists()
    del back, ref
    until(lambda: not holds)
    until(
        lambda: not any(name in file for file in os.listdir(_runtime.current().owner.values.store.directory))
    )


@pytest.mark.parametrize(("retries", "end"), [(0, WorkerCrashedError), (1, None)])
def test_a_ref_of_another_process_that_a_result_was_bringing_is_not_kept_for_it(tmp_path, retries, end):
    putter = Putter.remote()
    refs = nbray.get(putter.put.remote())
    back = doomed(hand_back, "after_hold", tmp_path, max_retries=retries).remote(refs)
    assert outcome(back) == (end or refs)
    assert (tmp_path / "died").exists()
    assert len(nbray.get(refs[0])) == 1 << 20
    del back, refs
    until(lambda: nbray.get(putter.kept_for_others.remote()) == 0)


def test_a_ref_that_came_stays_when_who_passed_it_on_dies(tmp_path):
    putter = Putter.remote()
    refs = nbray.get(putter.put.remote())
    back = nbray.get(doomed(hand_back, "after_reply", tmp_path).remote(refs))
    del refs
    until((tmp_path / "died").exists)
    nbray.get(putter.kept_for_others.remote())
    assert len(nbray.get(back[0])) == 1 << 20
    assert nbray.get(putter.kept_for_others.remote()) == 1
    del back
    until(lambda: nbray.get(putter.kept_for_others.remote()) == 0)
