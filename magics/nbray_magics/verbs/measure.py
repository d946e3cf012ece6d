"""``%%nbray time`` and ``%%nbray sweep``: what a cell takes, and how to split its work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbray.bench.splits import limits, timings, values
from nbray.bench.splits.result import Row, Sweep
from nbray.bench.splits.runs import run_once
from nbray.bench.splits.sweeping import WORKERS, asked_for, planned, run_in_pool
from nbray.bench.splits.timings import Timing
from nbray_magics.grammar import NbrayUsageError, Option, Value, Verb
from nbray_magics.measuring import Picture, check_parameters, runner, start_pool, variables
from nbray_magics.notebook import Notebook
from nbray_magics.notebook import variables as names_of_variables
from nbray_magics.sending import Cell, understand
from nbray_magics.values import file_to_write, whole

#: More than anybody waits for.
MOST_ROUNDS = 1_000


def time(notebook: Notebook, text: str, rounds: int | None = None) -> object:
    cell = _cell(notebook, text)
    code = runner(notebook, cell.code)
    start_pool()
    picture = Picture(notebook)
    found = Timing(text.strip(), rounds, limits.pool_cpus())
    with picture.measuring(cell.filename):
        timings.repeat(found, lambda: run_once(code, found.cpus), picture.update)
    return picture.result(found)


def sweep(
    notebook: Notebook,
    text: str,
    over: Sequence[str] = (),
    workers: list[int] | None = None,
    rounds: int = 3,
    serial: str | None = None,
    json: Path | None = None,
    markdown: Path | None = None,
) -> object:
    try:
        parameters = asked_for(over)
    except ValueError as error:
        raise NbrayUsageError(f"--over {error}") from None
    if not parameters and workers is None:
        raise NbrayUsageError('a sweep needs something to vary: --over "chunk=1,10,100", or --workers 1,2,4')
    cell = _cell(notebook, text)
    check_parameters(notebook, cell.code, list(parameters))
    code = runner(notebook, cell.code)
    reference = None if serial is None else _serial(notebook, serial, parameters)
    start_pool(max(workers) if workers else None)
    limits.check_fixed()
    set_for_it = (*parameters, *([WORKERS] if workers is not None or reference is not None else []))
    with limits.with_at_least(max(workers or [0])) as cpus:
        found = planned(parameters, workers, cpus, rounds)
        found.title, found.serial_code = text.strip(), serial or ""
        picture = Picture(notebook)
        try:
            with picture.measuring(cell.filename), variables(notebook.names, set_for_it):
                run_in_pool(found, _setting(notebook, found, code), reference, picture.update)
        finally:
            if found.best is not None:
                _write(json, found.to_json)
                _write(markdown, found.to_markdown)
    return picture.result(found)


def _cell(notebook: Notebook, text: str) -> Cell:
    if not text.strip():
        raise NbrayUsageError("the cell is empty: there is nothing to measure")
    return understand(notebook, text, here=True)


def _setting(
    notebook: Notebook, found: Sweep, code: Callable[[], None]
) -> Callable[[Row], Callable[[], None]]:
    """The cell, with the variables of a row."""

    def of(row: Row) -> Callable[[], None]:
        wanted = {**row.setting, **({WORKERS: row.workers} if found.by_workers else {})}

        def run() -> None:
            notebook.names.update(wanted)
            code()

        return run

    return of


def _write(path: Path | None, write: Callable[[Path], object]) -> None:
    """A disk that is full, or a directory that may not be written to, costs the file and not the measurement."""
    try:
        if path is not None:
            write(path)
    except OSError as error:
        print(
            f"nbray: {path} was not written: {error.strerror or error}; the result is here and in _",
            file=sys.stderr,
        )


def _serial(notebook: Notebook, code: str, parameters: dict[str, list[Any]]) -> Callable[[], None]:
    """The serial program; parameters that it uses have their largest value, there is one worker."""
    if not code.strip():
        raise NbrayUsageError(
            '--serial takes the code of the same work without a pool, such as "[work(x) for x in data]"'
        )
    cell = understand(notebook, code, here=True)
    run = runner(notebook, cell.code)
    largest = {name: _largest(listed) for name, listed in parameters.items()}

    def once() -> None:
        notebook.names.update(largest, **{WORKERS: 1})
        run()

    return once


def _largest(listed: list[Any]) -> Any:
    try:
        return max(listed)
    except TypeError:
        return listed[-1]


def _numbers(text: str) -> list[int]:
    try:
        return values.workers(text)
    except ValueError:
        raise ValueError("whole numbers of at least 1, such as 1,2,4") from None


TIME = Verb(
    "time",
    "run the cell here a few times: how long it takes, and where the CPUs' time goes",
    time,
    details="The cell runs in the notebook, as without the magic: what it assigns stays, what it does to files or actors it\n"
    "does each time. Measured is the time until the tasks that it submitted have ended, how many they were and how\n"
    "long they ran, and what the CPUs did in the rest of the time: scheduling, transfer, waiting, or nothing.",
    options=(
        Option(
            ("-r", "--rounds"),
            "rounds",
            "how often; with 2 or more, one run before them is not counted. Default: as often as fits into 5 s, 7 at most",
            (Value("R", whole("runs", most=MOST_ROUNDS)),),
        ),
    ),
    examples=("%%nbray time -r 5",),
)

SWEEP = Verb(
    "sweep",
    "how should I split this work? The cell for every value and number of workers",
    sweep,
    details="The cell runs in the notebook, once for each value of NAME and number of workers, in turn, several rounds.\n"
    "NAME and workers are set for it and are as before afterwards. Workers are the CPUs that tasks may use: an actor\n"
    "that does nothing holds the others, so what lives in the pool stays. A local pool that has fewer is larger meanwhile.\n"
    "A cell that makes actors makes as many as the variable workers says. Actors that were made before cannot be limited:\n"
    "those that hold CPUs have to end first, and of others that do some of the work the result says so.\n"
    "Shown are the times with their spread, the best split, and why the others are slower. The serial run to compare\n"
    "with is CODE, if it is given; else what the tasks themselves take in sum, with the fewest workers.\n"
    f"Values: {values.FORMS}; or words.\n"
    "The value is a table: _.best, _.rows, _.to_pandas(). In a program: nbray.bench.sweep",
    options=(
        Option(
            ("--over",),
            "over",
            "a variable of the cell and its values; again for a second one",
            (
                Value(
                    "NAME=VALUES",
                    offer=lambda notebook: [f"{name}=" for name in names_of_variables(notebook)],
                ),
            ),
            repeated=True,
        ),
        Option(
            ("--workers", "-w"),
            "workers",
            "numbers of workers to compare, such as 1,2,4; default: all CPUs",
            (Value("N,...", _numbers),),
        ),
        Option(
            ("-r", "--rounds"),
            "rounds",
            "how often each is measured; default 3",
            (Value("R", whole("rounds", most=MOST_ROUNDS)),),
        ),
        Option(("--serial",), "serial", "the same work without a pool, in quotes", (Value("CODE"),)),
        Option(("--json",), "json", "write every run to FILE", (Value("FILE", file_to_write),)),
        Option(
            ("--markdown",),
            "markdown",
            "write the table and what it teaches to FILE",
            (Value("FILE", file_to_write),),
        ),
    ),
    examples=(
        '%%nbray sweep --over "chunk=1:1000:log" --workers 1,2',
        '%%nbray sweep --over chunk=1,10,100 --serial "[work(x) for x in data]"',
    ),
)
