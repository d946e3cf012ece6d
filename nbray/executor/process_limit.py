"""How many processes of a node may run tasks at a time: tasks that wait keep theirs, so there may be many more than CPUs."""

from __future__ import annotations

import resource
from collections.abc import Mapping

from nbray.machine import MemoryFigures, cpu_count, process_limit

VARIABLE = "NBRAY_MAX_PROCESSES"

#: Bytes of memory that a process which waits may need: 6 MiB and what its task has at hand.
_EACH = 24 << 20
#: Descriptors that a process costs node agent and driver, and those that they need besides.
_DESCRIPTORS, _OTHERS = 4, 128
#: Entries of the kernel's process table: threads count.
_THREADS = 8
#: So many in any case: recursion is to go 64 deep.
_DEEP = 64


def most_processes(environment: Mapping[str, str]) -> int:
    """By default what half of the memory, the descriptors and the process table allow; ``NBRAY_MAX_PROCESSES`` says otherwise.

    Raises:
        ValueError: the variable is no whole number above 0.
    """
    asked = environment.get(VARIABLE, "").strip()
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise ValueError(f"{VARIABLE} must be a whole number of processes, 1 or more, not {asked!r}")
        return int(asked)
    room = [MemoryFigures().total() // 2 // _EACH]
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors != resource.RLIM_INFINITY:
        room.append((descriptors - _OTHERS) // _DESCRIPTORS)
    table = process_limit()
    if table is not None:
        room.append(table // _THREADS)
    return max(min(room), _DEEP + 8 * cpu_count())
