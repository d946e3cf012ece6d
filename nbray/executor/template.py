"""The template: one warm process a node, from which executors are forked, and which cleans up after them.

It has imported what every executor needs, has exactly one thread, and does nothing but wait: for its node agent's wishes, and
for its children's ends. Every process that user code starts on the node is below it, and stays below it when its parent
dies (it is a *subreaper*), so when the node agent goes, however it goes, the template ends them all, removes the node's files and
leaves. Two things tell it that the agent is gone: the end of its socket, and a signal from the kernel; the latter because a
fork of the driver by user code holds the agent's end of the socket open.

How an executor's end is noticed and cleaned up, in this order:
1. ``waitid(WNOWAIT)`` sees it. It stays a zombie, so its pid, which is its group's id too, cannot be anyone else's yet.
2. Its process group gets SIGKILL; only then it is reaped.
3. All other processes below it that left the group are the template's children by now. Whoever is a child and no
   executor is such an orphan: SIGKILL. That may orphan others, whose adoption precedes the SIGCHLD that runs step 3 again.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from nbray.core.messages import Message
from nbray.executor import linux, threads
from nbray.executor.boot import (
    BE_EXECUTOR,
    BE_TEMPLATE,
    EXITED,
    FORK,
    FORKED,
    KILL,
    PING,
    PONG,
    REFUSED,
    STARTED,
    Boot,
)
from nbray.executor.settle import settle
from nbray.store.directory import remove_store
from nbray.wire.codec import HEADER_SIZE, Decoder, encode

#: How a template or a spawned executor starts: descriptor 0 is a socket, its first line the starter's ``sys.path``, so that
#: the very same nbray and msgpack are found, however the starter came to them. ``python -m`` could not do that, and
#: would make this file the ``__main__`` of all executors.
COMMAND = (
    "-c",
    "import os, sys; "
    "sys.path[:] = os.fsdecode(open(0, 'rb', 0, closefd=False).readline()[:-1]).split('\\0'); "
    "from nbray.executor.template import main; main()",
)

_PREIMPORTED = ("cloudpickle", "numpy", "numpy.random")

#: The kernel's word that the starter's thread has ended. SIGTERM stays what it is for everyone: the wish that we end.
_PARENT_DIED = signal.SIGUSR1

#: Seconds the last cleaning may take; a process that hangs in the kernel must not keep the files from being removed.
_PATIENCE = 1.0


def greeting(kind: int, boot: Boot) -> bytes:
    """What a process started with ``COMMAND`` reads first."""
    path = b"\0".join(os.fsencode(entry) for entry in boot.sys_path if "\n" not in entry)
    return path + b"\n" + encode((kind, boot.pack()))


def main() -> NoReturn:
    """Be a template, or an executor: the first frame on descriptor 0 says which."""
    boot: Boot | None
    channel, kind, boot = _open_channel()
    if kind == BE_TEMPLATE:
        boot = _be_template(channel, boot)
    else:
        channel.close()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _be_executor(boot)


def _open_channel() -> tuple[socket.socket, int, Boot]:
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    decoder = Decoder()
    while True:
        # Byte-exact: what follows the first frame belongs to the one who serves the channel.
        header = channel.recv(HEADER_SIZE, socket.MSG_WAITALL)
        if len(header) < HEADER_SIZE:
            os._exit(0)  # the starter is gone already
        decoder.feed(header)
        body = channel.recv(int.from_bytes(header, "little"), socket.MSG_WAITALL)
        for kind, packed in decoder.feed(body):
            return channel, kind, Boot.unpack(packed)
        os._exit(0)


def _be_template(channel: socket.socket, boot: Boot) -> Boot:
    """Serve until the end. Returns in the children only, with what they are to become."""
    linux.set_process_name("nbray:template")
    linux.adopt_orphans()
    template = Template(channel, boot)
    # Collections cost time while it imports, and in the children they would write to every page shared with the template.
    gc.disable()
    preimport(boot)
    os.chdir("/")
    gc.collect()
    gc.freeze()
    child = template.serve()
    if child is None:
        os._exit(0)
    return child


def _be_executor(boot: Boot) -> NoReturn:
    """Settle, then run the entry function; whatever it does, this process ends here."""
    code = 1
    try:
        boot = settle(boot)
        entry(boot)(boot)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def entry(boot: Boot) -> Callable[[Boot], object]:
    module, _, name = boot.entry.partition(":")
    function: Callable[[Boot], object] = getattr(importlib.import_module(module), name)
    return function


def preimport(boot: Boot) -> None:
    """Import what executors need, without letting a numerical library start threads."""
    before = {name: os.environ.get(name) for name in threads.VARIABLES}
    os.environ.update(dict.fromkeys(threads.VARIABLES, "1"))
    for module in _PREIMPORTED:
        importlib.import_module(module)
    entry(boot)
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


class Template:
    """The loop that forks, reaps and, at last, cleans up."""

    def __init__(self, channel: socket.socket, boot: Boot) -> None:
        self._channel = channel
        self._boot = boot
        self._decoder = Decoder()
        self._pids: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._terminated = False
        self._agent_gone = False
        self._wakeup, self._wakeup_in = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wakeup_in, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for signum in (signal.SIGCHLD, signal.SIGTERM, _PARENT_DIED):
            signal.signal(signum, _noted)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wakeup_in, warn_on_full_buffer=False)
        linux.signal_when_parent_dies(_PARENT_DIED)
        if os.getppid() != boot.parent:
            self._agent_gone = True

    def serve(self) -> Boot | None:
        """Until the end (None), or, in a child, at once with its boot."""
        self._tell(STARTED, os.getpid(), linux.start_method(sys.platform, linux.thread_count()))
        channel = self._channel.fileno()
        while not (self._terminated or self._agent_gone):
            readable, _, _ = select.select((channel, self._wakeup), (), ())
            if self._wakeup in readable:
                self._signalled()
            if channel in readable:
                for message in self._receive():
                    child = self._obey(message)
                    if child is not None:
                        return child
        self._end()
        return None

    # -- what the agent wants --------------------------------------------------------------------------------

    def _receive(self) -> list[Message]:
        try:
            data = self._channel.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._agent_gone = True
            return []
        return self._decoder.feed(data)

    def _obey(self, message: Message) -> Boot | None:
        if message[0] == FORK:
            return self._start(Boot.unpack(message[1])._replace(parent=os.getpid()))
        if message[0] == KILL:
            _, number, signum = message
            pid = self._pids.get(number)
            if pid is not None:
                _kill_group(pid, signum)
        if message[0] == PING:
            self._tell(PONG)
        return None

    def _tell(self, *message: object) -> None:
        try:
            self._channel.sendall(encode(message))
        except OSError:
            self._agent_gone = True

    # -- starting --------------------------------------------------------------------------------------------

    def _start(self, boot: Boot) -> Boot | None:
        try:
            if linux.start_method(sys.platform, linux.thread_count()) == "fork":
                pid = self._fork()
                if pid == 0:
                    return boot
            else:
                pid = self._spawn(boot)
        except OSError as error:
            self._tell(REFUSED, boot.number, str(error))
            return None
        self._pids[boot.number] = pid
        self._numbers[pid] = boot.number
        self._tell(FORKED, boot.number, pid)
        return None

    def _fork(self) -> int:
        # Blocked until the child has handlers of its own: a signal in between would reach ours.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            raise
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._channel.close()
            os.close(self._wakeup)
            os.close(self._wakeup_in)
            return 0
        try:
            # The child does the same; whoever is first, a KILL that comes next finds the group.
            os.setpgid(pid, pid)
        except OSError:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid

    def _spawn(self, boot: Boot) -> int:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *COMMAND],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                setpgroup=0,
            )
            ours.sendall(greeting(BE_EXECUTOR, boot))
        return pid

    # -- ends ------------------------------------------------------------------------------------------------

    def _signalled(self) -> None:
        try:
            signals = os.read(self._wakeup, 4096)
        except BlockingIOError:
            return
        if signal.SIGTERM in signals:
            self._terminated = True
        # The starter's thread has ended. With the process still there another thread of it is our parent now.
        if os.getppid() != self._boot.parent:
            self._agent_gone = True
        self._reap()

    def _reap(self) -> None:
        ended = False
        while (child := _reap_one()) is not None:
            ended = True
            pid, status = child
            number = self._numbers.pop(pid, None)
            if number is not None:
                del self._pids[number]
                self._tell(EXITED, number, status)
        if ended:
            self._kill_orphans()

    def _kill_orphans(self) -> None:
        for pid in linux.children():
            if pid not in self._numbers:
                _kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        """End everything below; remove the node's files if the agent cannot."""
        deadline = time.monotonic() + _PATIENCE
        for pid in self._numbers:
            _kill_group(pid, signal.SIGKILL)
        self._kill_orphans()
        while (self._numbers or linux.children()) and time.monotonic() < deadline:
            # The time-out is for the kernel's list of children, which may miss some while others leave it.
            if select.select((self._wakeup,), (), (), 0.02)[0]:
                self._signalled()
            self._kill_orphans()
        if self._agent_gone:
            remove_store(self._boot.store_dir)
            shutil.rmtree(self._boot.session_dir, ignore_errors=True)


def _noted(signum: int, frame: object) -> None:
    """The wake-up descriptor has got the signal's number; that is all."""


def _reap_one() -> tuple[int, int] | None:
    """Take (pid, wait status) of one child that has ended, and end its process group."""
    try:
        if hasattr(os, "waitid"):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return None
            _kill_group(ended.si_pid, signal.SIGKILL)
            return os.waitpid(ended.si_pid, 0)
        pid, status = os.waitpid(-1, os.WNOHANG)  # macOS before Python 3.13
    except ChildProcessError:
        return None
    if pid == 0:
        return None
    _kill_group(pid, signal.SIGKILL)
    return pid, status


def _kill(pid: int, signum: int) -> None:
    """To a child that has not been reaped, so to no one else."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def _kill_group(pid: int, signum: int) -> None:
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:  # not yet the leader of its group, or a zombie without one
        _kill(pid, signum)
    except PermissionError:  # macOS answers so for a group of zombies
        pass
