"""What a sweep teaches, in sentences: the best split, what is as good, and what makes the others slow. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nbray.bench.splits.account import Account
from nbray.bench.splits.result import Row, Sweep
from nbray.bench.words import counted, figure, percent, seconds, setting, shown, spread

SLOWER, SLOWER_BY_ONE = (
    1.05,
    1.3,
)  # less than that is nothing to explain; with single runs there is no spread to judge by
SMALL_ENOUGH = 0.05  # the share of its time that overhead may have
AS_LONG = 0.8  # of the best's tasks: pieces of the same work would be shorter, the more of them there are
SURELY = 2.0  # tasks that run so many times as long in sum are not slow by chance; a machine with other work adds half as much


def sentences(sweep: Sweep) -> list[str]:
    """All there is to say, the most important first. Empty before the first measurement."""
    best = sweep.best
    if best is None:
        return []
    told = [_best(sweep, best), *_as_good(sweep, best), *_sides(sweep, best), *_workers(sweep, best)]
    return [*told, *_serial(sweep), *_remarks(sweep)]


def _best(sweep: Sweep, best: Row) -> str:
    summary, speedup, ideal = best.summary, sweep.speedup(best), sweep.ideal(best.workers)
    assert summary is not None
    told = f"Best: {where(sweep, best)}: {spread(summary)}"
    if speedup is None or ideal is None or sweep.serial is None:
        return told + "."
    measured = "the serial run" if sweep.serial_samples else "its tasks one after the other"
    if speedup <= 1:
        return f"{told}. No split is faster than {measured} ({seconds(sweep.serial)}): it costs more than it saves."
    return (
        f"{told}, {figure(speedup)} times as fast as {measured} ({seconds(sweep.serial)}): "
        f"{percent(speedup / best.workers)} of the ideal, {seconds(ideal)} with {counted(best.workers, 'worker')}."
    )


def where(sweep: Sweep, row: Row) -> str:
    """``chunk=100 with 2 workers``."""
    if not sweep.by_workers:
        return setting(row.setting)
    workers = counted(row.workers, "worker")
    return f"{setting(row.setting)} with {workers}" if row.setting else workers


def _as_good(sweep: Sweep, best: Row) -> list[str]:
    same = [
        where(sweep, row) if row.workers != best.workers else setting(row.setting)
        for row, _, _ in sweep.measured()
        if row is not best and as_good(row, best)
    ]
    if not same:
        return []
    listed = ", ".join(same[:5]) + (f" and {len(same) - 5} more" if len(same) > 5 else "")
    return [f"Within the spread of the best, so just as good: {listed}."]


def as_good(row: Row, best: Row) -> bool:
    """Whether the difference may be chance: its middle is among the runs of the best, and the best's among its own."""
    one, other = row.summary, best.summary
    return one is not None and other is not None and one.median <= other.high and one.low <= other.median


# --- the ends of a line ------------------------------------------------------------------------------------------------


def _sides(sweep: Sweep, best: Row) -> list[str]:
    """Why the first and the last value of each parameter are slower, all else as in the best."""
    told = []
    for name in sweep.names:
        line = [
            row
            for row, _, _ in sweep.measured()
            if row.workers == best.workers
            and all(row.setting[other] == best.setting[other] for other in sweep.names if other != name)
        ]
        for row in dict.fromkeys(map(_Key, (line[0], line[-1]))):
            reason = why(row.row, best)
            if reason:
                told.append(f"{name}={shown(row.row.setting[name])} is {reason}")
    return told


class _Key:
    """A row by identity, so that a line of one value is told once."""

    def __init__(self, row: Row) -> None:
        self.row = row

    def __hash__(self) -> int:
        return id(self.row)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.row is self.row


def why(row: Row, best: Row) -> str:
    """What makes ``row`` slower than ``best`` with as many workers; "" if it is not, beyond the spread."""
    summary, account, at_best, reference = row.summary, row.account, best.summary, best.account
    if summary is None or account is None or at_best is None or reference is None:
        return ""
    least = SLOWER if min(summary.samples, at_best.samples) > 1 else SLOWER_BY_ONE
    if row is best or summary.median < least * at_best.median or as_good(row, best):
        return ""
    slower = f"{figure(summary.median / at_best.median)} times as slow"
    if account.lost or not account.tasks:
        return f"{slower}."
    more = {
        name: sum(getattr(account, part) - getattr(reference, part) for part in parts)
        for name, parts in (
            ("overhead", ("scheduling", "transfer", "own")),
            ("too_few", ("too_few",)),
            ("dependencies", ("dependencies",)),
            ("busy", ("busy",)),
        )
    }
    reason = max(more, key=more.__getitem__)
    return f"{slower}: {_REASONS[reason](account, reference, row.workers)}."


def _overhead(account: Account, _: Account, workers: int) -> str:
    lost = account.scheduling + account.transfer + account.own
    if account.tasks < 5 * workers and account.own > lost / 2:
        return f"for {percent(account.share('own'))} of the CPUs' time only the code around the tasks ran, in one process"
    each = lost / account.tasks
    enough = each * (1 - SMALL_ENOUGH) / SMALL_ENOUGH
    return (
        f"each of its {account.tasks:,} tasks runs for {seconds(account.mean)} and costs {seconds(each)} of the CPUs' time"
        f" to submit, send and fetch; tasks of {_round_up(enough)} and longer keep that under {percent(SMALL_ENOUGH)}"
    )


def _too_few(account: Account, _: Account, workers: int) -> str:
    lost = percent(account.share("too_few"))
    if account.tasks < workers:
        return f"{counted(account.tasks, 'task')} for {workers} workers, so {lost} of the CPUs' time had nothing to run"
    return (
        f"{counted(account.tasks, 'task')} for {counted(workers, 'worker')}, the longest of {seconds(account.longest)}: who was"
        f" done early had nothing to run for {lost} of the CPUs' time; more and smaller tasks even that out"
    )


def _dependencies(account: Account, _: Account, workers: int) -> str:
    return f"for {percent(account.share('dependencies'))} of the CPUs' time tasks waited for results of other tasks"


def _busy(account: Account, reference: Account, workers: int) -> str:
    longer = f"its tasks run for {seconds(account.busy)} in sum instead of {seconds(reference.busy)}"
    if account.tasks <= reference.tasks:
        return f"{longer}, though the work is the same: it fits worse into caches, or the machine did other things meanwhile"
    if account.mean > AS_LONG * reference.mean:
        return (
            f"its {account.tasks:,} tasks run for {seconds(account.mean)} each, hardly shorter than"
            f" {'the one' if reference.tasks == 1 else 'those'} of the best ({seconds(reference.mean)}):"
            " there is more work to do, not the same in other pieces, or each task does all of it anew"
        )
    anew = f"{longer}: each task does something anew that larger ones do once"
    return (
        anew
        if account.busy > SURELY * reference.busy
        else f"{anew}, or the machine did other things meanwhile"
    )


_REASONS = {"overhead": _overhead, "too_few": _too_few, "dependencies": _dependencies, "busy": _busy}


def _round_up(value: float) -> str:
    """To one digit: nobody aims at 19.7 ms."""
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 <= value:
        power *= 10
    digits = -(-value // power)
    return seconds(digits * power)


# --- workers -----------------------------------------------------------------------------------------------------------


def _workers(sweep: Sweep, best: Row) -> list[str]:
    """What more workers bring, for the best split."""
    line = [row for row, _, _ in sweep.measured() if row.setting == best.setting]
    if len(line) < 2:
        return []
    told = ", ".join(f"{counted(row.workers, 'worker')} {seconds(_median(row))}" for row in line)
    least, most = line[0], line[-1]
    gain = _median(least) / _median(most)
    told = f"With {setting(best.setting) or 'all else the same'}: {told}."
    wanted = most.workers / least.workers
    if gain > 0.8 * wanted:
        return [f"{told} It scales: {figure(wanted)} times the workers, {figure(gain)} times as fast."]
    return [told + _held_back(sweep, line)]


def _held_back(sweep: Sweep, line: Sequence[Row]) -> str:
    least, most = line[0], line[-1]
    few, many = least.account, most.account
    assert few is not None and many is not None
    stretched = many.busy / few.busy if few.busy else 1.0
    if stretched > 1.2:
        cores = f": it has {counted(sweep.cores, 'core')}" if 0 < sweep.cores < most.workers else ""
        return (
            f" With {most.workers} the same tasks take {figure(stretched)} times as long in sum, because they share the"
            f" machine's cores and memory{cores}."
        )
    losses = {part: many.share(part) for part in ("too_few", "own", "dependencies", "scheduling", "transfer")}
    worst = max(losses, key=losses.__getitem__)
    if losses[worst] < SMALL_ENOUGH:
        return ""
    return f" With {most.workers}, {percent(losses[worst])} of the CPUs' time {_LOST[worst]}."


_LOST = {
    "too_few": "has nothing to run: there are too few tasks",
    "own": "only the code around the tasks runs, in one process (Amdahl's law)",
    "dependencies": "is waiting for results of other tasks",
    "scheduling": "goes into scheduling: the tasks are too small",
    "transfer": "goes into sending arguments and results",
}


def _median(row: Row) -> float:
    return row.summary.median if row.summary else 0.0


# --- what to know of the figures -----------------------------------------------------------------------------------------


def _serial(sweep: Sweep) -> list[str]:
    if sweep.serial is None:
        return (
            ["It submitted no tasks, so there is nothing that a pool could speed up."]
            if sweep.status == "done"
            else []
        )
    if sweep.serial_samples:
        return [f"Serial: {sweep.serial_code or 'the serial program'}, measured in turn with the others."]
    return [
        "Serial: estimated, the time that the tasks themselves took with the fewest workers, in sum; --serial measures a"
        " program of your own."
    ]


def _remarks(sweep: Sweep) -> list[str]:
    found = list(sweep.measured())
    told = []
    if any(row.runs[-1].returned < 0.9 * row.runs[-1].seconds for row, _, _ in found):
        told.append("The code ends before its tasks do; the times go to the end of the last task.")
    failed = sum(account.failed for _, _, account in found)
    if failed:
        told.append(f"{counted(failed, 'task')} failed.")
    if any(account.lost for _, _, account in found):
        told.append(
            "There were more events than the feed keeps: where their time went is not known for all tasks."
        )
    older = max((account.older for _, _, account in found), default=0)
    if sweep.by_workers and older:
        told.append(
            f"Actors that were made before the sweep ({older}) do some of the work: a number of workers limits tasks and not"
            " them. A cell that makes its actors itself, as many as workers says, can be compared."
        )
    if (
        any(account.nested for _, _, account in found)
        and not sweep.serial_samples
        and sweep.serial is not None
    ):
        told.append("Tasks submit tasks here: a measured serial run (--serial) is truer than the estimate.")
    return told
