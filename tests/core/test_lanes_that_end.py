"""What becomes of calls when a lane is lost or given back, and of calls that are cancelled."""

from __future__ import annotations

import pytest
from core.lanes_support import SPEC, Owner, function

from nbray.core.calls import Call
from nbray.core.lanes import (
    CANCELLED,
    CRASHED,
    DOUBTED,
    GIVE,
    INTERRUPT,
    LINGER,
    SEND,
    TURN,
    WANT,
)
from nbray.core.ready import Ready


@pytest.fixture
def owner() -> Owner:
    return Owner()


# -- lanes that die ----------------------------------------------------------------------------------------------------------


def test_only_the_first_unanswered_call_of_a_lost_lane_has_crashed(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    calls = owner.submit(function(100.0), 5, retries=1)
    owner.finish(lane)
    owner.finish(lane)
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == [(calls[1], lane)]
    assert list(owner.lanes.pool(SPEC).ready) == calls[2:], "the order is kept"
    owner.lanes.again(calls[1])
    assert list(owner.lanes.pool(SPEC).ready) == calls[1:]
    assert owner.took(WANT)[-1] == (SPEC, 1)


def test_a_call_that_may_have_run_waits_for_a_verdict_while_others_go_on(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    first, second = owner.submit(function(100.0), 2)
    owner.finish(lane)
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == [(first, lane)]
    assert list(owner.lanes.pool(SPEC).ready) == [second]


def test_when_only_the_connection_has_ended_each_call_that_was_sent_may_have_run(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    cancelled, second, third = owner.submit(function(100.0), 3)
    owner.finish(lane)
    cancelled.ended = True
    owner.lanes.lost(lane, dead=False)
    assert owner.took(CRASHED) == []
    assert owner.took(DOUBTED) == [(second, lane), (third, lane)]
    assert not owner.lanes.pool(SPEC).ready
    owner.lanes.again(second, third)
    assert list(owner.lanes.pool(SPEC).ready) == [second, third]


def test_nothing_is_charged_when_the_connection_never_opened(owner: Owner) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function())
    owner.lanes.lost(lane, charge=False)
    assert owner.took(CRASHED) == []
    assert list(owner.lanes.pool(SPEC).ready) == [call]


def test_the_calls_behind_a_cancelled_one_are_not_charged_for_it(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    first, second = owner.submit(function(100.0), 2)
    owner.finish(lane)
    first.ended = True
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == []
    assert list(owner.lanes.pool(SPEC).ready) == [second]


def test_a_call_with_endless_retries_is_never_given_up(owner: Owner) -> None:
    call = owner.call(function(), retries=-1)
    assert [call.charge() for _ in range(5)] == [True] * 5 and call.attempt == 5


def test_ends_for_memory_have_a_budget_of_their_own_for_calls_that_may_run_again(owner: Owner) -> None:
    call = owner.call(function(), retries=1)
    assert [call.charge_memory(2) for _ in range(3)] == [True, True, False]
    assert (call.retries, call.attempt) == (1, 2)
    assert not owner.call(function(), retries=0).charge_memory(2)


def test_what_a_dead_executor_had_answered_is_not_run_again(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    calls = owner.submit(function(100.0), 5)
    owner.finish(lane)
    owner.took(SEND)
    owner.lanes.ending(lane)
    waiting = owner.submit(function())
    assert owner.took(SEND) == []
    owner.finish(lane, 2)
    assert owner.took(SEND) == [], "it gets nothing more"
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == [(calls[2], lane)]
    assert list(owner.lanes.pool(SPEC).ready) == calls[3:] + waiting


def test_a_dead_executor_that_had_answered_all_costs_nothing(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    owner.lanes.ending(lane)
    owner.finish(lane)
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == owner.took(GIVE) == []


def test_a_lane_is_lost_once(owner: Owner) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function(), retries=3)
    owner.lanes.lost(lane)
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == [(call, lane)]


def test_the_calls_of_a_lost_lane_go_to_idle_lanes_at_once(owner: Owner) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function(), retries=1)
    other = owner.grant()
    owner.took(SEND)
    owner.lanes.lost(lane)
    owner.lanes.again(call)
    assert owner.took(SEND) == [(other, [call])]


# -- giving back -------------------------------------------------------------------------------------------------------------


def test_an_idle_lane_goes_back_after_a_while(owner: Owner) -> None:
    lane = owner.grant()
    owner.lanes.tick(LINGER / 2)
    assert owner.took(GIVE) == []
    owner.lanes.tick(LINGER)
    assert owner.took(GIVE) == [(lane,)]
    owner.submit(function())
    assert owner.took(SEND) == []


def test_a_busy_lane_does_not_go_back(owner: Owner) -> None:
    owner.grant()
    owner.submit(function())
    owner.lanes.tick(100.0)
    assert owner.took(GIVE) == []


def test_idle_lanes_go_back_at_once_when_somebody_else_waits(owner: Owner) -> None:
    lanes = [owner.grant() for _ in range(3)]
    owner.lanes.reclaim(2, 0.0)
    assert owner.took(GIVE) == [(lanes[0],), (lanes[1],)]


def test_busy_lanes_that_are_owed_go_back_when_they_fall_idle(owner: Owner) -> None:
    first, second = owner.grant(), owner.grant()
    owner.submit(function(), 2)
    owner.lanes.reclaim(1, 0.0)
    assert owner.took(GIVE) == []
    owner.finish(second)
    assert owner.took(GIVE) == [(second,)]
    owner.finish(first)
    assert owner.took(GIVE) == []


def test_an_owner_with_a_backlog_gives_a_lane_back_when_its_turn_is_over(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function(), 100)
    owner.lanes.reclaim(1, 0.0)
    owner.now = TURN / 2
    owner.finish(lane)
    assert owner.took(GIVE) == []
    owner.took(WANT)
    owner.now = 2 * TURN
    owner.finish(lane)
    assert owner.took(GIVE) == [(lane,)]
    assert owner.lanes.pool(SPEC).wanted, "and it queues up again for what it still has to do"


def test_a_lane_that_nobody_waits_for_any_more_is_kept(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    owner.lanes.reclaim(1, 0.0)
    owner.lanes.reclaim(0, 0.0)
    owner.finish(lane)
    assert owner.took(GIVE) == []


def test_a_lane_that_comes_when_it_is_needed_no_more_repays_what_is_owed(owner: Owner) -> None:
    owner.lanes.reclaim(1, 0.0)
    lane = owner.grant()
    assert owner.took(GIVE) == [(lane,)]


# -- cancelling --------------------------------------------------------------------------------------------------------------


def test_a_cancelled_call_in_the_queue_is_never_sent(owner: Owner) -> None:
    lane = owner.grant()
    first, second, third = owner.submit(function(), 3)
    owner.took(SEND)
    owner.cancel(second)
    assert owner.took(CANCELLED) == [(second,)]
    owner.finish(lane)
    assert owner.took(SEND) == [(lane, [third])]


def test_of_a_cancelled_call_that_was_sent_the_executor_is_told_once(owner: Owner) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function())
    owner.cancel(call)
    owner.cancel(call)
    assert owner.took(INTERRUPT) == [(lane, call)]
    assert owner.took(CANCELLED) == []


def test_a_cancelled_call_that_comes_back_ends(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    first, second = owner.submit(function(100.0), 2)
    owner.finish(lane)
    owner.cancel(second)
    owner.lanes.returned(lane, (second.sequence,), True, owner.now)
    assert owner.took(CANCELLED) == [(second,)]


def test_a_cancelled_call_does_not_run_again_after_a_crash_and_is_not_said_to_have_crashed(
    owner: Owner,
) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function(), retries=3)
    owner.cancel(call)
    owner.lanes.lost(lane)
    assert owner.took(CANCELLED) == [(call,)]
    assert owner.took(CRASHED) == []
    assert call.retries == 3


def test_a_cancelled_call_whose_argument_is_pending_ends(owner: Owner) -> None:
    call = owner.call(function())
    owner.cancel(call)
    assert owner.took(CANCELLED) == [(call,)]


def test_when_all_that_waits_is_cancelled_nothing_is_wanted(owner: Owner) -> None:
    for call in owner.submit(function(), 10):
        owner.cancel(call)
    assert owner.took(WANT)[-1] == (SPEC, 0)


# -- priorities --------------------------------------------------------------------------------------------------------------


def test_the_highest_priority_goes_first_and_within_one_the_order_is_kept(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    owner.took(SEND)
    submitted = [owner.submit(function(), priority=priority)[0] for priority in (0, 1, -1, 0, 5, 1)]
    for _ in range(len(submitted)):
        owner.finish(lane)
    zero, one, less, zero2, five, one2 = submitted
    assert [call for _, calls in owner.took(SEND) for call in calls] == [five, one, one2, zero, zero2, less]


def test_a_call_that_runs_again_stays_behind_higher_priorities(owner: Owner) -> None:
    lane = owner.grant()
    first, second = owner.submit(function(), 2)
    (high,) = owner.submit(function(), priority=1)
    owner.finish(lane)
    owner.lanes.again(first)
    owner.finish(lane)
    owner.finish(lane)
    assert [call for _, calls in owner.took(SEND) for call in calls] == [first, high, first, second]


def test_withdrawn_calls_of_any_priority_are_forgotten_when_they_are_many() -> None:
    ready = Ready()
    calls = [Call(n, function(), b"", (), [], (), None, None, 0, False) for n in range(400)]
    for n, call in enumerate(calls):
        call.priority = n % 3
        ready.append(call)
    for call in calls[:-1]:
        call.ended = True
        ready.withdraw(call)
    assert len(ready) == 1
    held = sum(any(call is referrer for referrer in ready._first) for call in calls)
    held += sum(len(level) for level in ready._others.values())
    assert held < 100
    assert ready.head() is calls[-1]
    ready.take()
    assert ready.head() is None
    assert not ready
