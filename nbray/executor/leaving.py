"""How an executor goes: because user code ends it, when nobody needs it any more, or in the middle of a call."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, NoReturn

from nbray.core import messages as m

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Seconds between two looks whether TCP has passed on what was answered, where it had no room at first.
DELIVERY_LOOK = 0.005
#: Seconds for which a process that ends itself waits for its last answers to be taken.
_EXIT_LIMIT = 2.0


def exit_code(error: BaseException | None) -> int:
    """With what user code ends the process: an actor that ends itself, or whatever it is by ``sys.exit``."""
    code = error.code if isinstance(error, SystemExit) else None
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def exit_process(executor: Executor, code: int) -> NoReturn:
    """User code ends the process. Callers hear the reason from placement: of an actor without an error that it was on purpose."""
    owner = executor.owner
    with owner.lock:
        if executor.actor_id and code == 0:
            executor.control.send((m.LEAVING, m.EXIT_ACTOR))
        callers = owner.reactor.connections()

    def delivered() -> bool:
        return not any(caller.undelivered for caller in callers if not caller.closed)

    limit = time.monotonic() + _EXIT_LIMIT
    while not owner.lead.run_until(delivered, time.monotonic() + DELIVERY_LOOK):
        if time.monotonic() > limit:
            break
    _end(executor, code)


def leave(executor: Executor) -> None:
    """Go, once nobody needs what this process owns, or this process. Returns if there is a call to run first."""
    owner = executor.owner
    queue = executor.intake.queue

    def owes_nothing() -> bool:
        needed = executor.lease is not None or owner.holds or owner.calls.under_way
        return not needed or bool(queue)

    if not (owner.lead.run_until(owes_nothing) and queue):
        _end(executor)


def leave_at_once(executor: Executor, reason: str) -> NoReturn:
    """End this process on purpose, in the middle of a call."""
    executor.control.send((m.LEAVING, reason))
    os._exit(1)


def _end(executor: Executor, code: int = 0) -> NoReturn:
    """End this process as a Python program ends: finalizers and ``atexit`` run."""

    def shut_down() -> None:
        """What the actor's class wants done before, by the method that Ray has for it."""
        instance = executor.runner.instance
        method = getattr(type(instance), "__ray_shutdown__", None)
        if method is None:
            return
        try:
            result = method(instance)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except BaseException as error:  # nobody is left to whom it could be raised
            traceback.print_exception(
                error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
            )

    def let_go() -> None:
        executor.runner.instance = None

    try:
        for last in (
            shut_down,
            let_go,
            atexit._run_exitfuncs,
            executor.upstream.end_lines,
            executor.owner.flush,
        ):
            try:
                last()
            except (
                BaseException
            ):  # user code, or a stream that it put there: the others have their turn all the same
                pass
    finally:
        os._exit(code)
