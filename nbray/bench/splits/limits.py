"""A running pool with fewer CPUs for a while: an actor that does nothing holds the others. What lives in the pool stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import nbray
from nbray import _runtime
from nbray.bench.facts import usable_cpus
from nbray.exceptions import GetTimeoutError

#: Seconds for the CPUs to become free. Idle lanes are given back in milliseconds; what takes longer is somebody's work.
PATIENCE = 5.0
OVERSUBSCRIBED = 4


class CpusSetAside:
    """Holds CPUs that nobody shall use."""

    def ready(self) -> None:
        """Is called to know that they are held."""


def pool_cpus() -> int:
    """The CPUs of the running pool."""
    return int(nbray.cluster_resources().get("CPU", 0))


@contextmanager
def with_at_least(cpus: int) -> Iterator[int]:
    """The running pool with so many CPUs as long as the block lasts; gives how many it has.

    A local pool is made larger, up to `OVERSUBSCRIBED` times the machine's cores: to see that more workers than cores bring
    nothing is worth a measurement. Somebody else's cluster is left as it is.
    """
    total = pool_cpus()
    own = nbray.init(ignore_reinit_error=True)["address"] == ""
    if cpus <= total or not own or cpus > OVERSUBSCRIBED * usable_cpus():
        yield total
        return
    nbray.scale(cpus)
    try:
        yield pool_cpus()
    finally:
        nbray.scale(total)


@contextmanager
def limited_to(workers: int) -> Iterator[None]:
    """The running pool with ``workers`` CPUs for tasks, as long as the block lasts.

    Raises:
        ValueError: the pool has fewer. RuntimeError: they are in use by others.
    """
    total = pool_cpus()
    if workers > total:
        raise ValueError(f"the pool has {total} CPUs, {workers} workers want as many")
    holders = []
    try:
        # The largest first, one after the other: so each finds a node that still has so many.
        for share in sorted(_shares(total - workers), reverse=True):
            holder = nbray.remote(num_cpus=share, max_restarts=0)(CpusSetAside).remote()
            holders.append(holder)
            try:
                nbray.get(holder.ready.remote(), timeout=PATIENCE)
            except GetTimeoutError:
                raise RuntimeError(busy(total - workers)) from None
        yield
    finally:
        for holder in holders:
            nbray.kill(holder)


def check_fixed() -> None:
    """That the pool keeps its size: one that grows when something waits does not keep to a number of workers.

    Raises:
        RuntimeError: it adapts.
    """
    bounds = _runtime.current().bounds
    if bounds is not None:
        least, most = bounds
        raise RuntimeError(
            f"the pool adapts its CPUs between {least:g} and {most:g}, which spoils a sweep; nbray.scale({most:g}), or in a"
            f" notebook %nbray scale {most:g}, fixes them"
        )


def check_idle() -> None:
    """That nothing but idle actors is in the pool: what runs beside a measurement spoils it.

    Raises:
        RuntimeError: tasks or actors hold CPUs.
    """
    with limited_to(0):
        pass


def busy(wanted: float) -> str:
    free = nbray.available_resources().get("CPU", 0)
    return (
        f"the pool is in use: {wanted:g} of its CPUs are needed, free {'is' if free == 1 else 'are'} {free:g}; wait for the"
        " tasks that run, or end the actors that hold CPUs (nbray.kill)"
    )


def _shares(aside: float) -> Iterator[float]:
    """``aside`` CPUs as parts that fit on nodes."""
    for node in sorted(nbray.nodes(), key=lambda node: -node["Resources"].get("CPU", 0)):
        if node["Alive"] and aside > 0:
            share = min(aside, node["Resources"].get("CPU", 0))
            if share > 0:
                yield share
            aside -= share
