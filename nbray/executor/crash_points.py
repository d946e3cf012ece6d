"""Places where an executor can be made to die, for tests of what becomes of a call that was there.

    after_recv     a message with calls has come
    before_exec    arguments are unpickled, user code is next
    after_exec     user code has returned, its result is not pickled yet
    after_hold     the result holds refs that others own, and those have counted them for its receiver
    before_reply   the answer is packed, and not handed to the system
    after_reply    the system has the answer

Nothing here is on a call's way unless the variable is set, which `nbray.testing.crash_point` does: then an executor's methods
are replaced by ones that count.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.messages import Message

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: "point:n:marker": die when the process comes to that point for the n-th time, unless the file ``marker`` is there, which it
#: then is. Without a marker it dies each time.
VARIABLE = "NBRAY_CRASH_POINT"

AFTER_RECV, BEFORE_EXEC, AFTER_EXEC, AFTER_HOLD, BEFORE_REPLY, AFTER_REPLY = POINTS = (
    "after_recv",
    "before_exec",
    "after_exec",
    "after_hold",
    "before_reply",
    "after_reply",
)


def arm(executor: Executor) -> None:
    """Let this executor die where the variable says."""
    point, nth, marker = os.environ[VARIABLE].split(":", 2)
    counts: Counter[str] = Counter()

    def reach(name: str) -> None:
        counts[name] += 1
        if name == point and counts[name] == int(nth) and _first(marker):
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(executor, reach)


def _first(marker: str) -> bool:
    if not marker:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _watch(executor: Executor, reach: Any) -> None:
    take, find, answer = executor.owner.peers.handlers[m.CALLS], executor.runner.find, executor.answer
    ask_hold, acknowledged = executor.owner.holding.ask, executor.runner.acknowledged
    asked: set[int] = set()

    def calls(connection: Connection, message: Message) -> None:
        # Before it is in the queue: another thread than this one may run it.
        for _ in message[1]:
            reach(AFTER_RECV)
        take(connection, message)

    async def awaited(awaitable: Any) -> Any:
        result = await awaitable
        reach(AFTER_EXEC)
        return result

    def found(*args: Any) -> Any:
        function = find(*args)
        if isinstance(function, type):  # an actor that is being made, no call
            return function

        def run(*args: Any, **kwargs: Any) -> Any:
            reach(BEFORE_EXEC)
            result = function(*args, **kwargs)
            if inspect.isawaitable(result):
                return awaited(result)
            reach(AFTER_EXEC)
            return result

        return run

    def ask(oids: Any, address: Any, keep: Any, receiver: Any = None) -> int:
        request = ask_hold(oids, address, keep, receiver)
        if receiver is not None:
            asked.add(request)
        return request

    def held(requests: list[int]) -> None:
        acknowledged(requests)
        if not asked.isdisjoint(requests):
            reach(AFTER_HOLD)

    def reply(*args: Any) -> None:
        reach(BEFORE_REPLY)
        answer(*args)
        reach(AFTER_REPLY)

    executor.owner.peers.handlers[m.CALLS] = calls
    setattr(executor.runner, "find", found)  # noqa: B010 (for mypy, methods are not for replacing)
    setattr(executor, "answer", reply)  # noqa: B010
    setattr(executor.owner.holding, "ask", ask)  # noqa: B010
    setattr(executor.runner, "acknowledged", held)  # noqa: B010
