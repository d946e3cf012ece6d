"""A sweep as text, Markdown, CSV and JSON. Pure."""

from __future__ import annotations

import csv
import io
from typing import Any

from nbray.bench.splits.account import PARTS, Account
from nbray.bench.splits.result import Row, Sweep
from nbray.bench.splits.verdict import sentences
from nbray.bench.words import aligned, figure, percent, piped, seconds, shown, spread

FORMAT = 1


def losses(account: Account, most: int = 2) -> str:
    """What the CPUs' time went into beside the tasks, the most first: ``41 % scheduling, 12 % transfer``."""
    if account.lost or not account.tasks:
        return ""
    found = sorted(
        ((account.share(part), name) for part, name in PARTS.items() if part != "busy"), reverse=True
    )
    return ", ".join(f"{percent(share)} {name}" for share, name in found[:most] if share >= 0.01)


def grid(sweep: Sweep) -> list[list[str]]:
    """Header and a line a setting."""
    workers = ["workers"] if sweep.by_workers else []
    head = [
        *sweep.names,
        *workers,
        "time",
        "speed-up",
        "efficiency",
        "tasks",
        "each runs",
        "CPUs busy",
        "the rest went into",
    ]
    return [head, *(_line(sweep, row) for row in sweep.rows if row.runs)]


def _line(sweep: Sweep, row: Row) -> list[str]:
    summary, account = row.summary, row.account
    assert summary is not None and account is not None
    speedup, efficiency = sweep.speedup(row), sweep.efficiency(row)
    return [
        *(shown(row.setting[name]) for name in sweep.names),
        *([str(row.workers)] if sweep.by_workers else []),
        spread(summary) + (" ← best" if row is sweep.best else ""),
        "" if speedup is None else f"{figure(speedup)}×",
        "" if efficiency is None else percent(efficiency),
        f"{account.tasks:,}",
        seconds(account.mean) if account.tasks else "",
        percent(account.efficiency) if account.tasks and not account.lost else "",
        losses(account),
    ]


def text(sweep: Sweep) -> str:
    """The table and the sentences, for a terminal."""
    if sweep.best is None:
        return "nothing was measured yet"
    return "\n".join([*_state(sweep), aligned(grid(sweep)), "", *sentences(sweep)])


def _state(sweep: Sweep) -> list[str]:
    if sweep.status == "done":
        return []
    return [f"{sweep.status}: {sweep.done} of {sweep.total} measurements"]


def markdown(sweep: Sweep) -> str:
    """The same as a page."""
    columns = len(sweep.names) + sweep.by_workers
    code = (
        ["```python", sweep.title, "```", ""]
        if "\n" in sweep.title
        else [sweep.title, ""]
        if sweep.title
        else []
    )
    table = [piped(grid(sweep), columns), ""] if sweep.best is not None else []
    told = [f"- {sentence}" for sentence in sentences(sweep)]
    rounds = f"Median (lowest–highest) of {sweep.rounds} rounds in turn, after a run that is not counted."
    return "\n".join(["# How to split the work", "", *code, *_state(sweep), *table, *told, "", rounds, ""])


def records(sweep: Sweep) -> list[dict[str, Any]]:
    """A flat dict a setting; seconds, and shares of 1."""
    return [
        {
            **row.setting,
            **({"workers": row.workers} if sweep.by_workers else {}),
            "seconds": summary.median,
            "lowest": summary.low,
            "highest": summary.high,
            "runs": summary.samples,
            "speedup": sweep.speedup(row),
            "efficiency": sweep.efficiency(row),
            "tasks": account.tasks,
            "task_seconds": account.mean,
            "longest_task_seconds": account.longest,
            **{f"share_{part}": share for part, share in account.shares().items()},
        }
        for row, summary, account in sweep.measured()
    ]


def csv_text(sweep: Sweep) -> str:
    """`records` as CSV."""
    rows = records(sweep)
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def document(sweep: Sweep) -> dict[str, Any]:
    """Everything, every run included, as JSON takes it."""
    return {
        "format": FORMAT,
        "what": "sweep",
        "code": sweep.title,
        "parameters": sweep.names,
        "by_workers": sweep.by_workers,
        "rounds": sweep.rounds,
        "cores": sweep.cores,
        "status": sweep.status,
        "serial": {"seconds": sweep.serial, "code": sweep.serial_code, "samples": sweep.serial_samples},
        "sentences": sentences(sweep),
        "rows": [
            {
                "setting": {name: plain(value) for name, value in row.setting.items()},
                "workers": row.workers,
                "speedup": sweep.speedup(row),
                "efficiency": sweep.efficiency(row),
                "best": row is sweep.best,
                "runs": [
                    {"seconds": run.seconds, "returned": run.returned, **run.account._asdict()}
                    for run in row.runs
                ],
            }
            for row in sweep.rows
        ],
    }


def plain(value: Any) -> Any:
    """A value as JSON takes it: itself, or as text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
