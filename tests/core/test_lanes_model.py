"""Lanes against a model: executors that run, block, return and die, with messages under way in between."""

from __future__ import annotations

from collections import deque
from typing import Any

from core.lanes_support import FREE, OTHER, SPEC
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nbray.core.calls import Call, Function
from nbray.core.lanes import (
    CANCELLED,
    CRASHED,
    GIVE,
    INTERRUPT,
    RECALL,
    SEND,
    WANT,
    Lane,
    Lanes,
)


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
