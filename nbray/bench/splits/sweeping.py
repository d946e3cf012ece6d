"""``sweep``: the same work for every way of splitting it, in turn, several rounds."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeAlias

import nbray
from nbray.bench.facts import usable_cpus
from nbray.bench.splits import limits, values
from nbray.bench.splits.result import Row, Run, Sweep
from nbray.bench.splits.runs import run_once
from nbray.bench.splits.verdict import where
from nbray.bench.words import counted

Progress: TypeAlias = Callable[[Sweep], None]
MOST_ROWS = 400
WORKERS = "workers"


def conduct(
    sweep: Sweep,
    *,
    measure: Callable[[Row], Run],
    limit: Callable[[int], AbstractContextManager[None]],
    serial: Callable[[], float] | None,
    progress: Progress,
) -> None:
    """Fill the rows of ``sweep``: every setting once a round, in turn, so that a noisy minute falls on all alike.

    Every other round goes the other way round, so that drift cancels out. After each change of the number of workers one run
    is not counted: processes start, import and are told the functions. Whatever ``measure`` raises ends the sweep; what is
    there stays.
    """
    by_workers = {
        number: [row for row in sweep.rows if row.workers == number] for number in _workers_of(sweep)
    }
    sweep.total = sweep.rounds * (len(sweep.rows) + (serial is not None))

    def begin(what: str, number: int) -> None:
        sweep.now = f"{what}, round {number + 1} of {sweep.rounds}" if sweep.rounds > 1 else what
        progress(sweep)

    try:
        for number in range(sweep.rounds):
            turn = -1 if number % 2 else 1
            if serial is not None:
                begin("the serial run", number)
                sweep.serial_samples.append(serial())
                sweep.done += 1
            for workers in list(by_workers)[::turn]:
                rows = by_workers[workers]
                with limit(workers):
                    begin(f"warming up {counted(workers, 'worker')}", number)
                    measure(rows[len(rows) // 2])
                    for row in rows[::turn]:
                        begin(where(sweep, row), number)
                        row.runs.append(measure(row))
                        sweep.done += 1
    except KeyboardInterrupt:
        sweep.status = "interrupted"
        raise
    except BaseException:
        sweep.status = "failed"
        raise
    else:
        sweep.status, sweep.now = "done", ""
    finally:
        progress(sweep)


def _workers_of(sweep: Sweep) -> list[int]:
    return list(dict.fromkeys(row.workers for row in sweep.rows))


def planned(
    over: Mapping[str, Sequence[Any]], workers: Sequence[int] | None, cpus: int, rounds: int
) -> Sweep:
    """A sweep over all combinations, without figures yet. Without ``workers`` all CPUs are used.

    Raises:
        ValueError: nothing to sweep over, too many combinations, or more workers than CPUs.
    """
    if not over and workers is None:
        raise ValueError("a sweep needs something to vary: values of a parameter, or numbers of workers")
    if rounds < 1:
        raise ValueError(f"a sweep takes 1 round or more, not {rounds}")
    if WORKERS in over:
        raise ValueError(
            "workers are not a parameter to sweep over; their numbers are given apart (--workers, workers=)"
        )
    too_many = [number for number in workers or () if number > cpus]
    if too_many:
        raise ValueError(
            f"{too_many[0]} workers are more than the pool's {counted(cpus, 'CPU')}; a pool of {max(too_many)} has enough"
        )
    settings = [
        dict(zip(over, combination, strict=True)) for combination in itertools.product(*over.values())
    ]
    rows = [Row(setting, number) for number in (workers or [cpus]) for setting in settings]
    if len(rows) > MOST_ROWS:
        raise ValueError(f"{len(rows):,} combinations are too many; {MOST_ROWS} are the most")
    return Sweep(list(over), workers is not None, rows, rounds, cores=usable_cpus())


def sweep(
    function: Callable[..., Any],
    over: Mapping[str, Any] | str | Iterable[str] = (),
    *,
    workers: Sequence[int] | str | None = None,
    rounds: int = 3,
    serial: Callable[[], object] | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """How should I split this work? Runs ``function`` for every value and every number of workers, and compares.

    The work is to go through the pool: ``function`` submits tasks or calls actors, and it ends when they have. Without a pool one
    is started, and ended afterwards.

    Args:
        function: is called with a value of each parameter by keyword, and with ``workers`` if it has such a parameter.
        over: values by parameter: ``{"chunk": [1, 10, 100]}``, or text: ``"chunk=1:100:log"``, several in a list.
        workers: numbers of workers to compare: the CPUs that tasks may use. Default: all of the pool's, and no comparison. A
            local pool that has fewer is larger meanwhile, up to 4 times the machine's cores.
        rounds: how often each is measured; default 3. One more run for each number of workers and round is not counted.
        serial: does the same work without a pool; its time is what the others are compared with. Default: the time that the
            tasks themselves take, in sum, with the fewest workers.
        progress: is called with the sweep so far before and after each measurement.

    Returns:
        A `Sweep`; printed, it is a table with what it teaches. ``.best``, ``.rows``, ``.to_pandas()`` for programs.

    Raises:
        ValueError: values that make no sense, or more workers than the pool has CPUs. TypeError: ``function`` has no such
        parameter. RuntimeError: others use the pool. Whatever ``function`` raises.

    Example:
        >>> nbray.bench.sweep(simulate_in_chunks, "chunk=1:1000:log", workers=[1, 2])
    """
    parameters = asked_for(over)
    numbers = None if workers is None else _asked_workers(workers)
    _check_signature(function, parameters)
    with_workers = numbers is not None and _takes(function, WORKERS)
    with ExitStack() as stack:
        if not nbray.is_initialized():
            stack.enter_context(nbray.init(num_cpus=max(numbers) if numbers else None))
        limits.check_fixed()
        cpus = stack.enter_context(limits.with_at_least(max(numbers or [0])))
        found = planned(parameters, numbers, cpus, rounds)
        found.title = _named(function)
        found.serial_code = "" if serial is None else _named(serial)
        run_in_pool(
            found,
            lambda row: lambda: function(**row.setting, **({WORKERS: row.workers} if with_workers else {})),
            serial,
            progress or (lambda _: None),
        )
    return found


def run_in_pool(
    found: Sweep,
    code: Callable[[Row], Callable[[], object]],
    serial: Callable[[], object] | None,
    progress: Progress,
) -> None:
    """Conduct a planned sweep in the running pool. ``code(row)`` gives what is run for a row.

    Raises:
        RuntimeError: others use the pool. Whatever the code raises.
    """
    limits.check_idle()

    def measure(row: Row) -> Run:
        def waiting(tasks: int) -> None:
            found.now = f"{where(found, row)}: the code has ended, {counted(tasks, 'task')} of it have not"
            progress(found)

        def stuck(reasons: str) -> None:
            # What holds the other CPUs has a name that says nothing to the user.
            told = reasons.replace(f"actor {limits.CpusSetAside.__name__}", "this sweep").replace("\n", ": ")
            found.now = f"{where(found, row)}: nothing ends: {told}"
            progress(found)

        return run_once(code(row), row.workers, waiting, stuck)

    conduct(
        found,
        measure=measure,
        limit=limits.limited_to,
        serial=None if serial is None else lambda: _seconds(serial),
        progress=progress,
    )


def _named(code: Callable[..., Any]) -> str:
    name = getattr(code, "__name__", "")
    return "" if name == "<lambda>" else name


def _seconds(code: Callable[[], object]) -> float:
    began = time.perf_counter()
    code()
    return time.perf_counter() - began


def asked_for(over: Mapping[str, Any] | str | Iterable[str]) -> dict[str, list[Any]]:
    """Values by parameter, in whichever form they were given.

    Raises:
        ValueError: a form that is not understood, a name twice, no values.
    """
    if isinstance(over, Mapping):
        return {
            name: values.values(given) if isinstance(given, str) else values.checked(list(given), given)
            for name, given in over.items()
        }
    found: dict[str, list[Any]] = {}
    for text in [over] if isinstance(over, str) else over:
        name, listed = values.over(text)
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        found[name] = listed
    return found


def _asked_workers(workers: Sequence[int] | str) -> list[int]:
    return values.workers(workers) if isinstance(workers, str) else values.whole(workers)


def _takes(function: Callable[..., Any], name: str) -> bool:
    found = inspect.signature(function).parameters
    named = found.get(name)
    if named is not None and named.kind in (named.POSITIONAL_OR_KEYWORD, named.KEYWORD_ONLY):
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.values())


def _check_signature(function: Callable[..., Any], names: Iterable[str]) -> None:
    for name in names:
        if not _takes(function, name):
            known = ", ".join(inspect.signature(function).parameters) or "none"
            raise TypeError(
                f"{getattr(function, '__name__', function)} has no parameter {name!r}; it has: {known}"
            )
