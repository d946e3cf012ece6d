"""The feed as a Chrome trace."""

import json

import pytest
from gates import until

import nbray
from nbray._timeline import trace
from nbray.events import (
    ActorChanged,
    NodeChanged,
    ProcessChanged,
    TaskDispatched,
    TaskFinished,
    TaskSubmitted,
)
from nbray.exceptions import RaySystemError

NODE = NodeChanged(100.0, "node1", "up", {"CPU": 2.0})
LANE = ProcessChanged(100.0, "lane1", "up", "lane", 4711, "node1", "")


def submitted(task="t1", time=100.0, name="f", kind="task", parent=""):
    return TaskSubmitted(time, task, name, kind, "", parent, (), 1)


def dispatched(task="t1", time=100.1, process="lane1", attempt=0):
    return TaskDispatched(time, task, process, attempt)


def finished(task="t1", state="done", started=100.2, duration=0.5, process="lane1"):
    return TaskFinished(started + duration, task, state, started, duration, process, "")


def slices(records):
    return [each for each in trace(records) if each["ph"] == "X" and each["cat"] != "submit"]


def names(records, what):
    return {each["args"]["name"] for each in trace(records) if each["ph"] == "M" and each["name"] == what}


def test_nothing_happened_gives_the_drivers_row():
    assert [each["ph"] for each in trace([])] == ["M", "M"]


def test_an_attempt_is_a_slice_in_microseconds():
    (slice_,) = slices([NODE, LANE, submitted(), dispatched(), finished()])
    assert (slice_["name"], slice_["ts"], slice_["dur"]) == ("f", 200_000.0, 500_000.0)
    assert slice_["cat"] == "task,done"
    assert slice_["args"]["waited_us"] == 200_000.0


def test_nodes_and_executors_are_named():
    records = [NODE, LANE, submitted(), dispatched(), finished()]
    assert names(records, "process_name") == {"driver", "node node1"}
    assert names(records, "thread_name") == {"submissions", "tasks (pid 4711)"}
    actor = [
        ActorChanged(100.0, "a1", "Counter", "mine", "alive", 0, "lane1", ""),
        ProcessChanged(100.0, "lane1", "up", "actor", 4711, "node1", ""),
    ]
    assert "Counter 'mine' (pid 4711)" in names(
        [NODE, *actor, submitted(), dispatched(), finished()], "thread_name"
    )


@pytest.mark.parametrize("state", ["done", "failed", "cancelled", "retried"])
def test_states_have_colours(state):
    (slice_,) = slices([NODE, LANE, submitted(), dispatched(), finished(state=state)])
    assert slice_["args"]["state"] == state
    assert slice_["cname"] != "generic_work"


def test_each_attempt_is_a_slice():
    again = [dispatched(time=100.8, attempt=1), finished(started=100.9)]
    found = slices([NODE, LANE, submitted(), dispatched(), finished(state="retried"), *again])
    assert [(each["args"]["attempt"], each["args"]["state"]) for each in found] == [
        (0, "retried"),
        (1, "done"),
    ]


def test_an_attempt_whose_process_died_ends_with_the_next_one_or_the_failure():
    lost = TaskFinished(100.9, "t1", "failed", 0.0, 0.0, "", "")
    found = slices([NODE, LANE, submitted(), dispatched(), dispatched(time=100.5, attempt=1), lost])
    assert [each["args"]["state"] for each in found] == ["crashed", "crashed"]
    assert [each["dur"] for each in found] == [pytest.approx(400_000), pytest.approx(400_000)]


def test_a_call_that_was_sent_elsewhere_before_it_began_is_one_slice():
    elsewhere = [dispatched(process="lane2"), dispatched(time=100.15), finished()]
    assert len(slices([NODE, LANE, submitted(), *elsewhere])) == 1


def test_what_runs_still_reaches_to_the_end():
    (slice_,) = slices([NODE, LANE, submitted(), dispatched(), submitted("t2", 101.1)])
    assert slice_["args"]["state"] == "running"
    assert slice_["dur"] == pytest.approx(1_000_000)


def test_a_call_that_never_ran_has_no_slice():
    assert slices([NODE, submitted(), TaskFinished(100.2, "t1", "cancelled", 0.0, 0.0, "", "")]) == []


def test_calls_that_overlap_on_one_executor_are_on_rows_of_their_own():
    records = [NODE, LANE]
    for number in range(3):
        records += [
            submitted(f"t{number}"),
            dispatched(f"t{number}"),
            finished(f"t{number}", started=100.2 + number / 10),
        ]
    records += [submitted("late", 102.0), dispatched("late", 102.0), finished("late", started=102.0)]
    found = slices(records)
    assert len({each["tid"] for each in found[:3]}) == 3
    assert found[3]["tid"] == found[0]["tid"]


def test_arrows_lead_from_submission_to_run():
    inner = [
        submitted("t2", 100.3, "g", parent="t1"),
        dispatched("t2", 100.35, "lane2"),
        finished("t2", started=100.4, process="lane2"),
    ]
    records = trace([NODE, LANE, submitted(), dispatched(), *inner, finished()])
    starts, ends = ({each["id"]: each for each in records if each["ph"] == ph} for ph in "sf")
    assert starts.keys() == ends.keys() == {0, 1}
    outer = next(each for each in records if each["ph"] == "X" and each["name"] == "f")
    assert (starts[0]["pid"], starts[0]["ts"]) == (0, 0.0)
    assert (starts[1]["pid"], starts[1]["tid"]) == (outer["pid"], outer["tid"])
    assert (ends[0]["ts"], ends[0]["bp"]) == (outer["ts"], "e")


def test_a_feed_that_forgot_its_beginning_is_told_as_far_as_it_goes():
    (slice_,) = slices([finished("0123456789abcdef0000000000200000")])
    assert slice_["name"] == "task 0000000000200000"
    assert names([finished()], "process_name") == {"driver", "unknown node"}


def test_it_needs_a_session():
    with pytest.raises(RaySystemError, match="timeline"):
        nbray.timeline()
    assert not nbray.is_initialized()


class TestOfAPool:
    @nbray.remote
    def outer(self):
        return nbray.get(nbray.remote(lambda: 1).options(name="inner").remote())

    @nbray.remote
    class Counter:
        def count(self):
            return 1

    def test_tasks_methods_and_failures_are_in_the_file(self, pool, tmp_path):
        fail = nbray.remote(lambda: 1 / 0).options(name="fail")
        nbray.get([self.outer.remote(None), self.Counter.remote().count.remote()])
        with pytest.raises(ZeroDivisionError):
            nbray.get(fail.remote())
        path = tmp_path / "trace.json"
        wanted = {"TestOfAPool.outer", "inner", "Counter.count", "fail"}

        def ran():
            assert nbray.timeline(str(path)) is None
            return {each["name"] for each in json.loads(path.read_text()) if each["ph"] == "X"}

        until(
            lambda: (
                {name.rpartition("TestOfAPool.")[2] for name in ran()}
                >= {n.rpartition("TestOfAPool.")[2] for n in wanted}
            )
        )
        records = nbray.timeline()
        for each in records:
            assert each["ph"] in "XMsf"
            assert isinstance(each["pid"], int) and isinstance(each["tid"], int)
            if each["ph"] != "M":
                assert each["ts"] >= 0
        states = {
            each["name"]: each["args"]["state"]
            for each in records
            if each["ph"] == "X" and "state" in each["args"]
        }
        assert states["fail"] == "failed"
