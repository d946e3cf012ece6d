"""What a test left behind: threads, processes, file descriptors, nbray's directories.

    before = census()
    ...
    for line in leaks(before): print(line)

Processes are known by a mark in the environment that they inherit, so one that has left its parents is found too. What is
just ending is waited for, within a limit.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil

KINDS = ("threads", "processes", "fds", "files")

_MARK = "NBRAY_TEST_RUN"
os.environ[_MARK] = uuid.uuid4().hex

# Dask keeps one executor thread for as long as the process lives.
_LASTING_THREADS = ("Dask-Offload",)
_PLACES = ("/dev/shm", tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""))


class Census(NamedTuple):
    """What there is now. ``pids``: of the whole machine."""

    threads: frozenset[threading.Thread]
    pids: frozenset[int]
    fds: frozenset[tuple[int, str]]
    files: frozenset[str]


def census() -> Census:
    return Census(frozenset(_threads()), frozenset(psutil.pids()), frozenset(_fds()), frozenset(_files()))


def leaks(
    before: Census, allowed: frozenset[str] = frozenset(), *, pool: bool = False, limit: float = 10.0
) -> list[str]:
    """A line for each thing that was not there before and stays for ``limit`` seconds.

    Args:
        allowed: kinds that are not looked at, out of `KINDS`.
        pool: a pool from before still lives. It may open channels and start executors as it likes.
    """
    deadline = time.monotonic() + limit
    while True:
        found = _Difference(before, allowed, pool)
        left = deadline - time.monotonic()
        if not found.lines or left <= 0:
            return found.lines
        gc.collect()
        if found.processes:
            psutil.wait_procs(found.processes, timeout=left)
        elif found.threads:
            found.threads[0].join(left)
        else:
            time.sleep(0.01)  # nothing announces that a descriptor was closed or a directory removed


class _Difference:
    def __init__(self, before: Census, allowed: frozenset[str], pool: bool) -> None:
        look = set(KINDS) - allowed - ({"fds", "files"} if pool else set())
        self.threads = [t for t in _threads() if t not in before.threads] if "threads" in look else []
        self.processes = _descendants(before.pids, pool) if "processes" in look else []
        self.lines = [f"thread {t.name} ({'daemon' if t.daemon else 'not daemon'})" for t in self.threads]
        self.lines += [f"process {_story(p)}" for p in self.processes]
        if "fds" in look:
            self.lines += [f"fd {fd}: {target}" for fd, target in sorted(_fds() - before.fds)]
        if "files" in look:
            self.lines += [f"file {path}" for path in sorted(_files() - before.files) if not _is_others(path)]


def _threads() -> list[threading.Thread]:
    """Those that matter: nbray's, and all that would keep the interpreter from ending."""
    return [
        thread
        for thread in threading.enumerate()
        if (thread.name.startswith("nbray") or not thread.daemon)
        and not thread.name.startswith(_LASTING_THREADS)
    ]


def _descendants(before: frozenset[int], pool: bool) -> list[psutil.Process]:
    """New processes that this one started, directly or not. With a pool: not those that an older descendant started."""
    found = []
    for pid in psutil.pids():
        if pid in before:
            continue
        try:
            process = psutil.Process(pid)
            parents = [parent.pid for parent in process.parents()]
            if os.getpid() in parents:
                between = parents[: parents.index(os.getpid())]
                if not (pool and before.intersection(between)):
                    found.append(process)
            elif _is_ours(process):
                found.append(process)
        except psutil.Error:
            pass  # it has just ended, or belongs to somebody else
    return found


def _story(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({process.status()}): {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return f"{process.pid} (gone by now)"


def _fds() -> set[tuple[int, str]]:
    if sys.platform != "linux":
        return set()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass  # the listing's own descriptor
    return found


def _files() -> set[str]:
    """nbray's directories and sockets in the places where it makes them."""
    return {
        str(path)
        for place in _PLACES
        if place and os.path.isdir(place)
        for path in Path(place).glob("nbray*")
    }


def _is_others(path: str) -> bool:
    """Whether it belongs, or may belong, to another session on this machine: somebody's notebook, or another run of the tests.

    A name that tells its maker's pid (nbray-PID-...) settles it. Otherwise nobody can be blamed while other sessions live.
    """
    maker = re.match(r"nbray-(\d+)-", os.path.basename(path))
    if maker is None:
        return _others_live()
    try:
        return not _is_ours(psutil.Process(int(maker[1])))
    except psutil.Error:
        return False  # it is dead, its directory is not


def _is_ours(process: psutil.Process) -> bool:
    return process.pid == os.getpid() or bool(process.environ().get(_MARK) == os.environ[_MARK])


def _others_live() -> bool:
    """Whether a process that this one did not start listens in a directory of nbray's, or works there."""
    sockets = set()
    with open("/proc/net/unix", encoding="utf-8") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and "/nbray" in fields[7]:
                sockets.add(f"socket:[{fields[6]}]")
    for process in psutil.process_iter():
        try:
            if _is_ours(process):
                continue
            if "/nbray-" in process.cwd():
                return True
            if sockets & {os.readlink(fd) for fd in Path(f"/proc/{process.pid}/fd").iterdir()}:
                return True
        except (psutil.Error, OSError):
            continue  # it has just ended, or belongs to another user
    return False
