"""``compare``: cases and peers by name in, a `Comparison` out that fills while it is measured."""

from __future__ import annotations

import datetime
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbray.bench import report
from nbray.bench.cases import CASES
from nbray.bench.conductor import Outcomes, PeerRun, conduct
from nbray.bench.facts import machine, usable_cpus
from nbray.bench.peers import PEERS
from nbray.bench.stats import summarize
from nbray.bench.words import written


@dataclass
class Comparison:
    """nbray and its peers, case by case.

    Attributes:
        outcomes: by case, by peer: a sample a round, or why there is none. ``runs``: the peers, with their versions.
        rounds, seconds, cpus: how it was measured.
        status: "running", "done", "interrupted" or "failed"; ``now`` says what is measured at the moment.
    """

    runs: list[PeerRun]
    rounds: int
    seconds: float
    cpus: int
    outcomes: Outcomes = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    now: str = ""

    @property
    def peers(self) -> list[str]:
        """Those that take part, nbray first."""
        return [run.name for run in self.runs if not run.skipped]

    def progress(self) -> tuple[int, int]:
        """Measurements that are done, and how many there will be as far as one knows."""
        done = total = 0
        for by_peer in self.outcomes.values():
            for peer in self.peers:
                outcome = by_peer[peer]
                done += len(outcome.samples)
                ended = bool(outcome.error or outcome.absent)
                total += len(outcome.samples) if ended else self.rounds
        return done, total

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat dict for each case and peer that has figures. ``ratio``: how many times as fast nbray is."""
        table = report.rows(self.outcomes, self.peers)
        found = []
        for (name, by_peer), row in zip(self.outcomes.items(), table, strict=True):
            for peer in self.peers:
                if not by_peer[peer].samples:
                    continue
                summary = summarize(by_peer[peer].samples)
                found.append(
                    {
                        "case": name,
                        "title": row.title,
                        "peer": peer,
                        "unit": row.unit,
                        "median": summary.median,
                        "lowest": summary.low,
                        "highest": summary.high,
                        "runs": summary.samples,
                        "ratio": row.cells[peer].ratio,
                    }
                )
        return found

    def to_pandas(self) -> Any:
        """`rows` as a pandas DataFrame.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.rows)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Every sample and the circumstances, as JSON; written to ``path`` if there is one."""
        document = report.document(self.outcomes, self.runs, self._facts())
        return written(json.dumps(document, indent=1) + "\n", path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """The table as a page, with the circumstances; written to ``path`` if there is one."""
        return written(report.markdown(self.outcomes, self.runs, self._facts()), path)

    def _facts(self) -> dict[str, Any]:
        status = {} if self.status == "done" else {"status": self.status}
        return {**self.facts, **status, "rounds": self.rounds, "seconds": self.seconds, "cpus": self.cpus}

    def __repr__(self) -> str:
        return report.text(self.outcomes, self.runs)


def compare(
    cases: Sequence[str] = (),
    vs: Iterable[str] = tuple(PEERS),
    *,
    rounds: int = 3,
    seconds: float = 1.0,
    cpus: int | None = None,
    pythons: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[Comparison], None] = lambda found: None,
) -> Comparison:
    """How fast nbray is beside its peers. Each is measured in processes of its own, in turn: a pool that runs here takes no part.

    Args:
        cases: names of cases; default all, ``python -m nbray.bench --list`` names them.
        vs: names of peers; default all. One that is not installed is skipped.
        rounds: how often each peer has its turn.
        seconds: how long a case is timed in a round; half as long it warms up.
        cpus: CPUs of every pool. Default: those that this process may use.
        pythons: interpreters by peer. Default: this one.
        say: gets a line for each step. progress: gets what there is so far, at each step.

    Raises:
        ValueError: a name that is not known, or a number that is not positive.
    """
    names = known(cases, CASES, "case") or list(CASES)
    peers = list(dict.fromkeys([report.US, *known(vs, PEERS, "peer")]))
    if rounds < 1 or seconds <= 0 or (cpus is not None and cpus < 1):
        raise ValueError("rounds, seconds and CPUs must be positive")
    runs = [PeerRun(peer, (pythons or {}).get(peer, sys.executable)) for peer in peers]
    found = Comparison(runs, rounds, seconds, cpus or usable_cpus())
    found.facts = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }

    def watch(outcomes: Outcomes, now: str) -> None:
        found.outcomes, found.now = outcomes, now
        progress(found)

    try:
        conduct(runs, names, rounds=rounds, seconds=seconds, cpus=found.cpus, progress=say, watch=watch)
    except KeyboardInterrupt:
        found.status = "interrupted"
        raise
    except BaseException:
        found.status = "failed"
        raise
    else:
        found.status, found.now = "done", ""
    finally:
        progress(found)
    return found


def known(names: Iterable[str], choices: Mapping[str, Any], what: str) -> list[str]:
    """``names`` if they are all known.

    Raises:
        ValueError: one is not; names it and the nearest that is.
    """
    names = list(names)
    for name in names:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, 1, 0.3)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(choices)}"
            raise ValueError(f"there is no {what} {name!r}{hint}")
    return names
