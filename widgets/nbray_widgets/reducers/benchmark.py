"""From what was measured to the state of the benchmark view. Pure.

The tables of a state: ``about`` (kind, status, progress, the axis), ``said`` (sentences), ``columns`` and ``rows`` (the table; a
row also has what the chart needs), ``series`` (lines of a sweep, peers of a comparison), ``cases`` (of a comparison).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from nbray.bench import report
from nbray.bench.cases import CASES
from nbray.bench.comparison import Comparison
from nbray.bench.splits import tables, timings, verdict
from nbray.bench.splits.account import PARTS, Account
from nbray.bench.splits.result import Row, Sweep
from nbray.bench.splits.timings import Timing
from nbray.bench.stats import Summary, summarize
from nbray.bench.words import figure, percent, seconds, setting, shown, spread
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import counted, plain

Found: TypeAlias = "Comparison | Sweep | Timing"
Cell: TypeAlias = "list[Any]"  # text, and what it is sorted by

LOG_FROM = 20.0  # values that lie so far apart are drawn at even ratios


def state_of(found: Found | None) -> State:
    """The picture of what was measured so far; None: nothing yet."""
    if isinstance(found, Comparison):
        return _comparison(found)
    if isinstance(found, Sweep):
        return _sweep(found)
    if isinstance(found, Timing):
        return _timing(found)
    return _state("", "Benchmark", "waiting", "", 0, 0)


def _state(
    kind: str, heading: str, status: str, now: str, done: int, total: int, **tables: dict[str, Any]
) -> State:
    about = {
        "kind": kind,
        "heading": heading,
        "status": status,
        "now": plain(now),
        "done": done,
        "total": total,
        "parts": list(PARTS.values()),
    }
    empty: State = {"said": {}, "columns": {}, "rows": {}, "series": {}, "cases": {}}
    about.update(tables.pop("more", {}))
    return {"about": about, **empty, **tables}


def _numbered(entries: list[Any]) -> dict[str, Any]:
    return {str(index): entry for index, entry in enumerate(entries)}


def _columns(*names: str, texts: int) -> dict[str, Any]:
    """The first ``texts`` of them hold words, the others figures."""
    return _numbered([{"name": plain(name), "text": index < texts} for index, name in enumerate(names)])


def _figures(summary: Summary, samples: list[float]) -> dict[str, Any]:
    return {"median": summary.median, "low": summary.low, "high": summary.high, "samples": samples}


def _shares(account: Account) -> list[float] | None:
    if account.lost or not account.tasks:
        return None
    return [round(share, 4) for share in account.shares().values()]


# --- sweeps ------------------------------------------------------------------------------------------------------------


def _sweep(found: Sweep) -> State:
    axis = found.names[0] if found.names else "workers"
    best = found.best
    values = [row.setting[axis] if found.names else row.workers for row in found.rows]
    x, places = _axis(axis, values)
    lines: dict[tuple[Any, ...], str] = {}
    rows: dict[str, Any] = {}
    series: dict[str, Any] = {}
    for number, row in enumerate(found.rows):
        line = (
            *(repr(row.setting[name]) for name in found.names[1:]),
            *([row.workers] if found.names else []),
        )
        key = lines.setdefault(line, str(len(lines)))
        ideal = found.ideal(row.workers)
        series[key] = {"label": _line(found, row), "workers": row.workers, "ideal": ideal}
        summary, account = row.summary, row.account
        if summary is not None and account is not None:
            rows[str(number)] = {
                **_figures(summary, row.samples),
                "x": places[number],
                "series": key,
                "label": plain(verdict.where(found, row)),
                "short": plain(setting(row.setting) or verdict.where(found, row)),
                "best": row is best,
                "ideal": ideal,
                "speedup": found.speedup(row),
                "efficiency": found.efficiency(row),
                "shares": _shares(account),
                "cells": _cells(found, row, summary, account),
            }
    head = [*found.names, *(["workers"] if found.by_workers else [])]
    figures = ("time", "speed-up", "efficiency", "tasks", "each runs", "CPUs busy", "the rest went into")
    columns = _columns(*head, *figures, texts=len(head))
    columns[str(len(columns) - 1)]["text"] = True
    return _state(
        "sweep",
        "How to split the work",
        found.status,
        found.now,
        found.done,
        found.total,
        more={
            "x": x,
            "serial": found.serial,
            "rounds": found.rounds,
            "code": found.title[:2000],
            "cases": len(found.rows),
        },
        said=_numbered([plain(said, 600) for said in verdict.sentences(found)]),
        columns=columns,
        rows=rows,
        series=series,
    )


def _line(found: Sweep, row: Row) -> str:
    rest = {name: row.setting[name] for name in found.names[1:]}
    workers = counted(row.workers, "worker")
    if not found.names:
        return "measured"
    return plain(", ".join(part for part in (setting(rest), workers) if part))


def _axis(name: str, values: list[Any]) -> tuple[dict[str, Any], list[float]]:
    """The axis, and where on it each value is: numbers at even ratios or distances, others one beside the other."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    labels = [shown(value) for value in values]
    if len(numbers) == len(values):
        wide = min(numbers) > 0 and max(numbers) >= LOG_FROM * min(numbers)
        scale, places = "log" if wide else "linear", numbers
    else:
        order = list(dict.fromkeys(labels))
        scale, places = "words", [order.index(label) for label in labels]
    ticks = sorted(dict(zip(places, labels, strict=True)).items())
    return {"name": plain(name), "scale": scale, "ticks": [list(tick) for tick in ticks]}, places


def _cells(found: Sweep, row: Row, summary: Summary, account: Account) -> list[Cell]:
    speedup, efficiency = found.speedup(row), found.efficiency(row)
    busy = account.efficiency if account.tasks and not account.lost else None
    return [
        *([shown(row.setting[name]), _sorted_by(row.setting[name])] for name in found.names),
        *([[str(row.workers), row.workers]] if found.by_workers else []),
        [spread(summary), summary.median],
        ["", None] if speedup is None else [f"{figure(speedup)}×", speedup],
        ["", None] if efficiency is None else [percent(efficiency), efficiency],
        [f"{account.tasks:,}", account.tasks],
        [seconds(account.mean), account.mean] if account.tasks else ["", None],
        ["", None] if busy is None else [percent(busy), busy],
        [tables.losses(account), None if busy is None else 1 - busy],
    ]


def _sorted_by(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else repr(value)


# --- comparisons -------------------------------------------------------------------------------------------------------


def _comparison(found: Comparison) -> State:
    peers = found.peers
    table = report.rows(found.outcomes, peers)
    rows: dict[str, Any] = {}
    cases: dict[str, Any] = {}
    for (name, by_peer), line in zip(found.outcomes.items(), table, strict=True):
        cases[name] = {"title": line.title, "unit": line.unit, "lower": not CASES[name].higher_is_better}
        for peer in peers:
            outcome = by_peer[peer]
            if not (outcome.samples or outcome.error or outcome.absent):
                continue
            ratio = line.cells[peer].ratio
            why = outcome.error or outcome.absent
            rows[f"{name} {peer}"] = {
                **(_figures(summarize(outcome.samples), outcome.samples) if outcome.samples else {}),
                "case": name,
                "series": peer,
                "label": f"{line.title}: {peer}",
                "ratio": ratio,
                "note": plain(("failed: " if outcome.error else "") + why, 300) if why else "",
                "cells": [
                    [line.title, line.title],
                    [peer, peer],
                    [line.cells[peer].text, summarize(outcome.samples).median if outcome.samples else None],
                    [line.unit, line.unit],
                    ["" if ratio is None else f"{figure(ratio)}×", ratio],
                ],
            }
    done, total = found.progress()
    columns = _columns("case", "peer", "median (lowest–highest)", "unit", "nbray is faster", texts=2)
    columns["3"]["text"] = True
    return _state(
        "bench",
        "nbray and its peers",
        found.status,
        found.now,
        done,
        total,
        more={
            "cases": len(cases),
            "rounds": found.rounds,
            "note": f"{found.seconds:g} s a case and round, {counted(found.cpus, 'CPU')} a pool, each in processes of its own",
        },
        said=_numbered([plain(said, 400) for said in _said(found, table)]),
        columns=columns,
        rows=rows,
        series={
            run.name: {"label": f"{run.name} {run.version}".strip()} for run in found.runs if not run.skipped
        },
        cases=cases,
    )


def _said(found: Comparison, table: list[report.Row]) -> list[str]:
    means = report.geometric_means(table, found.peers)
    told = [
        f"{figure(mean)} times as fast as {peer}, the geometric mean over"
        f" {counted(sum(row.cells[peer].ratio is not None for row in table), 'case')} that both can do."
        for peer, mean in means.items()
        if mean is not None
    ]
    return [*told, *report.notes(found.outcomes, found.runs)]


# --- timings -----------------------------------------------------------------------------------------------------------


def _timing(found: Timing) -> State:
    rows = {}
    accounts = [run.account for run in found.runs]
    used = [
        part for part in PARTS if any(account.share(part) >= 0.005 for account in accounts if account.tasks)
    ]
    for number, run in enumerate(found.runs):
        account = run.account
        known = account.tasks and not account.lost
        rows[str(number)] = {
            **_figures(summarize([run.seconds]), [run.seconds]),
            "label": f"run {number + 1}",
            "short": f"run {number + 1}, {seconds(run.seconds)}",
            "best": account is found.account,
            "shares": _shares(account),
            "cells": [
                [str(number + 1), number + 1],
                [seconds(run.seconds), run.seconds],
                [f"{account.tasks:,}", account.tasks],
                *(
                    [percent(account.share(part)), account.share(part)] if known else ["", None]
                    for part in used
                ),
            ],
        }
    total = found.wanted or 0
    said = [timings.headline(found), *timings.details(found)] if found.runs else []
    return _state(
        "time",
        "Timing",
        found.status,
        "",
        len(found.runs),
        total,
        more={"cases": 1, "code": found.title[:2000]},
        said=_numbered(said),
        columns=_columns("run", "time", "tasks", *(PARTS[part] for part in used), texts=0),
        rows=rows,
    )
