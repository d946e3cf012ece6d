"""Dask's servers inside somebody else's process: without ports, chatter, and a clock that ticks fifty times a second.

Measured, idle, on 2 cores: a scheduler and a worker use 2.9 % of a CPU as they come; like this, 0.02 %.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import yaml

# PyYAML's own parser takes 40 ms for Dask's settings, a tenth of what a start takes; libyaml's 6 ms, to the same result.
_yaml_loader = yaml.SafeLoader
yaml.SafeLoader = getattr(yaml, "CSafeLoader", _yaml_loader)
try:
    import dask
    from distributed import Scheduler, Worker
    from distributed.comm.inproc import global_manager
    from distributed.gc import disable_gc_diagnosis
finally:
    yaml.SafeLoader = _yaml_loader
with warnings.catch_warnings():
    # Without a network Dask warns that it has no address there. Here that is a part of names, and looked up just once.
    warnings.filterwarnings("ignore", "Couldn't detect a suitable IP address", RuntimeWarning)
    global_manager.ip  # noqa: B018

#: Read when a server is created.
CONFIG = {
    "distributed.admin.low-level-log-length": 100,  # each entry may keep a whole lease task
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.host-cpu": False,
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "1h",
    "distributed.admin.tick.cycle": "1h",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.preload": [],
    "distributed.scheduler.validate": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.http.routes": [],
    "distributed.worker.preload": [],
    "distributed.worker.profile.enabled": False,
    "distributed.worker.validate": False,
}


class QuietScheduler(Scheduler):
    """Without an HTTP server, which listens on every interface also when there is no dashboard."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


class QuietWorker(Worker):
    """Without an HTTP server."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


@contextlib.contextmanager
def creating() -> Iterator[None]:
    """Around the creation and start of servers: their configuration, and what they do to the process undone.

    Dask puts its scratch directories before everything else on ``sys.path``, and times garbage collections.
    """
    path, callbacks = list(sys.path), list(gc.callbacks)
    with dask.config.set(CONFIG):
        try:
            yield
        finally:
            sys.path[:] = [entry for entry in sys.path if entry in path]
            for _ in range(2):  # once a server
                if len(gc.callbacks) > len(callbacks):
                    disable_gc_diagnosis()  # type: ignore[no-untyped-call]


def calm(*servers: Any, keep: tuple[str, ...] = ()) -> None:
    """Stop what servers do periodically, but for those that are named. They need none of it if they can't lose each other."""
    _calm.update(servers)
    for server in servers:
        for name, callback in server.periodic_callbacks.items():
            if name not in keep:
                callback.stop()


_calm: weakref.WeakSet[Any] = weakref.WeakSet()


def _disown() -> None:
    """In a fork of this process: when it ends as a program does, Dask would remove the directories of our servers."""
    for server in list(_calm):
        if server._workdir is not None:
            server._workdir._finalizer.detach()


os.register_at_fork(after_in_child=_disown)


class Silence:
    """Dask logs at level INFO by default; until ``end`` it only warns. One session may begin while another one ends."""

    _kept = 0
    _before = logging.NOTSET
    _lock = threading.Lock()

    def __init__(self) -> None:
        logger = logging.getLogger("distributed")
        with Silence._lock:
            if not Silence._kept:
                Silence._before = logger.level
            Silence._kept += 1
            logger.setLevel(max(logger.level, logging.WARNING))

    def deepen(self) -> None:
        """The servers close: a warning that a lease is gone is none for anybody."""
        logger = logging.getLogger("distributed")
        with Silence._lock:
            logger.setLevel(max(logger.level, logging.ERROR))

    def end(self) -> None:
        with Silence._lock:
            Silence._kept -= 1
            level = max(Silence._before, logging.WARNING) if Silence._kept else Silence._before
            logging.getLogger("distributed").setLevel(level)
