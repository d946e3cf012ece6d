"""A made-up machine for sweeps: what a run takes is a formula, so nothing here needs a pool or a clock."""

from __future__ import annotations

from contextlib import nullcontext

from nbray.bench.splits.account import Account
from nbray.bench.splits.result import Row, Run, Sweep
from nbray.bench.splits.sweeping import conduct, planned

ITEMS, ITEM, EACH = 1000, 1e-3, 2e-3  # so many pieces of work, seconds of each, overhead of a task


def made_up(row: Row, *, spread: float = 0.0, item: float = ITEM) -> Run:
    """1 s of work in tasks of ``chunk`` pieces."""
    chunk = row.setting.get("chunk", 10)
    tasks = -(-ITEMS // chunk)
    longest = min(chunk, ITEMS) * item
    rounds = -(-tasks // row.workers)
    wall = rounds * (longest + EACH)
    busy = ITEMS * item
    overhead = tasks * EACH
    account = Account(
        wall=wall,
        cpus=row.workers,
        tasks=tasks,
        mean=busy / tasks,
        longest=longest,
        busy=busy,
        transfer=overhead,
        too_few=wall * row.workers - busy - overhead,
    )
    return Run(wall + spread, wall + spread, account)


def swept(over=None, workers=(1, 2), rounds=1, measure=made_up, serial=None) -> Sweep:
    """A conducted sweep of the made-up machine."""
    over = {"chunk": [1, 10, 100, 1000]} if over is None else over
    sweep = planned(over, workers, 8, rounds)
    conduct(sweep, measure=measure, limit=lambda _: nullcontext(), serial=serial, progress=lambda _: None)
    return sweep
