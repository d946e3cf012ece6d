"""The few things that only the operating system can do for us. Linux has all of them; elsewhere they do nothing, and
``start_method`` decides what takes their place."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys

from nbray.exceptions import RaySystemError

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_IOLBF = 1


def start_method(platform: str, threads: int) -> str:
    """How the template makes executors: "fork", or "spawn" (a new interpreter each).

    A fork of a process with more than one thread may find locks held by threads that it does not have; a `.pth` file of a
    debugger or tracer can start one in any interpreter. On macOS a forked process must not use the system's frameworks.

    Raises:
        RaySystemError: on Windows, which has neither Unix sockets for Python nor process groups.
    """
    if platform == "win32":
        raise RaySystemError(
            "nbray does not run on Windows itself; run it in WSL (https://learn.microsoft.com/windows/wsl)"
        )
    return "fork" if platform == "linux" and threads == 1 else "spawn"


def thread_count() -> int:
    """Threads of this process as the kernel counts them, so those of libraries too; 1 where that cannot be known."""
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return 1


@functools.cache  # opened in the template, so the forks have it
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: object) -> None:
    if sys.platform == "linux" and _libc().prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def set_process_name(name: str) -> None:
    """What ``ps`` and ``top`` show, at most 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


def buffer_lines() -> None:
    """C's ``stdout`` gives every line away at its end, though it is a file."""
    try:
        libc = _libc()
        stdout = ctypes.c_void_p.in_dll(libc, "stdout" if sys.platform == "linux" else "__stdoutp")
        libc.setvbuf(stdout, None, _IOLBF, ctypes.c_size_t(0))
    except (ValueError, AttributeError):  # a C library that has it under another name
        pass


def give_back(file: int, end: int) -> None:
    """The disk space of a file's first ``end`` bytes, which will not be read any more. Its size stays."""
    if sys.platform == "linux":  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE; some file systems cannot
        _libc().fallocate(file, 3, ctypes.c_int64(0), ctypes.c_int64(end))


def adopt_orphans() -> None:
    """From now on processes below this one whose parent dies become this one's children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def signal_when_parent_dies(signum: int) -> None:
    """The kernel sends it when the *thread* that started this process ends; compare ``os.getppid()`` to tell."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signum))


def prefer_for_oom_killer() -> None:
    """When memory runs out the kernel shall take an executor, not the driver or the node agent."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:  # not Linux, or already higher: lowering it takes privileges
        pass


def children() -> list[int]:
    """Pids of this process's children, zombies and adopted ones too; empty where there is no /proc."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [child for child in _processes() if _parent(child) == pid]


def kill_strays(session: int, variable: str) -> None:
    """SIGKILL to every process that is in a session or was started with an environment ``variable`` ("NAME=value").

    The variable finds those that made a session of their own, and the session those that cleaned their environment. The
    session's leader is left out and must not have been waited for yet: while it is a zombie nobody else can get its id.
    """

    def is_stray(pid: int) -> bool:
        try:
            if _stat(pid)[1] == session:
                return pid != session
            with open(f"/proc/{pid}/environ", "rb") as file:
                return variable.encode() in file.read().split(b"\0")
        except OSError:  # gone, or another user's
            return False

    killed: set[int] = set()
    while found := {pid for pid in _processes() if pid not in killed and is_stray(pid)}:
        killed |= found
        for pid in found:
            try:
                handle = os.pidfd_open(pid)
            except OSError:  # gone
                continue
            try:
                # The handle pins the process; only now is it sure that it is the one which was looked at.
                if is_stray(pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            except OSError:
                pass
            finally:
                os.close(handle)


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return []


def _parent(pid: int) -> int:
    try:
        return _stat(pid)[0]
    except OSError:  # gone meanwhile
        return 0


def _stat(pid: int) -> tuple[int, int]:
    """Parent and session."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The command name is in parentheses and may contain any byte, parentheses too.
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[1]), int(fields[3])
