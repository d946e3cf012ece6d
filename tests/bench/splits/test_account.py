"""Where the CPUs' time went: events in, shares out, no clock."""

from __future__ import annotations

import pytest

from nbray.bench.splits.account import PARTS, Tasks
from nbray.events import TASK_DISPATCHED, TASK_FINISHED, TASK_SUBMITTED

OWNER = b"\1" * 8
STRIDE = 1 << 20
T = 1_000_000.0  # when it begins; an event's start of 0 says that there was none


def call(
    number, submitted, sent=None, started=None, ended=None, known=None, *, needs=(), parent=b"", state="done"
):
    """The events of one task, each at its time; None: it did not come to that."""
    sequence = number * STRIDE
    yield (TASK_SUBMITTED, T + submitted, OWNER, sequence, "f", "task", b"", parent, needs, 1)
    if sent is not None:
        yield (TASK_DISPATCHED, T + sent, OWNER, sequence, b"p", 0)
    if ended is not None:
        known = T + (ended if known is None else known)
        yield (TASK_FINISHED, known, OWNER, sequence, state, T + started, ended - started, b"p", "")


def accounted(*calls, cpus=2, until=10.0):
    tasks = Tasks()
    for events in calls:
        tasks.apply(events)
    account = tasks.account(T, T + until, cpus)
    assert sum(getattr(account, part) for part in PARTS) == pytest.approx(account.wall * cpus)
    return account


def result_of(number):
    return OWNER + (number * STRIDE).to_bytes(8, "big")


def test_without_tasks_all_is_the_codes_own_work():
    account = accounted()
    assert (account.tasks, account.own, account.efficiency) == (0, 20, 0)


def test_two_tasks_all_the_time_on_two_cpus_leave_nothing():
    account = accounted(call(1, 0, 0, 0, 10), call(2, 0, 0, 0, 10))
    assert (account.tasks, account.efficiency, account.mean, account.longest) == (2, 1, 10, 10)


def test_one_task_on_two_cpus_is_too_few():
    account = accounted(call(1, 0, 0, 0, 10))
    assert (account.busy, account.too_few) == (10, 10)


def test_a_task_that_is_ready_and_not_sent_is_scheduling_and_one_on_its_way_transfer():
    account = accounted(call(1, 0, 3, 5, 9, 10), cpus=1)
    assert account.scheduling == 3
    assert account.transfer == 3  # two there, one back
    assert account.busy == 4
    assert account.overhead == 6


def test_tasks_that_wait_for_others_are_told_apart_from_too_few():
    account = accounted(call(1, 0, 0, 0, 6), call(2, 0, 6, 6, 10, needs=(result_of(1),)))
    assert account.dependencies == 6
    assert account.too_few == 4
    assert account.busy == 10


def test_arguments_from_before_make_nothing_wait():
    assert accounted(call(5, 0, 0, 0, 10, needs=(result_of(1),)), cpus=1).efficiency == 1


def test_time_before_and_after_all_tasks_is_the_codes_own():
    account = accounted(call(1, 4, 4, 4, 6), cpus=1)
    assert (account.own, account.busy) == (8, 2)


def test_who_is_idle_while_tasks_are_submitted_one_after_the_other_waits_for_the_submitter():
    account = accounted(
        *(call(i, i / 1000, i / 1000, i / 1000, i / 1000 + 0.0005) for i in range(10)), until=0.01
    )
    assert account.busy == pytest.approx(0.005)
    assert account.too_few == pytest.approx(0.0005)  # while the last one runs
    assert account.own == pytest.approx(0.0145)


def test_a_task_that_waits_for_its_own_tasks_needs_no_cpu():
    parent = OWNER.hex() + f"{STRIDE:016x}"
    account = accounted(
        call(1, 0, 0, 0, 10),
        call(2, 2, 2, 2, 8, parent=bytes.fromhex(parent)),
        call(3, 2, 2, 2, 5, parent=parent),
    )
    assert account.busy == 4 + 6 + 3
    assert account.nested == 2


def test_an_attempt_that_was_lost_has_kept_a_cpu_busy_too():
    again = [*call(1, 0, 0, 0, 4, state="retried"), (TASK_DISPATCHED, T + 4, OWNER, STRIDE, b"q", 1)]
    again.append((TASK_FINISHED, T + 10, OWNER, STRIDE, "failed", T + 4, 6.0, b"q", "no"))
    account = accounted(again, cpus=1)
    assert (account.tasks, account.failed, account.busy) == (1, 1, 10)


def test_tasks_under_way_count_as_running_and_others_events_as_nothing():
    tasks = Tasks()
    tasks.apply(call(1, 0, 0))
    tasks.apply([(TASK_FINISHED, 1.0, b"x" * 8, 1, "done", 0.0, 1.0, b"p", ""), (99, "what")])
    assert tasks.unfinished == 1
    assert tasks.account(T, T + 2, 1).busy == 2


def test_tasks_from_before_are_not_its_own_also_when_their_events_come_late():
    tasks = Tasks(T)
    tasks.apply([*call(1, -1, -1, -1, 5), *call(2, 1, 1, 1, 2)])
    assert tasks.account(T, T + 2, 1).tasks == 1


def test_clocks_of_nodes_that_disagree_make_no_time_negative():
    account = accounted(call(1, 2, 3, 1, 12, 5), call(2, 5, 4, 3, 9, 8), until=10)
    assert min(getattr(account, part) for part in PARTS) >= 0
