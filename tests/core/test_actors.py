"""The calls of one caller to one actor: order, epochs, retries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nbray.core.actors import (
    ALIVE,
    CANCELLED,
    CONNECT,
    DEAD,
    FAIL,
    INTERRUPT,
    LIMBO,
    PENDING,
    RESTARTING,
    SEND,
    ActorCalls,
)
from nbray.core.calls import Call, Function
from nbray.core.ids import Address
from nbray.core.messages import Loss

HERE = Address(b"process0", b"node0000", "/socket", "")
CRASH: Loss = ("signal", "SIGKILL", 1, 9, "")


class Caller:
    """A machine, and a shell that carries its effects out."""

    def __init__(self) -> None:
        self.effects: list[tuple[Any, ...]] = []
        self.machine = ActorCalls(b"actor", self.effects)
        self.method = Function(1, "C.m", b"")
        self.sequence = 0
        self.sent: list[Call] = []
        self.failed: list[tuple[Call, bool, Any]] = []
        self.cancelled: list[Call] = []
        self.told: list[Call] = []
        self.peers: list[object] = []

    def call(self, *, retries: int = 0, missing: int = 0) -> Call:
        self.sequence += 1
        call = Call(self.sequence, self.method, b"", (), [], (), None, None, retries, False)
        call.missing = missing
        return call

    def submit(self, *, retries: int = 0, missing: int = 0) -> Call:
        call = self.call(retries=retries, missing=missing)
        self.machine.submit(call)
        self.settle()
        return call

    def arrived(self, call: Call) -> None:
        """The argument that a call waited for."""
        call.missing -= 1
        if not call.missing:
            self.machine.resolved(call)
        self.settle()

    def ended(self, call: Call) -> None:
        """It failed or was cancelled in the queue."""
        call.ended = True
        self.machine.resolved(call)
        self.settle()

    def cancel(self, call: Call) -> None:
        self.machine.cancel(call)
        self.settle()

    def changed(self, state: str, epoch: int, reason: Loss | None = None) -> None:
        self.machine.changed(state, epoch, HERE if state == ALIVE else None, reason)
        self.settle()

    def broke(self) -> None:
        self.machine.lost(self.machine.peer)
        self.settle()

    def settle(self) -> None:
        effects, self.effects[:] = list(self.effects), []
        for what, *rest in effects:
            if what == CONNECT:
                assert rest == [self.machine, HERE]
                self.machine.peer = object()
                self.peers.append(self.machine.peer)
            elif what == SEND:
                assert self.machine.peer is not None, "sent without a connection"
                self.sent += rest[1]
            elif what == INTERRUPT:
                assert self.machine.peer is not None
                self.told.append(rest[1])
            elif what == CANCELLED:
                (call,) = rest
                assert not call.ended
                call.ended = True
                self.cancelled.append(call)
                self.machine.resolved(call)
                self.settle()
            else:
                assert what == FAIL
                call, dead, reason = rest
                assert not call.ended
                assert not call.cancelled or call not in self.sent
                call.ended = True
                self.failed.append((call, dead, reason))
        self.machine.validate()


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def alive(caller: Caller) -> Caller:
    caller.changed(ALIVE, 0)
    return caller


# -- order -----------------------------------------------------------------------------------------------------------------


def test_calls_wait_until_the_actor_lives(caller: Caller) -> None:
    calls = [caller.submit() for _ in range(3)]
    assert caller.sent == []
    caller.changed(ALIVE, 0)
    assert caller.sent == calls


def test_the_connection_is_asked_for_before_anything_is_sent(caller: Caller) -> None:
    caller.machine.submit(caller.call())
    caller.machine.changed(ALIVE, 0, HERE, None)
    assert [effect[0] for effect in caller.effects] == [CONNECT, SEND]


def test_a_call_to_a_living_actor_goes_at_once(alive: Caller) -> None:
    call = alive.submit()
    assert alive.sent == [call]


def test_a_call_never_overtakes_an_earlier_one_whose_argument_is_pending(alive: Caller) -> None:
    first = alive.submit(missing=1)
    second = alive.submit()
    assert alive.sent == []
    alive.arrived(first)
    assert alive.sent == [first, second]


def test_arguments_that_come_out_of_order_do_not_change_the_order(alive: Caller) -> None:
    first, second, third = alive.submit(missing=1), alive.submit(missing=1), alive.submit(missing=1)
    alive.arrived(third)
    alive.arrived(second)
    assert alive.sent == []
    alive.arrived(first)
    assert alive.sent == [first, second, third]


def test_a_failed_head_releases_those_behind_it(alive: Caller) -> None:
    head = alive.submit(missing=1)
    behind = alive.submit()
    alive.ended(head)
    assert alive.sent == [behind]


def test_a_call_that_ended_in_the_middle_of_the_queue_is_never_sent(alive: Caller) -> None:
    first, second, third = alive.submit(missing=1), alive.submit(), alive.submit()
    alive.ended(second)
    alive.arrived(first)
    assert alive.sent == [first, third]


def test_a_call_whose_exception_is_to_be_retried_goes_before_what_is_queued(alive: Caller) -> None:
    first = alive.submit()
    blocked = alive.submit(missing=1)
    assert alive.machine.finished(first.sequence, 1.0) is first
    alive.machine.again(first)
    alive.settle()
    assert alive.sent == [first, first]
    alive.arrived(blocked)
    assert alive.sent == [first, first, blocked]


# -- answers -----------------------------------------------------------------------------------------------------------------


def test_an_answer_ends_a_call_once(alive: Caller) -> None:
    call = alive.submit()
    assert alive.machine.finished(call.sequence, 5.0) is call
    assert alive.machine.finished(call.sequence, 5.0) is None
    assert alive.machine.unfinished == 0
    assert alive.method.mean == 5.0


def test_an_answer_of_an_earlier_incarnation_is_refused(alive: Caller) -> None:
    call = alive.submit(retries=1)
    alive.changed(RESTARTING, 1, CRASH)
    alive.changed(ALIVE, 1)
    earlier, present = alive.peers
    assert alive.machine.finished(call.sequence, 1.0, earlier) is None
    assert alive.machine.finished(call.sequence, 1.0, present) is call


# -- the actor dies ------------------------------------------------------------------------------------------------------------


def test_what_was_sent_and_has_no_retries_fails_when_the_actor_restarts(alive: Caller) -> None:
    call = alive.submit()
    alive.changed(RESTARTING, 1, CRASH)
    assert alive.failed == [(call, False, CRASH)]


def test_what_was_sent_and_has_retries_goes_to_the_next_incarnation_in_order(alive: Caller) -> None:
    first, second = alive.submit(retries=1), alive.submit(retries=1)
    third = alive.submit(missing=1)
    alive.sent.clear()
    alive.changed(RESTARTING, 1, CRASH)
    alive.changed(ALIVE, 1)
    alive.arrived(third)
    assert alive.sent == [first, second, third]
    assert [call.attempt for call in (first, second, third)] == [1, 1, 0]


def test_retries_run_out(alive: Caller) -> None:
    call = alive.submit(retries=1)
    alive.changed(RESTARTING, 1, CRASH)
    alive.changed(ALIVE, 1)
    alive.changed(RESTARTING, 2, CRASH)
    assert alive.failed == [(call, False, CRASH)]


def test_what_was_not_sent_waits_for_the_next_incarnation_and_is_not_charged(alive: Caller) -> None:
    pending = alive.submit(missing=1)
    queued = alive.submit()
    alive.changed(RESTARTING, 1, CRASH)
    alive.arrived(pending)
    alive.changed(ALIVE, 1)
    assert alive.sent == [pending, queued]
    assert alive.failed == []
    assert queued.attempt == 0


def test_calls_to_a_restarting_actor_wait(alive: Caller) -> None:
    alive.changed(RESTARTING, 1, CRASH)
    call = alive.submit()
    assert alive.sent == []
    alive.changed(ALIVE, 1)
    assert alive.sent == [call]


def test_when_a_connection_breaks_calls_wait_for_the_verdict(alive: Caller) -> None:
    sent = alive.submit()
    alive.broke()
    assert alive.machine.state == LIMBO
    queued = alive.submit()
    assert alive.sent == [sent]
    assert alive.failed == []
    alive.changed(RESTARTING, 1, CRASH)
    assert alive.failed == [(sent, False, CRASH)]
    alive.changed(ALIVE, 1)
    assert alive.sent == [sent, queued]


def test_an_actor_that_lives_though_its_connection_broke_is_connected_anew(alive: Caller) -> None:
    sent, again = alive.submit(), alive.submit(retries=1)
    alive.broke()
    queued = alive.submit()
    alive.changed(ALIVE, 0)
    assert alive.failed == [(sent, False, None)]
    assert alive.sent == [sent, again, again, queued]
    assert len(alive.peers) == 2


def test_the_end_of_an_old_connection_is_no_news(alive: Caller) -> None:
    alive.changed(RESTARTING, 1, CRASH)
    alive.changed(ALIVE, 1)
    alive.machine.lost(alive.peers[0])
    assert alive.machine.state == ALIVE


def test_dead_for_good_fails_all_calls_in_order(alive: Caller) -> None:
    sent, queued, behind = alive.submit(retries=5), alive.submit(missing=1), alive.submit()
    alive.changed(DEAD, 0, CRASH)
    assert alive.failed == [(call, True, CRASH) for call in (sent, queued, behind)]
    late = alive.submit()
    assert alive.failed[-1] == (late, True, CRASH)


def test_a_call_that_would_run_again_fails_when_the_actor_is_dead(alive: Caller) -> None:
    call = alive.submit(retries=1)
    alive.machine.finished(call.sequence, 1.0)
    alive.changed(DEAD, 0, CRASH)
    alive.machine.again(call)
    alive.settle()
    assert alive.failed == [(call, True, CRASH)]


def test_calls_that_have_ended_are_not_failed_again(alive: Caller) -> None:
    sent, queued = alive.submit(), alive.submit(missing=1)
    sent.ended = queued.ended = True
    alive.changed(DEAD, 0, CRASH)
    assert alive.failed == []


def test_old_news_is_ignored(alive: Caller) -> None:
    alive.changed(RESTARTING, 1, CRASH)
    alive.changed(ALIVE, 1)
    call = alive.submit()
    for state, epoch in [(ALIVE, 0), (RESTARTING, 0), (DEAD, 0), (ALIVE, 1), (RESTARTING, 1), (PENDING, 1)]:
        alive.changed(state, epoch, CRASH)
        assert alive.machine.state == ALIVE
    assert alive.failed == []
    assert alive.machine.sent == {call.sequence: call}


def test_the_dead_do_not_come_back(alive: Caller) -> None:
    alive.changed(DEAD, 0, CRASH)
    alive.changed(ALIVE, 1)
    assert alive.machine.state == DEAD


def test_news_of_a_later_incarnation_alone_settles_the_earlier(alive: Caller) -> None:
    call = alive.submit()
    alive.changed(ALIVE, 3)
    assert alive.failed == [(call, False, None)]
    assert alive.machine.epoch == 3


# -- actors that take calls in any order ----------------------------------------------------------------------------------------


@pytest.fixture
def unordered(alive: Caller) -> Caller:
    alive.machine.unordered = True
    return alive


def test_an_unordered_actor_gets_each_call_when_its_arguments_are_there(unordered: Caller) -> None:
    first, second, third = unordered.submit(missing=1), unordered.submit(), unordered.submit(missing=2)
    assert unordered.sent == [second]
    unordered.arrived(third)
    unordered.arrived(first)
    assert unordered.sent == [second, first]
    unordered.arrived(third)
    assert unordered.sent == [second, first, third]


def test_what_waits_for_arguments_counts_as_unfinished_until_it_ends(unordered: Caller) -> None:
    call = unordered.submit(missing=1)
    assert unordered.machine.unfinished == 1
    unordered.cancel(call)
    assert unordered.cancelled == [call]
    assert unordered.machine.unfinished == 0


def test_what_waits_for_arguments_of_an_unordered_actor_fails_with_it(unordered: Caller) -> None:
    call = unordered.submit(missing=1)
    unordered.changed(DEAD, 0, CRASH)
    assert [failed for failed, _, _ in unordered.failed] == [call]


def test_a_call_that_is_sent_again_waits_for_its_lost_argument_alone(unordered: Caller) -> None:
    call = unordered.submit()
    assert unordered.machine.finished(call.sequence, 1.0) is call
    call.missing = 1
    unordered.machine.again(call)
    other = unordered.submit()
    assert unordered.sent == [call, other]
    unordered.arrived(call)
    assert unordered.sent == [call, other, call]


# -- cancelling -----------------------------------------------------------------------------------------------------------------


def test_a_cancelled_call_in_the_queue_releases_those_behind_it(alive: Caller) -> None:
    first, second = alive.submit(missing=1), alive.submit()
    alive.cancel(first)
    assert alive.cancelled == [first]
    assert alive.sent == [second]


def test_of_a_cancelled_call_that_was_sent_the_actor_is_told_once(alive: Caller) -> None:
    call = alive.submit()
    alive.cancel(call)
    alive.cancel(call)
    assert alive.told == [call]
    assert not alive.cancelled


def test_a_cancelled_call_does_not_go_to_the_next_incarnation(alive: Caller) -> None:
    call, other = alive.submit(retries=3), alive.submit(retries=3)
    alive.cancel(call)
    alive.changed(RESTARTING, 1, CRASH)
    assert alive.cancelled == [call]
    alive.changed(ALIVE, 1)
    assert alive.sent == [call, other, other]


def test_a_call_cancelled_while_the_connection_is_broken_ends_with_placements_word(alive: Caller) -> None:
    call = alive.submit(retries=3)
    alive.broke()
    alive.cancel(call)
    assert not alive.told
    alive.changed(ALIVE, 0)
    assert alive.cancelled == [call]
    assert alive.sent == [call]


# -- against a model -------------------------------------------------------------------------------------------------------------


class ActorAgainstTheModel(RuleBasedStateMachine):
    """One actor that dies and restarts, told of by placement; its connection tells on its own, earlier or later."""

    def __init__(self) -> None:
        super().__init__()
        self.caller = Caller()
        self.calls: list[Call] = []
        self.limits: dict[Call, int] = {}
        self.epoch = -1
        self.state = PENDING
        self.news: list[tuple[str, int, Loss | None]] = []
        self.arrived: dict[int, list[Call]] = {}  # by incarnation, in the order in which it runs them
        self.answered: set[Call] = set()
        self.late: set[Call] = set()  # submitted before their arguments were there
        self.seen = 0

    @initialize(unordered=st.booleans())
    def kind(self, unordered: bool) -> None:
        self.caller.machine.unordered = unordered

    ANY = st.integers(0, 1_000)

    def settle(self) -> None:
        """What was sent reaches the incarnation that the machine believes in."""
        self.caller.settle()
        new, self.seen = self.caller.sent[self.seen :], len(self.caller.sent)
        for call in new:
            assert not call.ended
            assert not call.missing
            self.arrived.setdefault(self.caller.machine.epoch, []).append(call)

    @rule(retries=st.integers(-1, 2), missing=st.integers(0, 1))
    def submit(self, retries: int, missing: int) -> None:
        call = self.caller.submit(retries=retries, missing=missing)
        self.calls.append(call)
        self.limits[call] = retries
        if missing:
            self.late.add(call)
        self.settle()

    @rule(n=ANY)
    def argument(self, n: int) -> None:
        waiting = [call for call in self.calls if call.missing and not call.ended]
        if waiting:
            self.caller.arrived(waiting[n % len(waiting)])
            self.settle()

    @rule(n=ANY)
    def end(self, n: int) -> None:
        """An argument failed, or a cancelled call was given up."""
        alive = [call for call in self.calls if not call.ended]
        if alive:
            self.caller.ended(alive[n % len(alive)])
            self.settle()

    @rule(n=ANY)
    def cancel(self, n: int) -> None:
        alive = [call for call in self.calls if not call.ended]
        if alive:
            call = alive[n % len(alive)]
            waits = call in self.caller.machine.queue or call in self.caller.machine.waiting.values()
            self.caller.cancel(call)
            assert call.ended == waits, "in the queue it ends at once, elsewhere when the actor has answered"
            self.settle()

    @precondition(lambda self: self.state in (PENDING, RESTARTING))
    @rule()
    def comes_up(self) -> None:
        self.epoch = max(self.epoch, 0)
        self.state = ALIVE
        self.news.append((ALIVE, self.epoch, None))

    @precondition(lambda self: self.state == ALIVE)
    @rule()
    def crashes(self) -> None:
        self.epoch += 1
        self.state = RESTARTING
        self.news.append((RESTARTING, self.epoch, CRASH))

    @precondition(lambda self: self.state != DEAD)
    @rule(sure=st.integers(0, 9))
    def dies(self, sure: int) -> None:
        if sure == 0:
            self.state = DEAD
            self.news.append((DEAD, max(self.epoch, 0), CRASH))

    @precondition(lambda self: self.news)
    @rule(twice=st.booleans())
    def hear(self, twice: bool) -> None:
        state, epoch, reason = self.news.pop(0)
        self.caller.changed(state, epoch, reason)
        if twice:
            self.caller.changed(state, epoch, reason)
        self.settle()

    @rule()
    def connection_breaks(self) -> None:
        """Because the incarnation is gone, or for no reason; then somebody asks placement."""
        machine = self.caller.machine
        if machine.state == ALIVE:
            self.caller.broke()
            if self.state == ALIVE and machine.epoch == self.epoch:
                self.news.append((ALIVE, self.epoch, None))
            self.settle()

    @rule(n=ANY, again=st.booleans())
    def answer(self, n: int, again: bool) -> None:
        """The incarnation answers its first call; the answer comes over its own connection, which may be an old one."""
        machine = self.caller.machine
        epochs = [epoch for epoch, calls in self.arrived.items() if calls]
        if not epochs:
            return
        epoch = epochs[n % len(epochs)]
        call = self.arrived[epoch].pop(0)
        peer = machine.peer if epoch == machine.epoch and machine.state == ALIVE else object()
        found = machine.finished(call.sequence, 10.0, peer)
        if found is not None and not found.ended:
            assert call not in self.answered
            if again and not call.cancelled and call.charge():
                machine.again(call)
            else:
                self.answered.add(call)
                call.ended = True
        self.settle()

    @invariant()
    def the_machine_is_consistent(self) -> None:
        self.caller.machine.validate()

    @invariant()
    def a_call_that_has_not_ended_is_in_one_place(self) -> None:
        machine = self.caller.machine
        for call in self.calls:
            places = sum(
                call in calls for calls in (machine.queue, machine.sent.values(), machine.waiting.values())
            )
            assert places == 1 if not call.ended else places <= 1

    @invariant()
    def a_call_is_not_tried_more_often_than_it_may(self) -> None:
        for call, limit in self.limits.items():
            if limit >= 0:
                assert call.attempt <= limit
                assert self.caller.sent.count(call) <= call.attempt + 1

    @invariant()
    def first_attempts_go_in_order(self) -> None:
        firsts = list(dict.fromkeys(self.caller.sent))
        if self.caller.machine.unordered:
            firsts = [call for call in firsts if call not in self.late]
        assert firsts == sorted(firsts, key=lambda call: call.sequence)

    def teardown(self) -> None:
        while self.news:
            self.hear(False)
        if self.state in (PENDING, RESTARTING):
            self.comes_up()
            self.hear(False)
        if self.caller.machine.state == LIMBO:
            self.caller.changed(ALIVE, self.epoch)
            self.settle()
        for call in self.calls:
            if call.missing and not call.ended:
                self.caller.arrived(call)
        self.settle()
        for call in list(self.caller.machine.sent.values()):
            found = self.caller.machine.finished(call.sequence, 1.0, self.caller.machine.peer)
            assert found is call
            call.ended = True
        assert all(call.ended for call in self.calls), "a call has no end"


TestActorAgainstTheModel = ActorAgainstTheModel.TestCase
TestActorAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_calls_after_a_kill_wait_for_the_verdict_and_never_reach_it(alive: Caller) -> None:
    before = alive.submit()
    alive.machine.killed()
    after = alive.submit()
    assert alive.sent == [before]
    peer = alive.machine.peer
    assert alive.machine.finished(before.sequence, 1.0, peer) is before, "what was sent may still be answered"
    alive.changed(DEAD, 0, CRASH)
    assert [call for call, _, _ in alive.failed] == [after]
