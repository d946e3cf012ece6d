"""Which idle executor serves the next lease, and which idle ones leave. Pure: time is an argument."""

from __future__ import annotations

from typing import NamedTuple

from nbray.core.messages import RESOURCE_UNIT, Spec


class Shape(NamedTuple):
    """What of a lease's spec is fixed when its executor is forked; executors of one shape serve each other's leases.

    Attributes:
        environment: (variable, value) pairs.
        threads: for BLAS and OpenMP, which read it once.
        gpus: indices of the node's GPUs, which CUDA reads once.
    """

    environment: tuple[tuple[str, str], ...]
    threads: int
    gpus: tuple[int, ...] = ()


def shape_of(spec: Spec, gpus: tuple[int, ...] = ()) -> Shape:
    """Half a CPU, or none, still needs a thread to compute with."""
    resources, environment, _ = spec
    cpu = dict(resources).get("CPU", 0)
    return Shape(
        tuple((name, value) for name, value in environment), max(1, cpu // RESOURCE_UNIT), tuple(gpus)
    )


class IdlePool:
    """Executors without a lease, by number.

    The most recently used one goes first: its caches are warm, and the others get the chance to be idle for long.

    Args:
        keep: so many stay however long they are idle.
        linger: the others leave after this many seconds.
    """

    def __init__(self, keep: int, linger: float) -> None:
        self.keep = keep
        self.linger = linger
        #: number -> (shape, since when), the longest idle first.
        self._idle: dict[int, tuple[Shape, float]] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, number: int, shape: Shape, now: float) -> None:
        self._idle.pop(number, None)
        self._idle[number] = (shape, now)

    def take(self, shape: Shape) -> int | None:
        """The most recently used executor of that shape, no longer idle; None if there is none."""
        for number, (other, _) in reversed(self._idle.items()):
            if other == shape:
                del self._idle[number]
                return number
        return None

    def discard(self, number: int) -> None:
        self._idle.pop(number, None)

    def expire(self, now: float) -> list[int]:
        """Take out those that shall leave: idle for ``linger`` and more than ``keep`` others were used since."""
        excess = len(self._idle) - self.keep
        leaving = [
            n for n, (_, since) in list(self._idle.items())[: max(excess, 0)] if now - since >= self.linger
        ]
        for number in leaving:
            del self._idle[number]
        return leaving

    def next_expiry(self) -> float | None:
        """When ``expire`` will have something to say if nothing happens before; None: never."""
        if len(self._idle) <= self.keep:
            return None
        _, since = next(iter(self._idle.values()))
        return since + self.linger
