"""``python -m nbray.bench.scale``: what many tasks, refs and actors cost, and what an idle pool does.

These are figures of nbray alone: the question is not who is faster, but whether a figure stays the same when there is more of
everything.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

import nbray
from nbray import _runtime
from nbray.bench.facts import machine

#: Tasks under way at a time while a million of them run.
WINDOW = 10_000
PARTS = 10
IDLE_SECONDS = 10.0


@nbray.remote
def small(_: int) -> bytes:
    return b"ok"


@nbray.remote
def number(value: int) -> int:
    return value


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def pid(self) -> int:
        return os.getpid()


class Blocker:
    def block(self) -> None:
        threading.Event().wait()


class Messages:
    """Counts what the driver's owner says to placement while in use."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Messages:
        self._owner = _runtime.current().owner
        self._send_up = self._owner.send_up

        def counted(message: Any) -> None:
            self.count += 1
            self._send_up(message)

        self._owner.send_up = counted
        return self

    def __exit__(self, *exc: object) -> None:
        self._owner.send_up = self._send_up


def resident() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    memory: int = psutil.Process().memory_info().rss
    return memory


def private(pid: int) -> int:
    """Bytes of memory that a process shares with no other."""
    full = psutil.Process(pid).memory_full_info()
    unique: int = full.uss
    return unique


def many_tasks(count: int) -> dict[str, Any]:
    """Small tasks, ``WINDOW`` under way at a time, every ref held to the end."""
    nbray.get([small.remote(i) for i in range(WINDOW)])  # lanes are there, durations learnt
    before = resident()
    refs: list[Any] = []
    rates = []
    part = count // PARTS
    with Messages() as messages:
        for _ in range(PARTS):
            began = time.perf_counter()
            under_way: deque[Any] = deque()
            for i in range(part):
                ref = small.remote(i)
                refs.append(ref)
                under_way.append(ref)
                if len(under_way) >= WINDOW:
                    nbray.get([under_way.popleft() for _ in range(WINDOW // 2)])
            nbray.get(list(under_way))
            rates.append(part / (time.perf_counter() - began))
    held = resident() - before
    return {
        "tasks": count,
        "tasks_per_second_first_tenth": round(rates[0]),
        "tasks_per_second_last_tenth": round(rates[-1]),
        "bytes_per_referenced_task": round(held / len(refs)),
        "messages_to_placement": messages.count,
    }


def waiting_tasks(count: int) -> dict[str, Any]:
    """Tasks that all wait for one argument: what a task costs its owner before it has run."""
    blocker = nbray.remote(num_cpus=0)(Blocker).remote()
    start = blocker.block.remote()
    before = resident()
    refs = [small.remote(start) for _ in range(count)]
    held = resident() - before
    nbray.kill(blocker)  # and with it all that wait
    del refs
    return {"waiting_tasks": count, "bytes_per_waiting_task": round(held / count)}


def many_refs(count: int) -> dict[str, Any]:
    """Refs of small objects and of small tasks' results, half and half, held, read, dropped."""
    before = resident()
    began = time.perf_counter()
    refs = [nbray.put(i) for i in range(count // 2)]
    refs += [number.remote(i) for i in range(count - len(refs))]
    total = sum(nbray.get(refs))
    made = time.perf_counter() - began
    held = resident() - before
    half = count // 2
    if total != half * (half - 1) // 2 + (count - half) * (count - half - 1) // 2:
        raise AssertionError("the refs have other values than they should")
    began = time.perf_counter()
    del refs
    return {
        "refs": count,
        "refs_made_and_read_seconds": round(made, 2),
        "refs_dropped_seconds": round(time.perf_counter() - began, 2),
        "bytes_per_ref": round(held / count),
    }


def many_actors(count: int) -> dict[str, Any]:
    """Actors that hold nothing: made, called, measured while alive, ended."""
    actor_class = nbray.remote(num_cpus=0)(Counter)
    threads = threading.active_count()
    began = time.perf_counter()
    actors = [actor_class.remote() for _ in range(count)]
    nbray.get([actor.add.remote() for actor in actors])
    made = time.perf_counter() - began
    pids = nbray.get([actor.pid.remote() for actor in actors])
    memory = sorted(map(private, pids))
    began = time.perf_counter()
    if nbray.get([actor.add.remote() for actor in actors]) != [2] * count:
        raise AssertionError("an actor has lost count")
    called = time.perf_counter() - began
    more = threading.active_count() - threads
    began = time.perf_counter()
    del actors
    while any(map(psutil.pid_exists, pids)):
        time.sleep(0.01)
    return {
        "actors": count,
        "actors_made_and_called_per_second": round(count / made),
        "actors_called_once_more_seconds": round(called, 3),
        "actors_ended_seconds": round(time.perf_counter() - began, 2),
        "private_mib_of_an_actor_median": round(memory[len(memory) // 2] / 2**20, 1),
        "private_mib_of_an_actor_most": round(memory[-1] / 2**20, 1),
        "more_threads_in_the_node_agent": more,
    }


def idle(seconds: float = IDLE_SECONDS) -> dict[str, Any]:
    """CPU time of the driver and all its processes while nobody asks for anything."""
    time.sleep(2.0)  # lanes go back, files for reuse go
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    before = {process.pid: sum(process.cpu_times()[:2]) for process in processes}
    time.sleep(seconds)
    spent = {}
    for process in processes:
        if process.is_running():
            spent[process.pid] = sum(process.cpu_times()[:2]) - before[process.pid]
    driver = spent.pop(me.pid)
    return {
        "idle_cpu_percent_of_the_driver": round(100 * driver / seconds, 2),
        "idle_cpu_percent_of_all_others": round(100 * sum(spent.values()) / seconds, 2),
        "processes_besides_the_driver": len(spent),
    }


def in_a_pool(measure: Callable[..., dict[str, Any]], *amount: int) -> dict[str, Any]:
    """A measurement in a pool of its own. What it runs travels by value, as a user's functions and classes do."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with nbray.init():
        return measure(*amount)


def main(arguments: list[str] | None = None) -> int:
    commands = argparse.ArgumentParser(prog="python -m nbray.bench.scale", description=__doc__)
    commands.add_argument("--tasks", type=int, default=1_000_000, help="tasks in a row (default: a million)")
    commands.add_argument("--refs", type=int, default=100_000, help="refs at a time (default: 100,000)")
    commands.add_argument("--actors", type=int, default=1_000, help="actors at a time (default: 1,000)")
    commands.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = commands.parse_args(arguments)
    if min(options.tasks // PARTS, options.refs, options.actors) < 1:
        commands.error(f"--tasks must be {PARTS} or more, --refs and --actors 1 or more")
    figures: dict[str, Any] = {}

    def report(part: dict[str, Any]) -> None:
        for name, value in part.items():
            print(f"{name.replace('_', ' '):42} {value:>12,}", flush=True)
        figures.update(part)

    # A process each: memory that one measurement had given back would be no growth in the next.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        for measure, *amount in (
            (idle,),
            (many_tasks, options.tasks),
            (waiting_tasks, options.tasks // PARTS),
            (many_refs, options.refs),
            (many_actors, options.actors),
        ):
            report(alone.submit(in_a_pool, measure, *amount).result())
    if options.json:
        facts = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "nbray": nbray.__version__,
        }
        options.json.write_text(json.dumps({**facts, "scale": figures}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    # By its own name: functions of ``__main__`` have another module in a process that was spawned.
    sys.exit(importlib.import_module("nbray.bench.scale").main())
