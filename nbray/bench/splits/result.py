"""What a sweep has found: a row for every way of splitting the work, and the serial run to compare with. Pure data."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nbray.bench.splits.account import Account
from nbray.bench.stats import Summary, summarize
from nbray.bench.words import written


class Run(NamedTuple):
    """One run of the code. ``seconds`` until its last task had ended; ``returned``: until the code itself had."""

    seconds: float
    returned: float
    account: Account


@dataclass
class Row:
    """One way of splitting the work, with a run a round."""

    setting: dict[str, Any]
    workers: int
    runs: list[Run] = field(default_factory=list)

    @property
    def samples(self) -> list[float]:
        return [run.seconds for run in self.runs]

    @property
    def summary(self) -> Summary | None:
        return summarize(self.samples) if self.runs else None

    @property
    def account(self) -> Account | None:
        """That of the run in the middle."""
        if not self.runs:
            return None
        return sorted(self.runs, key=lambda run: run.seconds)[(len(self.runs) - 1) // 2].account


@dataclass
class Sweep:
    """Every way of splitting the work that was measured.

    Attributes:
        names: the parameters, as given. ``by_workers``: whether the number of workers was one.
        rows: all settings, by workers, in the order of their values.
        serial_samples: seconds of the serial program, a run a round; none if it was not given.
        status: "running", "done", "interrupted" or "failed"; ``now`` says what is measured at the moment.
        done, total: measurements, serial ones included.
        cores: cores of the machine that the driver may use.
    """

    names: list[str]
    by_workers: bool
    rows: list[Row]
    rounds: int
    title: str = ""
    serial_code: str = ""
    serial_samples: list[float] = field(default_factory=list)
    status: str = "running"
    now: str = ""
    done: int = 0
    total: int = 0
    cores: int = 0

    def measured(self) -> Iterator[tuple[Row, Summary, Account]]:
        """The rows that have figures, with them."""
        for row in self.rows:
            summary, account = row.summary, row.account
            if summary is not None and account is not None:
                yield row, summary, account

    @property
    def best(self) -> Row | None:
        """The row with the shortest time; None before the first measurement."""
        found = [(summary.median, index) for index, (_, summary, _) in enumerate(self.measured())]
        return list(self.measured())[min(found)[1]][0] if found else None

    @property
    def serial(self) -> float | None:
        """Seconds of the work done one after the other, without a pool.

        Measured if a serial program was given. Otherwise what the tasks themselves took in sum, with the fewest workers and the
        split that needs the least: no program that runs the same functions in a loop can be faster by much.
        """
        if self.serial_samples:
            return statistics.median(self.serial_samples)
        fewest = min((row.workers for row, _, _ in self.measured()), default=0)
        busy = [
            statistics.median(run.account.busy for run in row.runs)
            for row, _, account in self.measured()
            if row.workers == fewest and account.tasks and not account.lost
        ]
        return min(busy, default=None)

    def ideal(self, workers: int) -> float | None:
        """Seconds with so many workers if the serial work could be parted without any cost."""
        serial = self.serial
        return None if serial is None else serial / workers

    def speedup(self, row: Row) -> float | None:
        """How many times as fast as the serial run."""
        serial, summary = self.serial, row.summary
        return serial / summary.median if serial is not None and summary and summary.median else None

    def efficiency(self, row: Row) -> float | None:
        """The speed-up as a share of the ideal one, which is the number of workers."""
        speedup = self.speedup(row)
        return None if speedup is None else speedup / row.workers

    def to_pandas(self) -> Any:
        """A table of the figures, a row a setting, as a pandas DataFrame.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas

        from nbray.bench.splits.tables import records

        return pandas.DataFrame(records(self))

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Every run, as JSON; written to ``path`` if there is one."""
        from nbray.bench.splits.tables import document

        return written(json.dumps(document(self), indent=1) + "\n", path)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """A line a setting; written to ``path`` if there is one."""
        from nbray.bench.splits.tables import csv_text

        return written(csv_text(self), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """The table and what it teaches as a page; written to ``path`` if there is one."""
        from nbray.bench.splits.tables import markdown

        return written(markdown(self), path)

    def __repr__(self) -> str:
        from nbray.bench.splits.tables import text

        return text(self)
