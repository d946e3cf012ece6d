"""An owner's lanes, driven by hand."""

from __future__ import annotations

from typing import Any

from nbray.core.calls import Call, Function
from nbray.core.lanes import (
    CANCELLED,
    Lane,
    Lanes,
)

SPEC: Any = ((("CPU", 10_000),), (), ())
OTHER: Any = ((("CPU", 20_000),), (), ())
FREE: Any = ((), (), ())


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
