"""From a fresh fork (or a fresh interpreter) to an executor: what the process has to make its own before user code may run."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import signal
import sys

from nbray.executor import gpus, linux, threads
from nbray.executor.boot import Boot
from nbray.executor.outlet import STREAMS


def settle(boot: Boot) -> Boot:
    """Make this process the executor that ``boot`` describes. Called with all signals blocked; unblocks them.

    Answers the same with its GPUs named as CUDA knows them here.
    """
    linux.signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != boot.parent:  # it died before the line above
        os._exit(1)
    _standard_streams(boot.log_path)
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    # What user code leaves behind becomes this process's child, and the template's when this process ends. So the
    # template knows whose orphans it gets: those of executors that have ended, never those of a living one.
    linux.adopt_orphans()
    linux.set_process_name(f"nbray:{boot.number}")
    linux.prefer_for_oom_killer()
    _signals()
    _environment(boot)
    names = gpus.names(boot.gpus, os.environ)
    os.environ.update(gpus.variables(names))
    _randomness()
    gc.enable()
    return boot._replace(gpus=names)


def _standard_streams(log_path: str) -> None:
    """0 from nowhere, 1 and 2 to files, which outlive a crash; see ``executor/outlet.py``."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for number, suffix in ((1, STREAMS[0]), (2, STREAMS[1])):
        log = os.open(log_path + suffix, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, number)
        os.close(log)
    # A crash loses what is still in Python's buffer, or in C's.
    for stream in (sys.__stdout__, sys.__stderr__):
        stream.reconfigure(write_through=True, errors="backslashreplace")  # type: ignore[union-attr]
    linux.buffer_lines()
    faulthandler.enable(file=2)


def _signals() -> None:
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_DFL)
    # A driver started in the background of a shell script has SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _environment(boot: Boot) -> None:
    os.environ.update(boot.env)
    os.environ.update(threads.thread_variables(os.environ, boot.threads))
    blas = threads.openblas_threads(os.environ)
    if blas > 1:
        threads.set_loaded_openblas(blas)
    sys.path[:] = boot.sys_path
    _work_in(boot.cwd)


def _work_in(directory: str) -> None:
    """A directory may go while a pool lives; what does not need it must not fail with it."""
    try:
        os.chdir(directory)
    except OSError as error:
        os.chdir("/")
        print(
            f"the directory {directory} in which init() was called cannot be entered ({error.strerror}): this process works in /",
            file=sys.stderr,
        )


def _randomness() -> None:
    """All forks would go on with the template's streams, each with the same numbers."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
