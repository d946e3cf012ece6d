"""What the public API does with refs and actors. It is done by the runtime; here arguments are checked and errors worded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from nbray import _hints, _runtime
from nbray._actor_handle import ActorHandle
from nbray._generator import ObjectRefGenerator
from nbray._object_ref import ObjectRef

if TYPE_CHECKING:
    from nbray.core.explaining import Explanation

T = TypeVar("T")

_ONLY_REFS = frozenset((ObjectRef,))
_WAITABLE = frozenset((ObjectRef, ObjectRefGenerator))

# --- objects -------------------------------------------------------------------------------------------------------


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: Sequence[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a ref, or the list of the values of a list of refs, in its order. Waits for them.

    What it gives is the caller's own: arrays may be written to, and nobody else sees it.

    Args:
        timeout: seconds to wait at most; 0: do not wait; None: without end.

    Raises:
        GetTimeoutError: not all were ready in time. Nothing was cancelled, the refs stay valid.
        RayTaskError: a task raised; it is also an instance of the type that was raised. The first failure is raised at once,
            without waiting for the rest. Other failures of tasks, actors and objects: see ``nbray.exceptions``.
        ValueError, TypeError: it is no ref and no list of refs.

    Example:
        >>> nbray.get([nbray.put(1), nbray.put(2)])
        [1, 2]
    """
    __tracebackhide__ = True  # IPython shows the user's frames only
    if type(object_refs) is ObjectRef:
        return _runtime.current_for((object_refs,)).get([object_refs], _timeout(timeout))[0]
    if not isinstance(object_refs, list):
        if isinstance(object_refs, ObjectRefGenerator):
            return object_refs  # as in Ray
        raise ValueError(
            f"get() takes an ObjectRef or a list of ObjectRefs, not {type(object_refs).__name__}{_hints.no_ref(object_refs)}"
        )
    if not _ONLY_REFS.issuperset(map(type, object_refs)):
        wrong = next(ref for ref in object_refs if type(ref) is not ObjectRef)
        raise TypeError(
            f"get() takes ObjectRefs; the list contains {_brief(wrong)}{_hints.no_ref(wrong, nested=True)}"
        )
    return _runtime.current_for(object_refs).get(object_refs, _timeout(timeout))


def _timeout(timeout: Any) -> float | None:
    seconds = _seconds(timeout)
    return None if seconds is not None and seconds < 0 else seconds  # as with Ray: below 0 there is no end


def _seconds(timeout: Any) -> float | None:
    if timeout is None or isinstance(timeout, int | float):
        return timeout
    if hasattr(timeout, "__float__"):  # one of NumPy's
        return float(timeout)
    raise TypeError(f"'timeout' must be a number of seconds or None, not {_brief(timeout)}")


def _brief(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} ({text if len(text) < 80 else text[:77] + '...'})"


def put(value: T, *, replicas: int = 1) -> ObjectRef[T]:
    """Store a value as it is now; answers its ref. Later changes to ``value`` do not show in what ``get`` gives.

    Args:
        replicas: on how many nodes, this one included. When a node is lost, one of the others takes its place. With fewer nodes
            there are as many as there can be, and a ``RuntimeWarning`` says so. Returns when all are made.

    Raises:
        TypeError: it is a ref already, or it cannot be pickled (the text says what in it).
        ValueError: ``replicas`` is no whole number from 1 on.
        OutOfDiskError: neither the node's shared memory nor its disk has room.
    """
    if isinstance(value, ObjectRef):
        raise TypeError(
            "put() of an ObjectRef is not allowed. If that is what you want, put a list that contains it."
        )
    if replicas == 1 and type(replicas) is int:
        return _runtime.current().put(value)  # type: ignore[return-value]
    if type(replicas) is not int or replicas < 1:
        raise ValueError(f"put(): replicas must be a whole number of nodes from 1 on, not {replicas!r}")
    return _runtime.current().put(value, replicas)  # type: ignore[return-value]


def wait(
    ray_waitables: list[ObjectRef[T]],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef[T]], list[ObjectRef[T]]]:
    """Wait until ``num_returns`` refs are ready; answers ``(ready, others)``, both in the order given.

    ``ready`` has ``num_returns`` refs at most, and fewer only after the time-out. A failed task's ref is ready.

    Args:
        ray_waitables: refs, each once. A generator is ready when ``next`` of it would not wait.
        num_returns: from 1 to their number.
        timeout: seconds to wait at most; 0: do not wait; None: without end.
        fetch_local: accepted for programs written for Ray; large values of other nodes come here when ``get`` asks for them.

    Raises:
        ValueError: a ref is there twice, ``num_returns`` is out of range, or the time-out is negative.
        TypeError: it is no list of refs.

    Example:
        >>> while refs:
        ...     (done,), refs = nbray.wait(refs)
        ...     use(nbray.get(done))
    """
    __tracebackhide__ = True
    if type(ray_waitables) is not list and not isinstance(ray_waitables, list):
        if isinstance(ray_waitables, ObjectRef):
            raise TypeError("wait() takes a list of ObjectRefs, got a single one: [ref]")
        raise TypeError(f"wait() takes a list of ObjectRefs, not {type(ray_waitables).__name__}")
    timeout = _seconds(timeout)
    if timeout is not None and timeout < 0:
        raise ValueError(f"'timeout' must be 0 or more, got {timeout}")
    # Each of these is one pass in C over what may be many thousand refs.
    plain = _ONLY_REFS.issuperset(map(type, ray_waitables))
    if not plain and not _WAITABLE.issuperset(map(type, ray_waitables)):
        wrong = next(each for each in ray_waitables if type(each) not in _WAITABLE)
        raise TypeError(
            f"wait() takes a list of ObjectRefs; it contains {_brief(wrong)}{_hints.no_ref(wrong, nested=True)}"
        )
    count = len(ray_waitables)
    if not count:
        return [], []
    if len(set(ray_waitables)) != count:
        raise ValueError("wait() takes each ObjectRef once; the list has duplicates")
    if type(num_returns) is not int:
        num_returns = _whole(num_returns)
    if num_returns <= 0:
        raise ValueError(f"'num_returns' must be 1 or more, got {num_returns}")
    if num_returns > count:
        raise ValueError(
            f"'num_returns' cannot be greater than the number of ObjectRefs, {num_returns} > {count}"
        )
    if not plain:
        return _wait_for_some(ray_waitables, num_returns, timeout)
    runtime = _runtime.current_for(ray_waitables)
    return runtime.wait(ray_waitables, num_returns, timeout)  # type: ignore[arg-type, return-value]


def _whole(number: Any) -> int:
    """A number of refs that is no int, such as one of NumPy's, or ``len(refs) / 2``: that is rounded down, as Ray does."""
    if not hasattr(number, "__float__"):
        raise TypeError(f"'num_returns' must be a whole number, not {_brief(number)}")
    return int(number)


def _wait_for_some(
    waitables: list[Any], num_returns: int, timeout: float | None
) -> tuple[list[Any], list[Any]]:
    """``wait`` with generators among the refs: they are ready when their next item is."""
    entries = [each._next if type(each) is ObjectRefGenerator else each for each in waitables]
    given = dict(zip(entries, waitables, strict=True))
    ready, others = _runtime.current_for(entries).wait(entries, num_returns, timeout)
    return [given[entry] for entry in ready], [given[entry] for entry in others]


def kill(actor: ActorHandle[Any], *, no_restart: bool = True) -> None:
    """End an actor's process at once. Calls under way and queued fail with ``ActorDiedError``.

    Args:
        no_restart: False: it is restarted if its ``max_restarts`` allows.

    Raises:
        ValueError: it is no actor handle.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"kill() takes an actor handle, not {_brief(actor)}")
    _runtime.current().kill(actor._nbray_actor, no_restart)


def explain(refs: ObjectRef[Any] | ObjectRefGenerator[Any] | Sequence[Any]) -> Explanation:
    """Why refs are not ready: which call is awaited and what it does, which resource is missing and who holds it, a deadlock.

    It asks the scheduler and the processes on the way, which takes a second at most. ``get`` and ``wait`` tell the same by
    themselves after ten seconds without progress.

    Args:
        refs: a ref, a generator (its next item), or a list of them.

    Raises:
        TypeError: it is none of these.

    Example:
        >>> print(nbray.explain(ref))
        train (on pid 4711, waits in get for 12 s) -> load (running on pid 4712 for 12 s)
    """
    waitables: list[Any] = list(refs) if isinstance(refs, list | tuple) else [refs]
    for each in waitables:
        if type(each) not in _WAITABLE:
            raise TypeError(
                f"explain() takes an ObjectRef, a generator or a list of them, not {_brief(each)}"
            )
    entries = [each._next if type(each) is ObjectRefGenerator else each for each in waitables]
    return _runtime.current_for(entries).owner.inquiry.explain(entries)


def cancel(
    ray_waitable: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel the call that makes a ref's value. ``get`` of the ref, and of what depends on it, raises ``TaskCancelledError``.

    A call that has not started never runs. A task that runs gets a ``KeyboardInterrupt``, once: between two bytecodes, out of
    ``time.sleep``, ``get`` and ``wait``, after the C call that it is in. One that catches it and returns gives its value, as
    with Ray; one that has not ended after a second is given up: ``get`` raises, while its process goes on. A coroutine of an
    actor is cancelled as by asyncio. Other methods of actors run on, and see it in
    ``get_runtime_context().is_canceled()``; their value is dropped. A cancelled call is never retried. One that has finished
    keeps its value; cancelling again does nothing.

    Args:
        ray_waitable: a ref; one that came from another process, too. A generator: its last item then raises
            ``TaskCancelledError``.
        force: end the process that runs the task. Not for methods of actors.
        recursive: also cancel what the task has submitted, and what that has submitted, wherever it is.

    Raises:
        TypeError: it is no ref. ValueError: ``force``, and it is a call of an actor's method (see ``kill``).

    Example:
        >>> ref = search.remote()
        >>> nbray.cancel(ref)
    """
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable.completed()
    if isinstance(ray_waitable, (list, tuple, set)):
        kind = type(ray_waitable).__name__
        raise TypeError(f"cancel() takes one ObjectRef, not a {kind}: for ref in refs: nbray.cancel(ref)")
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(f"cancel() takes an ObjectRef, not {_brief(ray_waitable)}; kill() ends actors")
    _runtime.current_for((ray_waitable,)).cancel(ray_waitable, bool(force), bool(recursive))
