"""Actor classes, handles and methods by Ray's names, and ``exit_actor``."""

from __future__ import annotations

import threading
from typing import NoReturn

from nbray import _runtime
from nbray._actor_handle import (
    ActorClass,
    ActorClassInheritanceException,
    ActorHandle,
    ActorMethod,
    method,
)
from nbray.executor.actor_methods import ActorExit

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "ActorProxy",
    "exit_actor",
    "method",
]

#: Ray's name of a handle in annotations: ``counter: ActorProxy[Counter]``.
ActorProxy = ActorHandle


def exit_actor() -> NoReturn:
    """End the actor that calls this, on purpose: it is not restarted, and ``atexit`` handlers run.

    The call that ends it, and those that have not started, fail with ``ActorDiedError``. In threaded and async actors
    calls that run go on to their end, and are answered, before the process ends.

    Raises:
        TypeError: this is no actor.

    Example:
        >>> @nbray.remote
        ... class Worker:
        ...     def stop(self):
        ...         nbray.actor.exit_actor()
    """
    runtime = _runtime.current_or_none()
    executor = None if runtime is None else runtime.executor
    if executor is None or not executor.actor_id:
        raise TypeError("exit_actor() can be called in an actor only; kill(handle) ends one from outside")
    executor.exit_soon()
    thread = threading.current_thread()
    if thread is not threading.main_thread() and not thread.name.startswith("nbray-"):
        raise SystemExit  # a thread of the user's, where no call has to be unwound: it ends without a word
    raise ActorExit
