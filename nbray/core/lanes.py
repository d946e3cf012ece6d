"""The owner's machine for tasks: which call goes to which lane, and how many lanes are wanted.

Events in (methods), effects out (``take_effects``):

    (SEND, lane, calls)      send these calls, in this order
    (WANT, spec, n)          n leases of that shape are wanted and not yet granted (absolute)
    (GIVE, lane)             the lease goes back
    (RECALL, lane, n)        ask for up to n calls that have not started
    (CRASHED, call, lane)    the lane died while the call may have run; ``again`` runs it once more
    (DOUBTED, call, lane)    likewise, unless it turns out that the lane's executor has died: then it has not run
    (CANCELLED, call)        a cancelled call is where it cannot run any more: it ends
    (INTERRUPT, lane, call)  a cancelled call was sent: its executor has to know

How much a lane gets: one call, and more only while the functions' own durations say that all of it is done within ``TARGET``. So
a long call never waits behind another while a second lane could take it, and short calls come in batches. A call that turns out
long or blocks counts as long from then on, and what was queued behind it comes back.
"""

from __future__ import annotations

from typing import Any

from nbray.core.calls import Call
from nbray.core.messages import Spec
from nbray.core.ready import Ready

SEND, WANT, GIVE, RECALL, CRASHED, DOUBTED = "send", "want", "give", "recall", "crashed", "doubted"
CANCELLED, INTERRUPT = "cancelled", "interrupt"

#: us of work that a lane may have queued. Of calls of 1 ms, 2 to 4 % more a second than with 4,000, and as many with 16,000.
TARGET = 8_000.0
#: Calls that a lane may have queued, however short.
MOST = 512
#: Seconds an idle lane is kept when nobody else wants it.
LINGER = 1.0
#: Seconds a lane is kept against others' wants while its owner has work for it.
TURN = 0.1
#: A shape that needs no resources is bounded by nothing else.
MOST_FREE_LANES = 64


class Lane:
    """A lease and the executor behind it.

    ``calls`` are those sent and not answered, in the order of sending. ``peer`` is the shell's connection. ``head`` is the
    number of the call that was running at the last tick, or 0 (the call itself would keep its refs alive when it has ended).
    ``last``: the running call is the last that its executor runs.
    """

    __slots__ = (
        "lease",
        "spec",
        "peer",
        "calls",
        "load",
        "blocked",
        "recalling",
        "since",
        "granted",
        "known",
        "gone",
        "idle",
        "head",
        "last",
    )
    #: What runs here is named by the call; an actor's machine says its class.
    name = ""

    def __init__(self, lease: int, spec: Spec, peer: Any, now: float) -> None:
        self.lease = lease
        self.spec = spec
        self.peer = peer
        self.calls: dict[int, Call] = {}
        self.load = 0.0
        self.blocked = False
        self.recalling = False
        self.since = now
        self.granted = now
        self.known: set[int] = set()
        self.gone = False
        self.idle = True
        self.head = 0
        self.last = False

    @property
    def running(self) -> Call | None:
        """The first unanswered call: the only one that can have started."""
        return next(iter(self.calls.values()), None)


class Pool:
    """All calls and lanes of one shape."""

    __slots__ = ("spec", "ready", "lanes", "idle", "wanted", "most", "priority")

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.ready = Ready()
        self.lanes: list[Lane] = []
        self.idle: list[Lane] = []
        self.wanted = 0
        self.priority = 0  # for which they are wanted
        self.most = MOST_FREE_LANES if not spec[0] else 1 << 30


class Lanes:
    def __init__(self) -> None:
        self._pools: dict[Spec, Pool] = {}
        self._owed = 0
        self._effects: list[tuple[Any, ...]] = []

    def take_effects(self) -> list[tuple[Any, ...]]:
        effects, self._effects = self._effects, []
        return effects

    @property
    def has_effects(self) -> bool:
        return bool(self._effects)

    def pool(self, spec: Spec) -> Pool:
        pool = self._pools.get(spec)
        if pool is None:
            pool = self._pools[spec] = Pool(spec)
        return pool

    def pools(self) -> list[Pool]:
        return list(self._pools.values())

    # -- calls -----------------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """A call whose arguments are all there."""
        pool = call.pool
        ready = pool.ready
        ready.append(call)
        if pool.idle and ready.live == 1:
            self._fill(pool, pool.idle[-1])
        waiting = ready.live
        if (
            waiting and call.priority > pool.priority and pool.wanted
        ):  # those that it overtakes have asked for less
            pool.priority = call.priority
            self._want(pool, pool.wanted)
        if waiting > pool.wanted and not waiting & (waiting - 1):  # at each doubling
            self._demand(pool)

    def finished(self, lane: Lane, sequence: int, duration: float, now: float) -> Call | None:
        """An answer came; None if that lane has no such call (a late duplicate)."""
        call = lane.calls.pop(sequence, None)
        if call is None:
            return None
        call.function.ran(duration)
        if lane.gone:
            call.place = None
            return call
        lane.blocked = lane.last
        lane.load -= call.estimate
        if not lane.calls:
            lane.load = 0.0
        call.place = None
        pool = call.pool
        if pool.ready.live:
            # A lane that is owed to others gets no more, so it falls idle and goes back.
            if lane.load <= TARGET / 2 and not (self._owed and now - lane.granted > TURN):
                self._fill(pool, lane)
                if pool.ready.live > pool.wanted:
                    self._demand(pool)
        elif pool.wanted:
            self._want(pool, 0)
        if not lane.calls:
            self._now_idle(pool, lane, now)
        return call

    def again(self, *calls: Call) -> None:
        """Run calls of one shape once more, before the others."""
        pool = calls[0].pool
        pool.ready.extendleft(reversed(calls))
        self._spread(pool)

    def returned(self, lane: Lane, sequences: tuple[int, ...], blocked: bool, now: float) -> list[Call]:
        """Calls came back that had not started. ``blocked``: because the running one waits for something."""
        lane.recalling = False
        back = [call for s in sequences if (call := lane.calls.pop(s, None)) is not None]
        for call in back:
            lane.load -= call.estimate
            call.place = None
        lane.blocked = blocked and bool(lane.calls)
        if lane.blocked:
            self._is_long(lane)  # and what was on its way when it blocked has to come back
        lane.blocked = lane.blocked or lane.last
        pool = self._pools[lane.spec]
        pool.ready.extendleft(reversed(self._still_wanted(back)))
        if not lane.calls and not lane.idle:  # its last answer came before them
            lane.load = 0.0
            self._now_idle(pool, lane, now)
        self._spread(pool)
        return back

    def resumed(self, lane: Lane) -> None:
        """The running call goes on."""
        lane.blocked = lane.last

    def last(self, lane: Lane, sequences: tuple[int, ...], now: float) -> None:
        """The lane's executor leaves after the running call: those calls of it that came back run elsewhere, and it gets no more.

        What was on its way to it comes back, too. Then the lease goes back.
        """
        lane.last = True
        self.returned(lane, sequences, False, now)

    def withdraw(self, call: Call) -> bool:
        """A call has ended: take it out of the queue. False if it is not there."""
        ready = call.pool.ready
        if call.place is not ready:
            return False
        ready.withdraw(call)
        if not ready.live and call.pool.wanted:
            self._want(call.pool, 0)
        return True

    def cancel(self, call: Call) -> None:
        """The call is not wanted any more: it does not start, not even again; if it may have, its executor is told."""
        if call.cancelled or call.ended:
            return
        call.cancelled = True
        if type(call.place) is Lane:
            self._effects.append((INTERRUPT, call.place, call))
        else:
            self._effects.append((CANCELLED, call))

    def infeasible(self, spec: Spec) -> list[Call]:
        """No node can hold one more lease of that shape: answers the calls that will never run."""
        pool = self.pool(spec)
        pool.wanted = 0
        if any(not lane.blocked for lane in pool.lanes):
            return []  # they run one after the other on the lanes there are
        calls = [call for call in pool.ready if not call.ended]
        pool.ready.clear()
        return calls

    def full(self, spec: Spec) -> Call | None:
        """No process can be had for one more lane of that shape, and all there are wait: answers the call that ends for it."""
        pool = self.pool(spec)
        pool.wanted = 0
        call = pool.ready.head()
        if call is not None and all(lane.blocked for lane in pool.lanes):
            pool.ready.take()
        else:
            call = None
        if pool.ready:
            self._demand(pool)
        return call

    # -- lanes -----------------------------------------------------------------------------------------------------

    def granted(self, lease: int, spec: Spec, peer: Any, now: float) -> Lane:
        pool = self.pool(spec)
        lane = Lane(lease, spec, peer, now)
        pool.wanted = max(pool.wanted - 1, 0)
        pool.lanes.append(lane)
        pool.idle.append(lane)
        self._fill(pool, lane)
        if not lane.calls and not self._steal(pool, lane) and self._owed:
            self._repay(now)
        return lane

    def ending(self, lane: Lane) -> None:
        """The lane's executor is gone, but answers that it has sent are still to be read: it gets nothing more. Then ``lost``."""
        if not lane.gone:
            self._drop(lane)

    def lost(self, lane: Lane, *, charge: bool = True, dead: bool = True) -> None:
        """The lane is gone. If its executor has died, only the first unanswered call can have run: it has crashed, the rest runs
        elsewhere. If nothing is known but that the connection ended, answers may be lost, and each call sent may have run.

        Args:
            charge: False if it is known that none ran, because the connection never opened.
            dead: the executor has died.
        """
        self.ending(lane)
        pool = self._pools[lane.spec]
        back: list[Call] = []
        for position, call in enumerate(lane.calls.values()):
            call.place = None
            if call.ended or call.cancelled:
                back.append(call)
            elif charge and position == 0:
                self._effects.append((CRASHED, call, lane))
            elif charge and not dead:
                self._effects.append((DOUBTED, call, lane))
            else:
                back.append(call)
        lane.calls = {}
        pool.ready.extendleft(reversed(self._still_wanted(back)))
        self._spread(pool)

    def reclaim(self, n: int, now: float) -> None:
        """Somebody waits: give back up to ``n`` leases, idle ones at once and others when they fall idle."""
        self._owed = n
        self._repay(now)

    def tick(self, now: float) -> None:
        """Give back what has been idle for long; call back what waits behind a call that takes longer than it used to."""
        for pool in self._pools.values():
            for lane in [lane for lane in pool.idle if now - lane.since >= LINGER]:
                self._give(lane)
            for lane in pool.lanes:
                running = next(iter(lane.calls), 0)
                if running and running == lane.head:
                    self._is_long(lane)
                lane.head = running
            if pool.ready:
                self._demand(pool)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _still_wanted(self, back: list[Call]) -> list[Call]:
        """Of calls that came back: those that are to run."""
        self._effects += [(CANCELLED, call) for call in back if call.cancelled and not call.ended]
        return [call for call in back if not call.cancelled and not call.ended]

    def _spread(self, pool: Pool) -> None:
        while pool.ready and pool.idle:
            before = pool.ready.live
            self._fill(pool, pool.idle[-1])
            if pool.ready.live == before:
                break
        if pool.ready:
            self._demand(pool)

    def _fill(self, pool: Pool, lane: Lane) -> None:
        ready = pool.ready
        if not ready.live or lane.blocked:
            return
        budget = TARGET - lane.load
        most = min(MOST - len(lane.calls), -(-ready.live // len(pool.lanes)))
        calls = lane.calls
        busy = bool(calls)
        batch: list[Call] = []
        while len(batch) < most:
            call = ready.head()
            if call is None:
                break
            if busy and call.extra is not None and len(calls) >= call.extra.get("max_calls", MOST):
                break  # they would come back
            function = call.function
            if function.predictable:
                estimate = function.mean or 1.0
                if busy and estimate > budget:
                    break
            else:
                if busy:
                    break
                estimate = TARGET
            ready.take()
            call.estimate = estimate
            call.place = lane
            budget -= estimate
            lane.load += estimate
            calls[call.sequence] = call
            batch.append(call)
            busy = True
        if batch:
            if lane.idle:
                lane.idle = False
                pool.idle.remove(lane)
            self._effects.append((SEND, lane, batch))

    def _now_idle(self, pool: Pool, lane: Lane, now: float) -> None:
        if lane.last:
            self._owed = max(self._owed - 1, 0)
            self._give(lane)
            if pool.ready:
                self._demand(pool)
            return
        lane.since = now
        lane.idle = True
        pool.idle.append(lane)
        if self._owed and (not pool.ready or now - lane.granted > TURN):
            self._owed -= 1
            self._give(lane)
            if pool.ready:
                self._demand(pool)
        elif not self._steal(pool, lane) and pool.ready:
            self._fill(pool, lane)

    def _steal(self, pool: Pool, idle: Lane) -> bool:
        """An idle lane and nothing ready: call back half of what the busiest lane has not started."""
        if pool.ready or len(pool.lanes) < 2:
            return False
        busiest, most = None, TARGET / 4
        for lane in pool.lanes:
            if lane.load >= most and len(lane.calls) > 1 and not lane.blocked:
                busiest, most = lane, lane.load
        if busiest is None or busiest.recalling:
            return False
        busiest.recalling = True
        self._effects.append((RECALL, busiest, len(busiest.calls) // 2))
        return True

    def _is_long(self, lane: Lane) -> None:
        """The running call takes its time, whatever its function's durations said: what waits behind it comes back."""
        running = lane.running
        assert running is not None
        if running.estimate < TARGET:
            lane.load += TARGET - running.estimate
            running.estimate = TARGET
        if len(lane.calls) > 1 and not lane.recalling:
            lane.recalling = True
            self._effects.append((RECALL, lane, len(lane.calls) - 1))

    def _repay(self, now: float) -> None:
        for pool in self._pools.values():
            while self._owed and pool.idle:
                self._owed -= 1
                self._give(pool.idle[0])

    def _give(self, lane: Lane) -> None:
        self._drop(lane)
        self._effects.append((GIVE, lane))

    def _drop(self, lane: Lane) -> None:
        lane.gone = True
        pool = self._pools[lane.spec]
        pool.lanes.remove(lane)
        if lane in pool.idle:
            pool.idle.remove(lane)

    def _demand(self, pool: Pool) -> None:
        """Ask for more lanes if the backlog is worth them; in doublings, not once a call."""
        first = pool.ready.head()
        if first is None:
            return
        waiting = pool.ready.live
        head = first.function
        if head.predictable:
            # Short calls wait for a lane that has only short ones before them, never for a long or blocked one.
            soon = any(lane.load < TARGET and not lane.blocked for lane in pool.lanes)
            needed = min(waiting, int(waiting * head.mean / TARGET) + (0 if soon else 1))
        else:
            needed = waiting
        if needed > pool.wanted:
            # Blocked lanes do no work: not counting them, calls that wait for calls behind them get lanes however many block.
            needed = min(needed, pool.most - sum(not lane.blocked for lane in pool.lanes))
        if needed > pool.wanted and (not pool.wanted or needed >= 2 * pool.wanted):
            self._want(pool, needed)

    def _want(self, pool: Pool, n: int) -> None:
        pool.wanted = n
        head = pool.ready.head()
        pool.priority = head.priority if head is not None else 0
        self._effects.append((WANT, pool.spec, n))

    def validate(self) -> None:
        """Check the machine against itself; tests call it after every step."""
        for pool in self._pools.values():
            assert len(set(map(id, pool.lanes))) == len(pool.lanes)
            assert set(map(id, pool.idle)) <= set(map(id, pool.lanes))
            for lane in pool.lanes:
                assert not lane.gone
                assert lane.idle == (lane in pool.idle) == (not lane.calls), (lane.lease, len(lane.calls))
                for call in lane.calls.values():
                    assert call.place is lane and call not in pool.ready
                assert len(lane.calls) <= MOST
            for call in pool.ready:
                assert call.place is pool.ready
                assert not call.cancelled or call.ended
            if any(not call.ended for call in pool.ready):
                assert not pool.idle, "a lane is idle while calls wait"
                assert pool.wanted or any(not lane.blocked for lane in pool.lanes), (
                    "calls that no lane will take"
                )
