"""Which call goes to which lane, and how many lanes an owner wants."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nbray.core.calls import Call, Function
from nbray.core.lanes import (
    CANCELLED,
    CRASHED,
    DOUBTED,
    GIVE,
    INTERRUPT,
    LINGER,
    MOST,
    MOST_FREE_LANES,
    RECALL,
    SEND,
    TARGET,
    TURN,
    WANT,
    Lane,
    Lanes,
)
from nbray.core.ready import Ready

SPEC: Any = ((("CPU", 10_000),), ())
OTHER: Any = ((("CPU", 20_000),), ())
FREE: Any = ((), ())


def function(*durations: float) -> Function:
    """A function that has run, with these durations in us."""
    made = Function(1, "f", b"")
    for duration in durations:
        made.ran(duration)
    return made


class Owner:
    """A machine, and what its effects have led to."""

    def __init__(self, spec: Any = SPEC) -> None:
        self.lanes = Lanes()
        self.spec = spec
        self.now = 0.0
        self.sequence = 0
        self.leases = 0
        self.effects: list[tuple[Any, ...]] = []

    def call(self, of: Function, *, retries: int = 0, spec: Any = None, priority: int = 0) -> Call:
        self.sequence += 1
        pool = self.lanes.pool(self.spec if spec is None else spec)
        call = Call(self.sequence, of, b"", (), [], (), None, pool, retries, False)
        call.priority = priority
        return call

    def submit(
        self, of: Function, n: int = 1, *, retries: int = 0, spec: Any = None, priority: int = 0
    ) -> list[Call]:
        calls = [self.call(of, retries=retries, spec=spec, priority=priority) for _ in range(n)]
        for call in calls:
            self.lanes.submit(call)
        self.settle()
        return calls

    def grant(self, spec: Any = None) -> Lane:
        self.leases += 1
        lane = self.lanes.granted(self.leases, self.spec if spec is None else spec, None, self.now)
        self.settle()
        return lane

    def finish(self, lane: Lane, n: int = 1) -> None:
        """The next ``n`` answers come. A call takes as long as its function used to, and 50 ms the first time."""
        for _ in range(n):
            call = lane.running
            assert call is not None
            duration = call.function.mean or 50_000.0
            assert self.lanes.finished(lane, call.sequence, duration, self.now) is call
        self.settle()

    def cancel(self, call: Call) -> None:
        self.lanes.cancel(call)
        self.settle()

    def settle(self) -> None:
        effects = self.lanes.take_effects()
        for effect in effects:
            if effect[0] == CANCELLED:
                effect[1].ended = True
                self.lanes.withdraw(effect[1])
        self.effects += effects + self.lanes.take_effects()
        self.lanes.validate()

    def took(self, kind: str) -> list[tuple[Any, ...]]:
        """The effects of that kind since the last question."""
        self.settle()
        found = [effect[1:] for effect in self.effects if effect[0] == kind]
        self.effects = [effect for effect in self.effects if effect[0] != kind]
        return found


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
    owner.submit(function(100.0), 100)
    lane = owner.grant()
    owner.took(SEND)
    owner.finish(lane, 19)
    assert owner.took(SEND) == []
    owner.finish(lane)
    ((_, batch),) = owner.took(SEND)
    assert len(batch) == 20


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


# -- against a model -----------------------------------------------------------------------------------------------------------


class Executor:
    """The other end of a lane: runs what it is sent, one after the other. ``inbox`` is what is on its way there."""

    def __init__(self) -> None:
        self.inbox: deque[tuple[Any, ...]] = deque()
        self.queue: deque[Call] = deque()
        self.outbox: deque[tuple[Any, ...]] = deque()
        self.running: Call | None = None
        self.blocked = False
        self.leaves = False


class LanesAgainstTheModel(RuleBasedStateMachine):
    """Executors that run, block, return and die, and a placement that grants, with messages under way in between."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Lanes()
        self.now = 0.0
        self.executors: dict[Lane, Executor] = {}
        self.calls: list[Call] = []
        self.limits: dict[Call, int] = {}
        self.runs: dict[Call, int] = {}
        self.outcome: dict[Call, str] = {}
        self.wanted: dict[Any, int] = {}
        self.functions = [Function(n, f"f{n}", b"") for n in range(4)]
        self.leases = 0

    DURATIONS = st.sampled_from([1.0, 10.0, 100.0, 900.0, 5_000.0, 100_000.0])
    SPECS = st.sampled_from([SPEC, OTHER, FREE])
    ANY = st.integers(0, 1_000)

    def settle(self) -> None:
        while effects := self.machine.take_effects():
            self.carry_out(effects)

    def carry_out(self, effects: list[tuple[Any, ...]]) -> None:
        for effect in effects:
            if effect[0] == SEND:
                _, lane, batch = effect
                assert batch
                for call in batch:
                    assert call not in self.outcome, "an ended call was sent"
                    assert not any(call in e.queue or call is e.running for e in self.executors.values())
                self.executors[lane].inbox.append(("calls", list(batch)))
            elif effect[0] == RECALL:
                self.executors[effect[1]].inbox.append(("recall", effect[2]))
            elif effect[0] == GIVE:
                gone = self.executors.pop(effect[1])
                assert gone.running is None and not gone.queue
                assert not any(kind == "calls" for kind, _ in gone.inbox)
            elif effect[0] == CRASHED:
                _, call, _ = effect
                assert not call.cancelled
                if call.charge():
                    self.machine.again(call)
                else:
                    self.end(call, "crashed")
            elif effect[0] == CANCELLED:
                call = effect[1]
                assert not any(call in e.queue or call is e.running for e in self.executors.values())
                self.end(call, "cancelled")
                self.machine.withdraw(call)
            elif effect[0] == INTERRUPT:
                self.executors[effect[1]].inbox.append(("cancel", effect[2]))
            else:
                assert effect[0] == WANT
                self.wanted[effect[1]] = effect[2]

    def end(self, call: Call, how: str) -> None:
        assert call not in self.outcome, "ended twice"
        self.outcome[call] = how
        call.ended = True

    def pick(self, n: int, wanted: Any) -> tuple[Lane, Executor] | None:
        found = [(lane, e) for lane, e in self.executors.items() if wanted(e)]
        return found[n % len(found)] if found else None

    # rules: the owner

    @rule(of=st.integers(0, 3), n=st.integers(1, 20), retries=st.integers(-1, 2), spec=SPECS)
    def submit(self, of: int, n: int, retries: int, spec: Any) -> None:
        for _ in range(n):
            call = Call(
                len(self.calls),
                self.functions[of],
                b"",
                (),
                [],
                (),
                None,
                self.machine.pool(spec),
                retries,
                False,
            )
            call.priority = (0, 0, 1, -1)[of]
            self.calls.append(call)
            self.limits[call] = retries
            self.runs[call] = 0
            self.machine.submit(call)
            self.settle()

    @rule(n=ANY)
    def cancel(self, n: int) -> None:
        alive = [call for call in self.calls if call not in self.outcome]
        if alive:
            self.machine.cancel(alive[n % len(alive)])
            self.settle()

    @rule(n=ANY)
    def give_up(self, n: int) -> None:
        """Somebody ends a call wherever it is: one that does not react, or all of them at the end of the session."""
        alive = [call for call in self.calls if call not in self.outcome]
        if alive:
            call = alive[n % len(alive)]
            self.end(call, "given up")
            if n % 2:
                self.machine.withdraw(call)
            self.settle()

    @rule(seconds=st.sampled_from([0.01, 0.5, 2.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.machine.tick(self.now)
        self.settle()

    # rules: placement

    @rule(spec=SPECS)
    def grant(self, spec: Any) -> None:
        if self.wanted.get(spec, 0):
            self.wanted[spec] -= 1
        self.leases += 1
        # The effects of the grant name the lane before the call returns it: as in the shell, look them up afterwards.
        lane = self.machine.granted(self.leases, spec, None, self.now)
        self.executors[lane] = Executor()
        self.settle()

    @rule(n=st.integers(0, 3))
    def reclaim(self, n: int) -> None:
        self.machine.reclaim(n, self.now)
        self.settle()

    @rule(spec=SPECS)
    def refuse(self, spec: Any) -> None:
        for call in self.machine.infeasible(spec):
            self.end(call, "refused")
        self.wanted[spec] = 0
        self.settle()

    @rule(spec=SPECS)
    def run_out_of_processes(self, spec: Any) -> None:
        self.wanted[spec] = 0
        call = self.machine.full(spec)
        if call is not None:
            self.end(call, "refused")
        self.settle()

    # rules: executors

    @rule(n=ANY)
    def receive(self, n: int) -> None:
        found = self.pick(n, lambda e: e.inbox)
        if found is None:
            return
        _, executor = found
        kind, what = executor.inbox.popleft()
        if kind == "calls" and executor.leaves:
            executor.outbox.append(("returned", tuple(call.sequence for call in what), False))
        elif kind == "calls":
            executor.queue.extend(what)
        elif kind == "cancel":
            if what in executor.queue:
                executor.queue.remove(what)
                executor.outbox.append(("result", what, 0.0))
        else:
            back = [executor.queue.pop() for _ in range(min(what, len(executor.queue)))]
            executor.outbox.append(("returned", tuple(c.sequence for c in reversed(back)), executor.blocked))

    @rule(n=ANY)
    def start(self, n: int) -> None:
        found = self.pick(n, lambda e: e.running is None and e.queue)
        if found is not None:
            found[1].running = call = found[1].queue.popleft()
            assert self.outcome.get(call) != "cancelled", "it was said not to run"
            self.runs[call] += 1

    @rule(n=ANY)
    def start_the_last(self, n: int) -> None:
        found = self.pick(n, lambda e: e.running is not None and not e.blocked and not e.leaves)
        if found is not None:
            executor = found[1]
            executor.leaves = True
            executor.outbox.append(("last", tuple(c.sequence for c in executor.queue)))
            executor.queue.clear()

    @rule(n=ANY, duration=DURATIONS)
    def answer(self, n: int, duration: float) -> None:
        found = self.pick(n, lambda e: e.running is not None and not e.blocked)
        if found is not None:
            executor = found[1]
            executor.outbox.append(("result", executor.running, duration))
            executor.running = None

    @rule(n=ANY)
    def block(self, n: int) -> None:
        found = self.pick(n, lambda e: e.running is not None and not e.blocked)
        if found is not None:
            executor = found[1]
            executor.blocked = True
            executor.outbox.append(("returned", tuple(c.sequence for c in executor.queue), True))
            executor.queue.clear()

    @rule(n=ANY)
    def go_on(self, n: int) -> None:
        found = self.pick(n, lambda e: e.blocked)
        if found is not None:
            found[1].blocked = False
            found[1].outbox.append(("resumed",))

    @rule(n=ANY)
    def hear(self, n: int) -> None:
        found = self.pick(n, lambda e: e.outbox)
        if found is not None:
            self.heard(*found)

    def heard(self, lane: Lane, executor: Executor) -> None:
        what, *fields = executor.outbox.popleft()
        if what == "result":
            call, duration = fields
            assert call.cancelled or next(c for c in lane.calls.values() if not c.cancelled) is call, (
                "answers come in the order of sending, but for those of calls that were cancelled in the queue"
            )
            assert self.machine.finished(lane, call.sequence, duration, self.now) is call
            if not call.ended:
                self.end(call, "cancelled" if call.cancelled and not self.runs[call] else "finished")
        elif what == "last":
            self.machine.last(lane, fields[0], self.now)
        elif what == "returned":
            self.machine.returned(lane, fields[0], fields[1], self.now)
        else:
            self.machine.resumed(lane)
        self.settle()

    @rule(n=ANY, late=st.booleans())
    def die(self, n: int, late: bool) -> None:
        """Its last words are read first, as from a socket; or the connection was gone at once."""
        found = self.pick(n, lambda e: True)
        if found is not None:
            lane, executor = found
            told_first = bool(n % 2) and not any(what != "result" for what, *_ in executor.outbox)
            if told_first:  # placement's word comes before its last answers are read
                self.machine.ending(lane)
                self.settle()
            while executor.outbox and (told_first or not lane.gone):
                self.heard(lane, executor)
            if lane.gone and not told_first:
                return
            del self.executors[lane]
            opened = late or executor.running is not None or not lane.calls
            self.machine.lost(lane, charge=opened)
            self.settle()

    # laws

    @invariant()
    def the_machine_is_consistent(self) -> None:
        self.machine.validate()

    @invariant()
    def a_call_is_in_one_place(self) -> None:
        where: dict[Call, int] = {}
        for pool in self.machine.pools():
            for call in pool.ready:
                where[call] = where.get(call, 0) + 1
            for lane in pool.lanes:
                for call in lane.calls.values():
                    where[call] = where.get(call, 0) + 1
        for call in self.calls:
            if call not in self.outcome:
                assert where.pop(call, 0) == 1, "a call was lost or doubled"
            else:
                assert where.pop(call, 0) <= 1

    @invariant()
    def a_call_is_not_tried_more_often_than_it_may(self) -> None:
        for call in self.calls:
            limit = self.limits[call]
            if limit >= 0:
                assert self.runs[call] <= call.attempt + 1 <= limit + 1

    @invariant()
    def placement_knows_what_is_wanted(self) -> None:
        for pool in self.machine.pools():
            assert self.wanted.get(pool.spec, 0) == pool.wanted

    def teardown(self) -> None:
        """With lanes enough and nobody blocked for ever, every call comes to its end."""
        for round_ in range(10_000):
            busy = False
            for pool in self.machine.pools():
                if pool.wanted:
                    self.grant(pool.spec)
                    busy = True
            for lane, executor in list(self.executors.items()):
                if executor.blocked:
                    self.pick_up(executor)
                while executor.inbox:
                    kind, what = executor.inbox.popleft()
                    if kind == "calls":
                        executor.queue.extend(what)
                    elif kind == "recall":
                        executor.outbox.append(("returned", (), False))
                    busy = True
                if executor.running is None and executor.queue:
                    executor.running = executor.queue.popleft()
                if executor.running is not None:
                    executor.outbox.append(("result", executor.running, 10.0))
                    executor.running = None
                while executor.outbox and not lane.gone:
                    self.heard(lane, executor)
                    busy = True
            self.the_machine_is_consistent()
            if not busy:
                break
            assert round_ < 9_999, "never at rest"
        assert all(call in self.outcome for call in self.calls), "a call has no end"

    def pick_up(self, executor: Executor) -> None:
        executor.blocked = False
        executor.outbox.append(("resumed",))


TestLanesAgainstTheModel = LanesAgainstTheModel.TestCase
TestLanesAgainstTheModel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
