"""``python -m nbray.bench.limits``: what the machine does at best, without nbray.

A case of the comparison cannot be faster than the bare thing that it is made of: a message over a socket, a copy of the bytes, a
busy CPU. These are measured here by the smallest program that does them, so that a figure can be read against its limit.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import mmap
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from nbray.bench.cases import AT_ONCE, GIB, LARGE, MIB, one_millisecond
from nbray.bench.facts import machine, usable_cpus
from nbray.bench.measure import steps_per_second
from nbray.bench.words import figure, piped

Steps: TypeAlias = Generator[Callable[[], object], None, None]

_SHARED_MEMORY = "/dev/shm"


class Limit(NamedTuple):
    """Attributes:
    title: what is done. unit: of its figure. bounds: which cases it bounds.
    prepare: yields the step that is timed. amount: of ``unit`` in a step.
    """

    title: str
    unit: str
    bounds: str
    prepare: Callable[[], Steps]
    amount: float


# --- processes and sockets -----------------------------------------------------------------------------------------


@contextmanager
def _children(count: int, serve: Callable[[int], None]) -> Iterator[list[socket.socket]]:
    """Forked processes, each with a socket to it; for each byte that comes ``serve`` is called there and a byte answered."""
    sockets: list[socket.socket] = []
    pids: list[int] = []
    try:
        for _ in range(count):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if not pid:
                for sock in (*sockets, ours):
                    sock.close()
                _answer(theirs, serve)
            theirs.close()
            sockets.append(ours)
            pids.append(pid)
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
        for pid in pids:
            os.waitpid(pid, 0)


def _answer(sock: socket.socket, serve: Callable[[int], None]) -> None:
    try:
        while data := sock.recv(1 << 16):
            for byte in data:
                serve(byte)
                sock.send(b".")
    finally:
        os._exit(0)


def _round_trip() -> Steps:
    def step() -> None:
        sock.send(b".")
        sock.recv(1)

    with _children(1, lambda _: None) as (sock,):
        yield step


def _busy() -> Steps:
    def step() -> None:
        for index, sock in enumerate(sockets):
            sock.send(b"." * len(range(index, AT_ONCE, len(sockets))))
        missing = AT_ONCE
        while missing:
            for key, _ in poller.select():
                missing -= len(sockets[key.data].recv(1 << 16))

    with _children(usable_cpus(), one_millisecond) as sockets, selectors.DefaultSelector() as poller:
        for index, sock in enumerate(sockets):
            poller.register(sock, selectors.EVENT_READ, index)
        yield step


def _fork() -> Steps:
    def step() -> None:
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)

    yield step


def _import_dask() -> Steps:
    yield lambda: subprocess.run([sys.executable, "-c", "import distributed"], check=True)


# --- memory --------------------------------------------------------------------------------------------------------


@contextmanager
def _used_file(size: int) -> Iterator[tuple[str, mmap.mmap]]:
    """A file in memory that has been written to, and a mapping of all its pages."""
    where = _SHARED_MEMORY if os.path.isdir(_SHARED_MEMORY) else None
    with tempfile.NamedTemporaryFile(dir=where, prefix="nbray-limits-") as file:
        os.ftruncate(file.fileno(), size)
        mapping = mmap.mmap(file.fileno(), size)
        mapping[:] = b"\1" * size
        yield file.name, mapping


def _copy(threads: int) -> Steps:
    import numpy as np

    source = np.ones(LARGE, np.uint8)
    with _used_file(LARGE) as (_, mapping), ThreadPoolExecutor(max(threads - 1, 1)) as others:
        target = np.frombuffer(mapping, np.uint8)
        pieces = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

        def step() -> None:
            helping = [others.submit(np.copyto, *piece) for piece in pieces[1:]]
            np.copyto(*pieces[0])
            for other in helping:
                other.result()

        yield step


def _copy_and_map() -> Steps:
    source = memoryview(b"\1" * MIB)
    with _used_file(MIB) as (path, mapping):

        def step() -> None:
            mapping[:] = source
            fd = os.open(path, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_SH)
            seen = mmap.mmap(fd, MIB, access=mmap.ACCESS_COPY)
            seen.close()
            os.close(fd)

        yield step


LIMITS = {
    "round_trip": Limit(
        "a byte to another process and one back", "calls/s", "tasks, actor calls one by one", _round_trip, 1
    ),
    "busy": Limit("1,000 times 1 ms of work in a process a CPU", "calls/s", "tasks of 1 ms", _busy, AT_ONCE),
    "fork": Limit("a process forked, ended and waited for", "forks/s", "actors created", _fork, 1),
    "import_dask": Limit("an interpreter that imports Dask", "times/s", "cold process", _import_dask, 1),
    "copy": Limit(
        "32 MiB copied to used pages, one thread",
        "GiB/s",
        "put 32 MiB, by value, on one CPU",
        lambda: _copy(1),
        LARGE / GIB,
    ),
    "copy_threads": Limit(
        "32 MiB copied to used pages, a thread a CPU",
        "GiB/s",
        "put 32 MiB, by value",
        lambda: _copy(usable_cpus()),
        LARGE / GIB,
    ),
    "copy_and_map": Limit(
        "1 MiB copied to a used file and mapped again",
        "GiB/s",
        "put and get 1 MiB",
        _copy_and_map,
        MIB / GIB,
    ),
}


def measure(name: str, seconds: float) -> float:
    """The figure of one limit, timed for so many seconds."""
    limit = LIMITS[name]
    with closing(limit.prepare()) as steps:
        return steps_per_second(next(steps), seconds) * limit.amount


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nbray.bench.limits", description="Measure what this machine does without nbray."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long (default: 1.0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be 1 or more, and --seconds more than 0")
    samples: dict[str, list[float]] = {name: [] for name in LIMITS}
    for _ in range(options.rounds):
        for name in LIMITS:
            samples[name].append(measure(name, options.seconds))
    rows = [["what the machine does", "unit", "median (lowest–highest)", "bounds"]]
    for name, limit in LIMITS.items():
        low, high = min(samples[name]), max(samples[name])
        middle = figure(statistics.median(samples[name]))
        rows.append([limit.title, limit.unit, f"{middle} ({figure(low)}–{figure(high)})", limit.bounds])
    print(piped(rows, 2))
    if options.json:
        facts: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "limits": {
                name: {"title": limit.title, "unit": limit.unit, "samples": samples[name]}
                for name, limit in LIMITS.items()
            },
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
