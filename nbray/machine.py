"""What this process may use of its machine, and how much of it is used, as its affinity, its cgroups and the host say."""

from __future__ import annotations

import math
import os
import time
from typing import NamedTuple

import psutil

#: A limit beyond this is none: cgroup v1 says "unlimited" with a number near 2^63.
_NO_LIMIT = 1 << 60


def cpu_count() -> int:
    """CPUs that this process may use: its affinity, and its cgroup's quota rounded up."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cpus = os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            cpus = min(cpus, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cpus


def process_limit(root: str = "") -> int | None:
    """Processes and threads that the cgroups of this process may have together; None: no end."""
    paths = _paths(root)
    found = [
        _number(f"{root}/sys/fs/cgroup{where}{path}/pids.max")
        for where, path in [
            *[("", path) for path in _upwards(paths[""])],
            *[("/pids", path) for path in _upwards(paths["pids"])],
        ]
    ]
    return min([limit for limit in found if limit is not None], default=None)


class Memory(NamedTuple):
    """Bytes of memory. Page cache that the kernel can take back at once is not used."""

    used: int
    total: int


class CpuFigures:
    """How many CPUs are busy: of the host, or of this process' control group if that may not use them all.

    Args:
        root: where /proc and /sys are.
    """

    def __init__(self, root: str = "") -> None:
        self._group = _limited(root)
        self._before = self._read()

    def busy(self) -> float:
        """CPUs that were busy on average since the last call."""
        (then, spent), now = self._before, self._read()
        self._before = now
        passed = now[0] - then
        return max((now[1] - spent) / passed, 0.0) if passed > 0 else 0.0

    def _read(self) -> tuple[float, float]:
        """A moment, and the seconds that CPUs had been busy by then."""
        now = time.monotonic()
        if self._group:
            return now, _fields(self._group).get("usage_usec", 0) / 1e6
        times = psutil.cpu_times()
        # A guest's time is in the user's, too.
        return now, sum(times) - sum(
            getattr(times, name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice")
        )


def _limited(root: str) -> str:
    """The ``cpu.stat`` of the nearest cgroup (v2) above this process that has a quota; "" if there is none."""
    for path in _upwards(_paths(root)[""]):
        at = f"{root}/sys/fs/cgroup{path}"
        try:
            with open(f"{at}/cpu.max") as file:
                if not file.read().startswith("max") and "usage_usec" in _fields(f"{at}/cpu.stat"):
                    return f"{at}/cpu.stat"
        except OSError:
            pass
    return ""


class _Cgroup(NamedTuple):
    """Files of one cgroup, and the names of its inactive page cache in ``stat``."""

    limit: str
    usage: str
    stat: str
    inactive: str


class MemoryFigures:
    """Reads memory figures: of the host, and of the cgroups (v1 and v2) in which this process is.

    Args:
        root: where /proc and /sys are.
    """

    def __init__(self, root: str = "") -> None:
        self._meminfo = f"{root}/proc/meminfo"
        self._groups = [group for group in _groups(root) if _limit(group) is not None]

    def total(self) -> int:
        """Bytes that this process and its like may have together: the host's or the tightest cgroup's."""
        limits = [limit for group in self._groups if (limit := _limit(group)) is not None]
        return min([self._host().total, *limits])

    def read(self) -> Memory:
        """The figures of whatever is fullest, host or cgroup."""
        found = [self._host()]
        for group in self._groups:
            limit, usage = _limit(group), _number(group.usage)
            if limit is not None and usage is not None:
                cache = _fields(group.stat).get(group.inactive, 0)
                found.append(Memory(max(usage - cache, 0), limit))
        return max(found, key=lambda memory: memory.used / memory.total)

    def _host(self) -> Memory:
        fields = _fields(self._meminfo)
        if "MemTotal:" in fields:
            total = fields["MemTotal:"] << 10
            return Memory(total - (fields.get("MemAvailable:", fields["MemTotal:"]) << 10), total)
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: how much is used stays open
        return Memory(0, total)


def _paths(root: str) -> dict[str, str]:
    """The cgroup of this process by controller, "" for v2."""
    paths = {"": "/", "memory": "/", "pids": "/"}
    try:
        with open(f"{root}/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                for controller in controllers.split(","):
                    paths[controller] = path
    except (OSError, ValueError):
        pass
    return paths


def _groups(root: str) -> list[_Cgroup]:
    """The cgroups of this process and those above it. In a container they may be mounted at the top."""
    paths = _paths(root)
    groups = []
    for path in _upwards(paths[""]):
        at = f"{root}/sys/fs/cgroup{path}"
        groups.append(
            _Cgroup(f"{at}/memory.max", f"{at}/memory.current", f"{at}/memory.stat", "inactive_file")
        )
    for path in _upwards(paths["memory"]):
        at = f"{root}/sys/fs/cgroup/memory{path}"
        usage = f"{at}/memory.usage_in_bytes"
        groups.append(
            _Cgroup(f"{at}/memory.limit_in_bytes", usage, f"{at}/memory.stat", "total_inactive_file")
        )
    return groups


def _upwards(path: str) -> list[str]:
    """The path and all above it, "" at last."""
    found = []
    path = path.rstrip("/")
    while path:
        found.append(path)
        path = path.rpartition("/")[0]
    return [*found, ""]


def _limit(group: _Cgroup) -> int | None:
    limit = _number(group.limit)
    return limit if limit is not None and 0 < limit < _NO_LIMIT else None


def _number(path: str) -> int | None:
    """The number in a file; None if there is none (no such file, "max")."""
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _fields(path: str) -> dict[str, int]:
    """The lines "name number ..." of a file."""
    fields = {}
    try:
        with open(path) as file:
            for line in file:
                words = line.split()
                if len(words) > 1 and words[1].isdigit():
                    fields[words[0]] = int(words[1])
    except OSError:
        pass
    return fields
