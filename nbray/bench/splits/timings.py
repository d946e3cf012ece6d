"""``timing``: some code, run a few times, and where the CPUs' time went meanwhile."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import nbray
from nbray.bench.splits.account import PARTS, Account
from nbray.bench.splits.limits import pool_cpus
from nbray.bench.splits.result import Row, Run
from nbray.bench.splits.runs import run_once
from nbray.bench.splits.tables import FORMAT
from nbray.bench.stats import Summary
from nbray.bench.words import counted, percent, seconds, spread, written

#: Unless told how often: more runs as long as they fit into so many seconds, and no more than so many.
ENOUGH_SECONDS, ENOUGH_RUNS = 5.0, 7


@dataclass
class Timing:
    """Some code, run several times.

    Attributes:
        runs: a `Run` each. ``wanted``: how many were asked for, None for as many as fit into 5 s.
        warmed_up: whether a first run is not among them.
        status: "running", "done", "interrupted" or "failed".
    """

    title: str = ""
    wanted: int | None = None
    cpus: int = 1
    runs: list[Run] = field(default_factory=list)
    warmed_up: bool = False
    status: str = "running"

    @property
    def _row(self) -> Row:
        return Row({}, self.cpus, self.runs)

    @property
    def summary(self) -> Summary | None:
        """Seconds: the median, the lowest and the highest."""
        return self._row.summary

    @property
    def account(self) -> Account | None:
        """Where the CPUs' time went in the run in the middle."""
        return self._row.account

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Every run, as JSON; written to ``path`` if there is one."""
        return written(json.dumps(document(self), indent=1) + "\n", path)

    def __repr__(self) -> str:
        return text(self)


Progress: TypeAlias = Callable[[Timing], None]


def repeat(
    found: Timing,
    measure: Callable[[], Run],
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Run and run again, until it is as often as wanted. Whatever ``measure`` raises ends it; what is there stays.

    The first of several runs is not counted: processes start in it, and import. If one run alone takes long it is the figure.
    """
    try:
        began = clock()
        progress(found)
        first = measure()
        if found.wanted == 1 or (found.wanted is None and clock() - began > ENOUGH_SECONDS / 2):
            found.runs.append(first)
        else:
            found.warmed_up = True
            began = clock()
            while len(found.runs) < (found.wanted or ENOUGH_RUNS):
                if found.wanted is None and found.runs and _late(clock() - began, len(found.runs)):
                    break
                progress(found)
                found.runs.append(measure())
    except KeyboardInterrupt:
        found.status = "interrupted"
        raise
    except BaseException:
        found.status = "failed"
        raise
    else:
        found.status = "done"
    finally:
        progress(found)


def _late(passed: float, runs: int) -> bool:
    """Whether one more run would not fit in."""
    return passed + passed / runs > ENOUGH_SECONDS


def timing(
    function: Callable[[], object], *, rounds: int | None = None, progress: Progress | None = None
) -> Timing:
    """How long does this take, and where do the CPUs' time go? Needs a running pool.

    Args:
        function: the code, which submits tasks or calls actors. A run lasts until those have ended, too.
        rounds: how often it runs. With 2 or more there is one more before them, which is not counted. Default: as often as it
            fits into 5 s, 7 times at most; a run of more than 2.5 s is the only one.
        progress: is called with what there is before and after each run.

    Raises:
        ValueError: ``rounds`` is not at least 1. RuntimeError: no pool. Whatever ``function`` raises.

    Example:
        >>> nbray.bench.timing(lambda: nbray.get([f.remote(i) for i in range(1000)]))
    """
    if rounds is not None and rounds < 1:
        raise ValueError(f"code is run 1 time or more, not {rounds}")
    if not nbray.is_initialized():
        raise RuntimeError("no pool is running: nbray.init() starts one")
    cpus = pool_cpus()
    found = Timing(getattr(function, "__name__", ""), rounds, cpus)
    repeat(found, lambda: run_once(function, cpus), progress or (lambda _: None))
    return found


def text(found: Timing) -> str:
    """Some lines: the time, the tasks, and where the CPUs' time went."""
    if found.summary is None:
        return "nothing was measured yet"
    return "\n".join([headline(found), *(f"  {line}" for line in details(found))])


def headline(found: Timing) -> str:
    """``1.02 s (0.99–1.1): median (lowest–highest) of 5 runs after one that is not counted``."""
    summary = found.summary
    assert summary is not None
    status = "" if found.status in ("done", "running") else f"{found.status}; "
    how = "1 run" if summary.samples == 1 else f"median (lowest–highest) of {summary.samples} runs"
    first = " after one that is not counted" if found.warmed_up else ""
    return f"{status}{spread(summary)}: {how}{first}"


def details(found: Timing) -> list[str]:
    """What its tasks were, and where the CPUs' time went."""
    account = found.account
    if account is None:
        return []
    if not account.tasks:
        return ["no tasks: all of it ran in this process"]
    told = [
        f"{counted(account.tasks, 'task')}, {seconds(account.mean)} each, the longest {seconds(account.longest)}"
        + (f"; {account.failed} failed" if account.failed else "")
    ]
    if account.lost:
        return [*told, "there were more events than the feed keeps: where the time went is not known"]
    whole = account.wall * account.cpus
    told.append(
        f"efficiency {percent(account.efficiency)}: tasks ran for {seconds(account.busy)} of the {seconds(whole)} that"
        f" {counted(found.cpus, 'CPU')} have in {seconds(account.wall)}"
    )
    rest = [
        f"{name} {percent(account.share(part))}"
        for part, name in PARTS.items()
        if part != "busy" and account.share(part) >= 0.005
    ]
    if rest:
        told.append("the rest: " + ", ".join(rest))
    if any(run.returned < 0.9 * run.seconds for run in found.runs):
        returned = sorted(run.returned for run in found.runs)[(len(found.runs) - 1) // 2]
        told.append(
            f"the code itself ended after {seconds(returned)}, before its tasks; nbray.get() waits for them"
        )
    return told


def document(found: Timing) -> dict[str, Any]:
    """Everything, as JSON takes it."""
    return {
        "format": FORMAT,
        "what": "timing",
        "code": found.title,
        "cpus": found.cpus,
        "status": found.status,
        "warmed_up": found.warmed_up,
        "runs": [
            {"seconds": run.seconds, "returned": run.returned, **run.account._asdict()} for run in found.runs
        ],
    }
