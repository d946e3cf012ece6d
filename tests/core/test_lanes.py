"""Which call goes to which lane, and how many lanes an owner wants."""

from __future__ import annotations

import weakref

import pytest
from core.lanes_support import FREE, OTHER, SPEC, Owner, function

from nbray.core.calls import Call, Function
from nbray.core.lanes import (
    CRASHED,
    GIVE,
    MOST,
    MOST_FREE_LANES,
    RECALL,
    SEND,
    TARGET,
    WANT,
)


@pytest.fixture
def owner() -> Owner:
    return Owner()


# -- which call goes where ---------------------------------------------------------------------------------------------


def test_a_call_goes_to_an_idle_lane_at_once(owner: Owner) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function())
    assert owner.took(SEND) == [(lane, [call])]
    assert owner.took(WANT) == []


def test_a_function_that_never_ran_is_sent_one_call_at_a_time(owner: Owner) -> None:
    lane = owner.grant()
    calls = owner.submit(function(), 3)
    assert owner.took(SEND) == [(lane, [calls[0]])]


def test_short_calls_go_in_batches_that_are_bounded_by_the_work_in_them(owner: Owner) -> None:
    calls = owner.submit(function(100.0), 100)
    lane = owner.grant()
    assert owner.took(SEND) == [(lane, calls[: int(TARGET / 100)])]


def test_very_short_calls_go_in_batches_that_are_bounded_by_their_number(owner: Owner) -> None:
    calls = owner.submit(function(1.0), MOST + 10)
    lane = owner.grant()
    assert owner.took(SEND) == [(lane, calls[:MOST])]


def test_calls_that_take_no_time_at_all_still_count(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    owner.submit(function(0.0))
    assert len(lane.calls) == 1, "a call of no duration was queued behind one of unknown duration"


def test_a_batch_leaves_the_other_lanes_their_share(owner: Owner) -> None:
    first, second = owner.grant(), owner.grant()
    owner.submit(function(), 2)
    owner.submit(function(10.0), 10)
    owner.took(SEND)
    owner.finish(first)
    ((lane, batch),) = owner.took(SEND)
    assert lane is first
    assert len(batch) == 5
    assert len(second.calls) == 1


def test_a_function_whose_durations_vary_is_sent_one_call_at_a_time(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function(*[10.0] * 20, 100_000.0), 2)
    assert len(lane.calls) == 1


def test_a_long_call_is_not_queued_behind_another(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function(50_000.0), 2)
    assert len(lane.calls) == 1


def test_a_lane_is_filled_up_again_when_half_of_its_work_is_done(owner: Owner) -> None:
    half = int(TARGET / 100.0) // 2
    owner.submit(function(100.0), 5 * half)
    lane = owner.grant()
    owner.took(SEND)
    owner.finish(lane, half - 1)
    assert owner.took(SEND) == []
    owner.finish(lane)
    ((_, batch),) = owner.took(SEND)
    assert len(batch) == half


def test_calls_start_in_the_order_of_their_submission(owner: Owner) -> None:
    calls = owner.submit(function(), 4)
    lane = owner.grant()
    for _ in calls:
        owner.finish(lane)
    assert [call for _, batch in owner.took(SEND) for call in batch] == calls


def test_calls_that_ended_in_the_queue_are_passed_over(owner: Owner) -> None:
    calls = owner.submit(function(), 3)
    calls[0].ended = calls[1].ended = True
    lane = owner.grant()
    assert owner.took(SEND) == [(lane, [calls[2]])]


def test_a_call_withdrawn_from_the_queue_is_never_sent(owner: Owner) -> None:
    lane = owner.grant()
    sent, queued = owner.submit(function(), 2)
    assert owner.lanes.withdraw(queued)
    assert not owner.lanes.withdraw(queued)
    assert not owner.lanes.withdraw(sent)
    owner.finish(lane)
    assert owner.took(SEND) == [(lane, [sent])]


def test_a_call_that_runs_again_goes_before_the_others(owner: Owner) -> None:
    lane = owner.grant()
    first, second, third = owner.submit(function(), 3)
    owner.finish(lane)
    owner.took(SEND)
    owner.lanes.again(first)
    owner.finish(lane)
    assert owner.took(SEND) == [(lane, [first])]
    owner.finish(lane)
    assert owner.took(SEND) == [(lane, [third])]
    assert second.place is None


def test_an_answer_that_comes_twice_or_late_is_ignored(owner: Owner) -> None:
    lane = owner.grant()
    (call,) = owner.submit(function())
    assert owner.lanes.finished(lane, call.sequence, 1.0, 0.0) is call
    assert owner.lanes.finished(lane, call.sequence, 1.0, 0.0) is None
    owner.settle()
    (call,) = owner.submit(function())
    owner.lanes.lost(lane)
    assert owner.lanes.finished(lane, call.sequence, 1.0, 0.0) is None


# -- executors that leave --------------------------------------------------------------------------------------------------
def limited(owner: Owner, of: Function, n: int, most: int) -> list[Call]:
    calls = [owner.call(of) for _ in range(n)]
    for call in calls:
        call.extra = {"max_calls": most}
        owner.lanes.submit(call)
    owner.settle()
    return calls


def test_a_lane_gets_no_more_calls_at_a_time_than_its_executor_runs(owner: Owner) -> None:
    limited(owner, function(10.0), 10, 3)
    lane = owner.grant()
    assert len(lane.calls) == 3


def test_what_waits_behind_an_executors_last_call_runs_elsewhere_and_costs_nothing(owner: Owner) -> None:
    first, second = owner.submit(function(10.0), 2)
    leaving = owner.grant()
    owner.lanes.last(leaving, (second.sequence,), 0.0)
    other = owner.grant()
    owner.took(SEND)
    assert list(other.calls.values()) == [second]
    assert owner.took(CRASHED) == []
    assert leaving.running is first


def test_an_executor_that_runs_its_last_call_gets_no_other_and_then_goes_back(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function(10.0))
    owner.lanes.last(lane, (), 0.0)
    owner.took(SEND)
    owner.took(WANT)
    owner.submit(function(10.0))
    assert owner.took(SEND) == []
    assert owner.took(WANT) == [(SPEC, 1)]
    owner.finish(lane)
    assert owner.took(SEND) == []
    assert owner.took(GIVE) == [(lane,)]


def test_a_lane_goes_back_only_when_what_was_on_its_way_to_it_has_come_back(owner: Owner) -> None:
    last, late = owner.submit(function(10.0), 2)
    lane = owner.grant()
    owner.lanes.last(lane, (), 0.0)
    owner.finish(lane)
    assert owner.took(GIVE) == []
    owner.lanes.returned(lane, (late.sequence,), False, 0.0)
    assert owner.took(GIVE) == [(lane,)]
    assert late.place is owner.lanes.pool(SPEC).ready


def test_an_executor_that_dies_in_its_last_call_has_crashed(owner: Owner) -> None:
    lane = owner.grant()
    (last,) = owner.submit(function(10.0))
    owner.lanes.last(lane, (), 0.0)
    owner.lanes.lost(lane)
    assert owner.took(CRASHED) == [(last, lane)]


# -- how many lanes are wanted -------------------------------------------------------------------------------------------


def test_lanes_are_wanted_in_doublings(owner: Owner) -> None:
    owner.submit(function(), 9)
    assert owner.took(WANT) == [(SPEC, 1), (SPEC, 2), (SPEC, 4), (SPEC, 8)]


def test_short_calls_want_no_more_lanes_than_their_work_is_worth(owner: Owner) -> None:
    owner.submit(function(10.0), 100)
    assert owner.took(WANT) == [(SPEC, 1)]
    owner.submit(function(10.0), 1000)
    assert owner.took(WANT) == [(SPEC, 2)]


def test_lanes_are_wanted_no_more_when_nothing_waits(owner: Owner) -> None:
    owner.submit(function(), 2)
    lane = owner.grant()
    owner.finish(lane)
    owner.finish(lane)
    assert owner.took(WANT)[-1] == (SPEC, 0)


def test_lanes_are_wanted_no_more_when_the_last_call_is_withdrawn(owner: Owner) -> None:
    (call,) = owner.submit(function())
    owner.lanes.withdraw(call)
    assert owner.took(WANT) == [(SPEC, 1), (SPEC, 0)]


def test_a_short_call_does_not_wait_for_a_long_one_on_the_only_lane(owner: Owner) -> None:
    owner.grant()
    owner.submit(function(10_000_000.0))
    owner.submit(function(10.0))
    assert owner.took(WANT) == [(SPEC, 1)]


def test_a_short_call_does_not_wait_for_a_blocked_one(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function(10.0))
    owner.lanes.returned(lane, (), True, 0.0)
    owner.submit(function(10.0))
    assert owner.took(WANT) == [(SPEC, 1)]


def test_a_shape_without_resources_gets_a_bounded_number_of_lanes() -> None:
    owner = Owner(FREE)
    owner.submit(function(), 1000)
    assert owner.took(WANT)[-1] == (FREE, MOST_FREE_LANES)


def test_blocked_lanes_do_not_count_against_that_bound() -> None:
    owner = Owner(FREE)
    lanes = [owner.grant() for _ in range(MOST_FREE_LANES)]
    owner.submit(function(), MOST_FREE_LANES)
    for lane in lanes:
        owner.lanes.returned(lane, (), True, 0.0)
    owner.submit(function())
    assert owner.took(WANT) == [(FREE, 1)]


def test_calls_of_a_shape_that_no_node_can_hold_are_answered(owner: Owner) -> None:
    calls = owner.submit(function(), 3)
    calls[1].ended = True
    assert owner.lanes.infeasible(SPEC) == [calls[0], calls[2]]
    owner.settle()
    owner.took(WANT)
    owner.submit(function())
    assert owner.took(WANT) == [(SPEC, 1)]


def test_without_a_process_for_one_more_lane_the_next_call_ends_and_the_others_ask_again(
    owner: Owner,
) -> None:
    lane = owner.grant()
    calls = owner.submit(function(), 4)
    owner.lanes.returned(lane, (), True, 0.0)
    owner.settle()
    owner.took(WANT)
    assert owner.lanes.full(SPEC) is calls[1]
    owner.settle()
    assert owner.took(WANT) == [(SPEC, 2)]


def test_no_call_ends_for_want_of_a_process_while_a_lane_is_at_work(owner: Owner) -> None:
    owner.grant()
    owner.submit(function(), 3)
    owner.settle()
    assert owner.lanes.full(SPEC) is None


def test_calls_keep_waiting_for_the_lanes_there_are_when_no_more_can_be_had(owner: Owner) -> None:
    lane = owner.grant()
    calls = owner.submit(function(), 3)
    assert owner.lanes.infeasible(SPEC) == []
    for _ in calls:
        owner.finish(lane)
    assert [call for _, batch in owner.took(SEND) for call in batch] == calls


def test_shapes_do_not_mix(owner: Owner) -> None:
    lane, other = owner.grant(), owner.grant(OTHER)
    (a,) = owner.submit(function())
    (b,) = owner.submit(function(), spec=OTHER)
    assert owner.took(SEND) == [(lane, [a]), (other, [b])]


# -- calling back ----------------------------------------------------------------------------------------------------------


def test_an_idle_lane_takes_half_of_what_the_busiest_has_not_started(owner: Owner) -> None:
    busy = owner.grant()
    owner.submit(function())
    owner.submit(function(100.0), 40)
    owner.finish(busy)
    assert len(busy.calls) == 40
    owner.took(SEND)
    idle = owner.grant()
    assert owner.took(RECALL) == [(busy, 20)]
    back = tuple(busy.calls)[20:]
    owner.lanes.returned(busy, back, False, 0.0)
    ((lane, batch),) = owner.took(SEND)
    assert lane is idle
    assert tuple(call.sequence for call in batch) == back[: len(batch)]


def test_a_lane_is_asked_once_until_it_has_answered(owner: Owner) -> None:
    busy = owner.grant()
    owner.submit(function())
    owner.submit(function(100.0), 40)
    owner.finish(busy)
    owner.grant()
    owner.grant()
    assert len(owner.took(RECALL)) == 1


def test_a_lane_with_one_long_call_does_not_hide_another_with_many(owner: Owner) -> None:
    stuck = owner.grant()
    owner.submit(function(10_000_000.0))
    busy = owner.grant()
    owner.submit(function())
    owner.submit(function(100.0), 40)
    while len(busy.calls) < 20:
        owner.finish(busy)
    owner.lanes.pool(SPEC).ready.clear()
    owner.grant()
    ((lane, _),) = owner.took(RECALL)
    assert lane is busy
    assert len(stuck.calls) == 1


def test_little_work_is_not_worth_a_recall(owner: Owner) -> None:
    busy = owner.grant()
    owner.submit(function())
    owner.submit(function(100.0), 9)
    owner.finish(busy)
    owner.grant()
    assert owner.took(RECALL) == []


def test_returned_calls_keep_their_order_before_the_others(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    short = owner.submit(function(100.0), 20)
    owner.finish(lane)
    later = owner.submit(function(10_000.0), 2)
    owner.took(SEND)
    assert owner.lanes.returned(lane, tuple(call.sequence for call in short[10:]), False, 0.0) == short[10:]
    assert list(owner.lanes.pool(SPEC).ready) == short[10:] + later
    owner.settle()


def test_calls_that_ended_meanwhile_are_answered_but_not_queued_again(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    _, cancelled, other = owner.submit(function(100.0), 3)
    owner.finish(lane)
    cancelled.ended = True
    back = owner.lanes.returned(lane, (cancelled.sequence, other.sequence), False, 0.0)
    assert back == [cancelled, other]
    assert list(owner.lanes.pool(SPEC).ready) == [other]


def test_a_blocked_lane_gets_nothing_and_what_it_returned_runs_elsewhere(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    short = owner.submit(function(100.0), 3)
    owner.finish(lane)
    owner.took(SEND)
    owner.lanes.returned(lane, tuple(call.sequence for call in short[1:]), True, 0.0)
    assert owner.took(WANT) == [(SPEC, 1)]
    assert owner.took(SEND) == []
    other = owner.grant()
    ((where, batch),) = owner.took(SEND)
    assert where is other
    assert batch[0] is short[1]


def test_what_was_on_its_way_to_a_lane_when_it_blocked_is_called_back(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    short = owner.submit(function(100.0), 3)
    owner.finish(lane)
    owner.lanes.returned(lane, (short[1].sequence,), True, 0.0)
    assert owner.took(RECALL) == [(lane, 1)]
    owner.lanes.returned(lane, (short[2].sequence,), True, 0.0)
    assert owner.took(RECALL) == []
    assert set(owner.lanes.pool(SPEC).ready) == set(short[1:])
    owner.settle()


def test_a_lane_goes_on_getting_calls_when_its_call_goes_on(owner: Owner) -> None:
    lane = owner.grant()
    calls = owner.submit(function(), 2)
    owner.lanes.returned(lane, (), True, 0.0)
    owner.lanes.resumed(lane)
    owner.took(SEND)
    owner.finish(lane)
    assert owner.took(SEND) == [(lane, [calls[1]])]


def test_calls_that_come_back_after_the_last_answer_leave_the_lane_idle(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    first, second = owner.submit(function(100.0), 2)
    owner.finish(lane)
    owner.finish(lane)
    owner.took(SEND)
    owner.lanes.returned(lane, (second.sequence,), False, 0.0)
    assert owner.took(SEND) == [(lane, [second])]


def test_what_waits_behind_a_call_that_takes_longer_than_it_used_to_is_called_back(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    stuck, *others = owner.submit(function(100.0), 3)
    owner.finish(lane)
    owner.lanes.tick(1.0)
    assert owner.took(RECALL) == []
    owner.lanes.tick(2.0)
    assert owner.took(RECALL) == [(lane, 2)]
    owner.lanes.tick(3.0)
    assert owner.took(RECALL) == []
    owner.lanes.returned(lane, tuple(call.sequence for call in others), False, 3.0)
    assert owner.took(WANT) == [(SPEC, 1)]
    assert list(lane.calls.values()) == [stuck]


def test_an_idle_lane_keeps_nothing_of_the_call_that_it_ran_last(owner: Owner) -> None:
    class Result:
        pass

    lane = owner.grant()
    (call,) = owner.submit(function())
    call.entries.append(result := Result())
    alive = weakref.ref(result)
    owner.lanes.tick(1.0)
    owner.finish(lane)
    owner.effects.clear()
    del call, result
    assert alive() is None


def test_calls_that_follow_each_other_are_left_where_they_are(owner: Owner) -> None:
    lane = owner.grant()
    owner.submit(function())
    owner.submit(function(100.0), 3)
    owner.finish(lane)
    for tick in range(1, 4):
        owner.lanes.tick(float(tick))
        owner.finish(lane)
    assert owner.took(RECALL) == []
