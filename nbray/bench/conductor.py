"""Starts the measuring processes, in turn, and gathers what they report. A peer that fails or hangs ends nothing but itself."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from nbray.bench.cases import CASES, COLD
from nbray.bench.child import MARK
from nbray.bench.peers import PEERS

CASE_SECONDS = 60.0  # beyond what the case is asked to take: a peer that takes longer is stopped
_CHILD = Path(__file__).with_name("child.py")
_SOURCES = str(Path(__file__).parents[2])


@dataclass
class PeerRun:
    """What is known of one peer: how to run it, and what it said of itself."""

    name: str
    python: str = sys.executable
    version: str = ""
    python_version: str = ""
    skipped: str = ""

    def environment(self) -> dict[str, str]:
        environment = dict(os.environ, PYTHONWARNINGS="ignore", RAY_USAGE_STATS_ENABLED="0")
        environment.pop("RAY_ADDRESS", None)
        if self.name == "nbray":  # this nbray, also where it is not installed
            path = [_SOURCES, *filter(None, [environment.get("PYTHONPATH")])]
            environment["PYTHONPATH"] = os.pathsep.join(path)
        return environment


@dataclass
class Outcome:
    """One case in one peer: a sample a round, in the case's unit. ``error`` and ``absent`` say why there are none."""

    samples: list[float] = field(default_factory=list)
    error: str = ""
    absent: str = ""


Outcomes = dict[str, dict[str, Outcome]]  # by case, by peer


def installed(run: PeerRun) -> bool:
    """Whether the peer's interpreter finds it, without importing it."""
    if run.python == sys.executable:
        return importlib.util.find_spec(PEERS[run.name].module) is not None
    code = (
        f"import importlib.util, sys; sys.exit(importlib.util.find_spec({PEERS[run.name].module!r}) is None)"
    )
    try:
        finished = subprocess.run(
            [run.python, "-P", "-c", code],
            check=False,
            env=run.environment(),
            timeout=60,
            capture_output=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return finished.returncode == 0


class _Lines:
    """The output of a process, a line at a time and with a limit. It does not wait for end-of-file: what the process left
    behind may hold its output open."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.noise = ""  # the last line of it, where a traceback has the error
        threading.Thread(target=self._read, name="nbray-bench-output", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))

    def next_with(self, mark: str, seconds: float) -> str | None:
        """The rest of the next line that starts with ``mark``; None if the process ended before. Other lines are noise.

        Raises:
            TimeoutError: nothing came within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            try:
                line = self._lines.get(timeout=0.1)
            except queue.Empty:
                if ended:
                    return None
                continue
            if line.startswith(mark):
                return line[len(mark) :]
            if line.strip():
                self.noise = line.strip()
        raise TimeoutError(f"no answer within {seconds:.0f} s")

    def complaint(self) -> str:
        """Why the process ended without an answer, as far as one can tell."""
        status = self._process.returncode
        if status is not None and status < 0:
            return f"the process was killed by signal {-status}"
        return f"the process ended with status {status}: {self.noise}"


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process whose whole tree is gone afterwards."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        tree = _tree(process.pid)
        if process.poll() is None:
            for member in tree:
                _kill(member)
            process.wait()
        _wait_until_dead(tree)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait_until_dead(tree: list[psutil.Process]) -> None:
    """Zombies count as dead: who reaps the grandchildren may take its time, and Ctrl-C must not."""
    deadline = time.monotonic() + 10
    while any(map(_alive, tree)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        pass


def cold_start(run: PeerRun, cpus: int) -> float:
    """Seconds from the start of an interpreter to its first result.

    Raises:
        TimeoutError: it hangs. RuntimeError: it ended without a result.
    """
    program = PEERS[run.name].cold.replace("{cpus}", str(cpus))
    began = time.perf_counter()
    with _process([run.python, "-P", "-c", program], run.environment()) as process:
        lines = _Lines(process)
        answer = lines.next_with("ready", CASE_SECONDS)
        took = time.perf_counter() - began
        if answer is None:
            raise RuntimeError(lines.complaint())
        _wait_a_while(process)
    return took


def _measure_cold(run: PeerRun, cpus: int, board: _Board) -> None:
    if not PEERS[run.name].cold:
        board.record(run, [COLD], absent="no tasks")
        return
    board.begin(run, COLD)
    try:
        board.record(run, [COLD], rate=cold_start(run, cpus))
    except (TimeoutError, RuntimeError, OSError) as failure:
        board.record(run, [COLD], error=str(failure))


def _measure(run: PeerRun, names: list[str], seconds: float, cpus: int, board: _Board) -> list[str]:
    """One process measures ``names`` as far as it gets. Gives back what is left after a case that ended the process."""
    job = {"peer": run.name, "cpus": cpus, "seconds": seconds, "cases": names}
    left = list(names)
    begun: str | None = None
    with _process([run.python, "-P", str(_CHILD), json.dumps(job)], run.environment()) as process:
        lines = _Lines(process)
        while True:
            try:
                line = lines.next_with(MARK, 3 * seconds + CASE_SECONDS)
                failure = lines.complaint() if line is None else ""
            except TimeoutError as late:
                line, failure = None, str(late)
            if line is None:
                break
            said: dict[str, Any] = json.loads(line)
            if "version" in said:
                run.version, run.python_version = said["version"], said["python"]
            elif "begins" in said:
                begun = said["begins"]
                board.begin(run, begun)
            elif "ends" in said:
                begun = None
                left.remove(said["ends"])
                board.record(run, [said.pop("ends")], **said)
            else:
                _wait_a_while(process)
                return []
    if begun is None:  # before the first case or between two: it would not go better another time
        board.record(run, left, error=failure)
        return []
    left.remove(begun)
    board.record(run, [begun], error=failure)
    return left


def _wait_a_while(process: subprocess.Popen[str]) -> None:
    """Let it end by itself; its figures stand anyway, and what is left of it is killed."""
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        pass


class _Board:
    """What is known so far."""

    def __init__(
        self,
        runs: list[PeerRun],
        names: list[str],
        progress: Callable[[str], None],
        watch: Callable[[Outcomes, str], None],
    ) -> None:
        self.outcomes: Outcomes = {name: {run.name: Outcome() for run in runs} for name in names}
        self.round = ""
        self._progress = progress
        self._watch = watch

    def begin(self, run: PeerRun, name: str) -> None:
        self._watch(self.outcomes, f"{CASES[name].title}: {run.name}, {self.round}")

    def left_for(self, run: PeerRun) -> list[str]:
        """The cases that have not failed and are not out of the question."""
        known = {name: by_peer[run.name] for name, by_peer in self.outcomes.items()}
        return [name for name, outcome in known.items() if not outcome.error and not outcome.absent]

    def record(
        self, run: PeerRun, names: list[str], *, rate: float | None = None, error: str = "", absent: str = ""
    ) -> None:
        for name in names:
            outcome = self.outcomes[name][run.name]
            if rate is not None:
                outcome.samples.append(rate)
            outcome.error = error
            outcome.absent = absent
        if rate is not None:
            said = f"{rate:,.4g} {CASES[names[0]].unit}"
        else:
            said = f"failed: {error}" if error else f"not applicable: {absent}"
        self._progress(f"{run.name}: {', '.join(names)}: {said}")
        self._watch(self.outcomes, "")


def conduct(
    runs: list[PeerRun],
    names: list[str],
    *,
    rounds: int,
    seconds: float,
    cpus: int,
    progress: Callable[[str], None] = lambda line: None,
    watch: Callable[[Outcomes, str], None] = lambda outcomes, now: None,
) -> Outcomes:
    """Measure the cases ``names`` in all ``runs``, in turn, ``rounds`` times.

    A case that failed in a peer is not tried there again; a peer that is not installed is marked as skipped in its run.
    ``progress`` gets a line for each step, ``watch`` what is known so far and what is measured now, "" between two.
    """
    board = _Board(runs, names, progress, watch)
    watch(board.outcomes, "looking which peers are installed")
    for run in runs:
        if not installed(run):
            run.skipped = "not installed"
            progress(f"{run.name}: skipped, not installed")
    for index in range(rounds):
        for run in runs:
            if run.skipped:
                continue
            board.round = f"round {index + 1} of {rounds}"
            progress(f"--- {board.round}: {run.name}")
            watch(board.outcomes, f"{run.name} starts, {board.round}")
            left = board.left_for(run)
            if COLD in left:
                left.remove(COLD)
                _measure_cold(run, cpus, board)
            while left:
                left = _measure(run, left, seconds, cpus, board)
    return board.outcomes
