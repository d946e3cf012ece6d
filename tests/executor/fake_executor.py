"""Entry functions for executors under test. Imported by the template and by what it starts, not by pytest."""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback

import numpy as np

from nbray.channel.reactor import Reactor
from nbray.core import messages
from nbray.core.ids import Address, new_process_id
from nbray.executor.boot import Boot


def run(boot: Boot) -> None:
    """An executor that says what it is told, and does what it is told in Python.

    DOWN ("eval", source): answers UP ("value", the value). Everything else: answers UP ("told", the message).
    RETIRE: leaves.
    """
    address = Address(new_process_id(), boot.node_id, "", "")
    reactor = Reactor(address, boot.secret)
    agent = reactor.connect(boot.agent)
    agent.send((messages.READY, boot.number, os.getpid(), tuple(address)))

    def heard(connection, message):
        kind = message[0]
        if kind == messages.DOWN and message[1][0] == "eval":
            try:
                value = eval(message[1][1], globals(), {"agent": agent, "boot": boot})
            except Exception:
                traceback.print_exc()
                os._exit(1)
            agent.send((messages.UP, ("value", value)))
        elif kind == messages.RETIRE:
            os._exit(0)
        elif kind == messages.HOST:
            _, actor_id, epoch, creation, _ = message
            agent.send((messages.HOSTED, actor_id, epoch, creation or None))
        else:
            agent.send((messages.UP, ("told", message)))

    agent.on_message = heard
    agent.on_close = lambda connection, error: os._exit(0)
    while True:
        reactor.step(60)


def report(boot: Boot) -> None:
    """Print what a fork can see of itself."""
    facts = {
        "random": random.random(),
        "numpy": float(np.random.random()),
        "modules": sorted(sys.modules),
        "main": sorted(vars(sys.modules["__main__"])),
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors()},
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "sys_path": sys.path,
        "group": os.getpgid(0) == os.getpid(),
        "session": os.getsid(0),
        "parent": os.getppid(),
        "blocked": [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "handlers": {
            s.name: repr(signal.getsignal(s)) for s in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
        },
        "blas": blas_threads(),
        "boot": repr(boot),
    }
    print(json.dumps(facts))


def _descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:  # the directory's own
            continue
        found.append(int(name))
    return found


def blas_threads() -> int:
    with open("/proc/self/maps") as file:
        paths = {line.split(maxsplit=5)[5].strip() for line in file if "openblas" in line}
    for path in paths:
        for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads"):
            getter = getattr(ctypes.CDLL(path), name, None)
            if getter is not None:
                return getter()
    return 0


def leave_by_exit(boot: Boot) -> None:
    print("last words", file=sys.stderr)
    os._exit(7)


def leave_by_segfault(boot: Boot) -> None:
    ctypes.string_at(0)


def leave_by_exception(boot: Boot) -> None:
    raise LookupError("no such luck")


def leave_by_sys_exit(boot: Boot) -> None:
    sys.exit(5)


def sleep(boot: Boot) -> None:
    print("asleep", flush=True)
    time.sleep(1000)


def nothing(boot: Boot) -> None:
    """Come and go."""


def leave_family(boot: Boot) -> None:
    """Start processes that all hold the pipe at ``<session_dir>/pipe``, each harder to find, and end."""
    pipe = os.open(f"{boot.session_dir}/pipe", os.O_WRONLY)
    start_family(pipe)
    os._exit(0)


def hold_with_child(boot: Boot) -> None:
    """Hold the pipe at ``<session_dir>/pipe`` together with a child, which the kernel does not kill with us."""
    pipe = os.open(f"{boot.session_dir}/pipe", os.O_WRONLY)
    if os.fork() == 0:
        os.write(pipe, b"x")
    time.sleep(1000)


def start_family(*fds: int) -> int:
    """A child in our group; one with a session of its own; a daemon, twice forked, with another."""
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(1000)"]
    daemon = "import os, sys, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1000)"
    subprocess.Popen(sleeper, pass_fds=fds)
    subprocess.Popen(sleeper, pass_fds=fds, start_new_session=True)
    subprocess.run([sys.executable, "-S", "-c", daemon], pass_fds=fds, check=True)
    if os.fork() == 0:
        time.sleep(1000)
    return os.getpid()
