"""Results as JSON, as Markdown and as text. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from nbray.bench.cases import CASES
from nbray.bench.conductor import Outcome, Outcomes, PeerRun
from nbray.bench.stats import Summary, geometric_mean, summarize, times_as_fast
from nbray.bench.words import aligned, figure, piped

FORMAT = 1
US = "nbray"


class Cell(NamedTuple):
    """What a table says of one case in one peer: a figure, or why there is none; ``ratio``: how many times as fast nbray is."""

    text: str
    ratio: float | None


class Row(NamedTuple):
    title: str
    unit: str
    cells: dict[str, Cell]


def _text(outcome: Outcome) -> tuple[str, Summary | None]:
    if not outcome.samples:
        return ("failed" if outcome.error else "–"), None
    summary = summarize(outcome.samples)
    text = figure(summary.median)
    if summary.samples > 1:
        text += f" ({figure(summary.low)}–{figure(summary.high)})"
    return text + (" then failed" if outcome.error else ""), summary


def rows(outcomes: Outcomes, peers: list[str]) -> list[Row]:
    """A row a case, a cell a peer, in the order given."""
    table = []
    for name, by_peer in outcomes.items():
        case = CASES[name]
        ours = by_peer[US].samples if US in by_peer else []
        cells = {}
        for peer in peers:
            text, summary = _text(by_peer[peer])
            ratio = None
            if summary is not None and ours and peer != US:
                ratio = times_as_fast(
                    summarize(ours).median, summary.median, higher_is_better=case.higher_is_better
                )
            cells[peer] = Cell(text, ratio)
        table.append(Row(case.title, case.unit, cells))
    return table


def geometric_means(table: list[Row], peers: list[str]) -> dict[str, float | None]:
    """Per peer, over the cases that both it and nbray did."""
    return {peer: geometric_mean(row.cells[peer].ratio or 0 for row in table) for peer in peers if peer != US}


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{figure(ratio)}×"


def _grid(outcomes: Outcomes, runs: list[PeerRun]) -> list[list[str]]:
    """Header, a line a case, and the geometric means."""
    peers = [run.name for run in runs if not run.skipped]
    others = [peer for peer in peers if peer != US]
    table = rows(outcomes, peers)
    grid = [["case", "unit", *peers, *(f"to {peer}" for peer in others)]]
    for row in table:
        cells = [row.cells[peer].text for peer in peers]
        grid.append([row.title, row.unit, *cells, *(_ratio(row.cells[peer].ratio) for peer in others)])
    means = geometric_means(table, peers)
    if any(mean is not None for mean in means.values()):
        grid.append(["geometric mean", "", *("" for _ in peers), *(_ratio(means[peer]) for peer in others)])
    return grid


def notes(outcomes: Outcomes, runs: list[PeerRun]) -> list[str]:
    """Why figures are missing: a line for what was skipped, one for each failure."""
    told = [f"{run.name}: {run.skipped}" for run in runs if run.skipped]
    failures: dict[tuple[str, str], list[str]] = {}
    for name, by_peer in outcomes.items():
        for peer, outcome in by_peer.items():
            if outcome.error:
                failures.setdefault((peer, outcome.error), []).append(name)
    return told + [f"{peer}: {', '.join(names)} failed: {error}" for (peer, error), names in failures.items()]


def text(outcomes: Outcomes, runs: list[PeerRun]) -> str:
    """The table for a terminal: medians with the lowest and the highest, then how many times as fast nbray is."""
    return "\n".join([aligned(_grid(outcomes, runs)), *notes(outcomes, runs)])


def markdown(outcomes: Outcomes, runs: list[PeerRun], facts: dict[str, Any]) -> str:
    """The same as a page, with the circumstances."""
    versions = ", ".join(f"{run.name} {run.version}" for run in runs if run.version)
    machine = facts["machine"]
    head = [
        "# nbray and its peers",
        "",
        f"{facts['date']}, {machine['processor']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB,"
        f" {machine['system']}, Python {machine['python']}; {versions}.",
        f"{facts['rounds']} rounds in turn, {facts['seconds']:g} s a case, {facts['cpus']} CPUs a pool: median"
        " (lowest–highest), and how many times as fast nbray is.",
        "",
    ]
    remarks = [f"- {note}" for note in notes(outcomes, runs)]
    return "\n".join([*head, piped(_grid(outcomes, runs), 2), *([""] if remarks else []), *remarks, ""])


def document(outcomes: Outcomes, runs: list[PeerRun], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything, every sample included, as JSON takes it."""
    return {
        "format": FORMAT,
        **facts,
        "peers": {
            run.name: {"version": run.version, "python": run.python_version, "skipped": run.skipped}
            for run in runs
        },
        "cases": {
            name: {
                "title": CASES[name].title,
                "unit": CASES[name].unit,
                "higher_is_better": CASES[name].higher_is_better,
                "peers": {
                    peer: {"samples": outcome.samples, "error": outcome.error, "absent": outcome.absent}
                    for peer, outcome in by_peer.items()
                },
            }
            for name, by_peer in outcomes.items()
        },
    }
