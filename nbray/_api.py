"""The functions of the public API. What they do is done by the runtime; here arguments are checked and errors worded."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from nbray import _as_ray, _runtime
from nbray._actor_handle import ActorHandle
from nbray._context import Context
from nbray._generator import ObjectRefGenerator
from nbray._object_ref import ObjectRef
from nbray._option_checks import units
from nbray._options import capacities, environment_variables, unknown
from nbray.events import Feed
from nbray.exceptions import RaySystemError
from nbray.executor import gpus

if TYPE_CHECKING:
    from nbray.core.explaining import Explanation

T = TypeVar("T")

_ONLY_REFS = frozenset((ObjectRef,))
_WAITABLE = frozenset((ObjectRef, ObjectRefGenerator))

#: Arguments of Ray's ``init`` about things that nbray does not have.
_WITHOUT_EFFECT = frozenset(
    (
        "include_dashboard",
        "dashboard_host",
        "dashboard_port",
        "configure_logging",
        "logging_level",
        "logging_format",
    )
)
#: Those that nbray could not do without effect.
_ONLY_IN_RAY = frozenset(("job_config", "local_mode", "logging_config"))


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
            f"get() takes an ObjectRef or a list of ObjectRefs, not {type(object_refs).__name__}"
        )
    if not _ONLY_REFS.issuperset(map(type, object_refs)):
        wrong = next(ref for ref in object_refs if type(ref) is not ObjectRef)
        raise TypeError(f"get() takes ObjectRefs; the list contains {_brief(wrong)}")
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
            raise TypeError("wait() takes a list of ObjectRefs, got a single one")
        raise TypeError(f"wait() takes a list of ObjectRefs, not {type(ray_waitables).__name__}")
    timeout = _seconds(timeout)
    if timeout is not None and timeout < 0:
        raise ValueError(f"'timeout' must be 0 or more, got {timeout}")
    # Each of these is one pass in C over what may be many thousand refs.
    plain = _ONLY_REFS.issuperset(map(type, ray_waitables))
    if not plain and not _WAITABLE.issuperset(map(type, ray_waitables)):
        wrong = next(each for each in ray_waitables if type(each) not in _WAITABLE)
        raise TypeError(f"wait() takes a list of ObjectRefs; it contains {_brief(wrong)}")
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
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(f"cancel() takes an ObjectRef, not {_brief(ray_waitable)}; kill() ends actors")
    _runtime.current_for((ray_waitable,)).cancel(ray_waitable, bool(force), bool(recursive))


# --- session ---------------------------------------------------------------------------------------------------------


def init(
    address: Any = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    log_to_driver: bool | None = True,
    ignore_reinit_error: bool = False,
    **others: Any,
) -> Context:
    """Start a pool on this machine, or attach to one; answers its context, which ends the session when used in ``with``.

    Executors start with this process's ``sys.path``, working directory and environment as they are now.

    Args:
        address: None: a pool of our own. A Dask scheduler's address, or a Dask ``Cluster`` or ``Client``: attach to it.
            ``"ssh://[user@]host[:port],..."``: start Dask on these hosts, and end it with the session. They need the same nbray
            and Python at the same path (or ``NBRAY_SSH_PYTHON`` names it), and a network to trust: Dask does not encrypt.
        num_cpus: CPUs of the pool (default: those this process may use).
        num_gpus: GPUs of the pool (default 0), or that many of those that ``CUDA_VISIBLE_DEVICES`` lists.
        resources: custom resources by name.
        labels: labels of this node by name.
        object_store_memory: bytes that large objects may have in shared memory (default: 30 % of the memory there is, at most
            half of what is free where they lie). What does not fit goes to disk.
        namespace: where names of actors count (default: one of this session's own).
        runtime_env: ``{"env_vars": {...}}``: environment variables of all executors.
        log_to_driver: show here what tasks and actors print.
        ignore_reinit_error: a second call answers the running session's context.
        **others: ``include_dashboard``, ``dashboard_host``, ``dashboard_port``, ``configure_logging``, ``logging_level`` and
            ``logging_format`` are accepted for programs written for Ray, without effect: nbray opens no port for a dashboard
            and leaves ``logging`` alone.

    Raises:
        RuntimeError: there is a session already, or an argument is unknown (the text names it and the nearest).
        ValueError, TypeError: a negative or otherwise impossible quantity, or ``object_store_memory`` with an ``address``;
            more GPUs than ``CUDA_VISIBLE_DEVICES`` lists.
        ConnectionError: ``address="auto"``, and no cluster runs.
        RaySystemError: a host does not do; the text names it, how far it came, and what it said.

    Example:
        >>> with nbray.init(num_cpus=2):
        ...     nbray.get(square.remote(3))
        9
    """
    for name, value in others.items():
        # What Ray has and nbray has not may be given as what it is when it is not given.
        if name not in _WITHOUT_EFFECT and not (name in _ONLY_IN_RAY and not value):
            raise RuntimeError(
                unknown(name, inspect.signature(init).parameters.keys() - {"others"}, "argument of init()")
            )
    capacities(num_cpus, num_gpus, resources)
    _check_store(object_store_memory, address)
    if num_gpus and address is None:
        gpus.check_visible(num_gpus, os.environ)
    environment = environment_variables({"runtime_env": runtime_env})
    running = _runtime.current_or_none()
    if running is not None and ignore_reinit_error:
        return Context(running)
    runtime = _runtime.init(
        address,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        resources=resources,
        labels=labels,
        namespace=namespace,
        env_vars={**_as_ray.environment(), **dict(environment)},
        log_to_driver=bool(log_to_driver),
        object_store_memory=object_store_memory,
    )
    return Context(runtime)


def _check_store(object_store_memory: Any, address: Any) -> None:
    if object_store_memory is None:
        return
    if isinstance(object_store_memory, bool) or not isinstance(object_store_memory, int):
        raise TypeError(
            f"'object_store_memory' must be a whole number of bytes, not {_brief(object_store_memory)}"
        )
    if object_store_memory <= 0:
        raise ValueError(f"'object_store_memory' must be more than 0 bytes, got {object_store_memory}")
    if address is not None:
        raise ValueError("'object_store_memory' is for a pool of our own, not for one to attach to")


def shutdown() -> None:
    """End the session: executors go, and a pool that nbray started. Idempotent. ``init`` starts anew."""
    _runtime.shutdown()


def scale(n: float) -> None:
    """Change how much the pool has, while it runs.

    Nobody loses a CPU that is in use: with fewer, a task or an actor that runs goes on, and tasks that no node can hold any
    more fail with ``TaskUnschedulableError``.

    Args:
        n: of a pool that ``init`` started, its CPUs, more than 0. Of one that was attached to as a Dask ``Cluster``, or as a
            ``Client`` that has one: its workers, as for ``Cluster.scale``; they come and go as they are started and ended.

    Raises:
        RaySystemError: there is no session, or it was attached to by an address. ValueError, TypeError: such a number cannot be.

    Example:
        >>> nbray.init(num_cpus=2)
        >>> nbray.scale(4)
    """
    runtime = _running("scale")
    if not units("n", n):
        raise ValueError("'n' must be more than 0: shutdown() ends a pool")
    runtime.scale(n)


def adapt(minimum: float, maximum: float) -> None:
    """Let the pool have as much as its work needs, between two bounds. ``scale`` fixes it again.

    A pool that ``init`` started gets more CPUs as soon as something waits for them, and loses those that nothing used for five
    seconds: to the rest of the machine it never looks larger than what it does.

    Args:
        minimum, maximum: CPUs, or the workers of an attached Dask ``Cluster``, as for ``Cluster.adapt``.

    Raises:
        RaySystemError: there is no session, or it was attached to by an address. ValueError, TypeError: such numbers cannot be.

    Example:
        >>> nbray.init(num_cpus=1)
        >>> nbray.adapt(1, 8)
    """
    runtime = _running("adapt")
    if not units("maximum", maximum):
        raise ValueError("'maximum' must be more than 0: shutdown() ends a pool")
    if units("minimum", minimum) > units("maximum", maximum):
        raise ValueError(f"'minimum' cannot be more than 'maximum', got {minimum} and {maximum}")
    runtime.adapt(minimum, maximum)


def is_initialized() -> bool:
    """Whether this process has a session."""
    return _runtime.current_or_none() is not None


def feed() -> Feed:
    """The events of this session, from which all views read; see ``nbray.events``."""
    found: Feed = _running("feed").feed
    return found


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """What ran when and where, as a Chrome trace: Perfetto (https://ui.perfetto.dev) and chrome://tracing open it.

    It covers the last 200,000 events or more. A row an executor, a slice an attempt of a task or method, coloured by how
    it ended; arrows lead from submission to run.

    Args:
        filename: a file to write, as JSON. Without, the answer is the list of the trace's records.

    Raises:
        RaySystemError: there is no session; this does not start one.

    Example:
        >>> nbray.timeline("trace.json")
    """
    from nbray._timeline import trace

    records, _ = _running("timeline").feed.since(0)
    found = trace(records)
    if filename is None:
        return found
    import json

    with open(filename, "w", encoding="utf-8") as file:
        json.dump(found, file)
    return None


def nodes() -> list[dict[str, Any]]:
    """The nodes: a dict each, with ``NodeID``, ``Alive``, ``NodeManagerAddress``, ``Resources`` and more, as in Ray.

    Raises:
        RaySystemError: there is no session; this does not start one.
    """
    found: list[dict[str, Any]] = _running("nodes").nodes()
    return found


def cluster_resources() -> dict[str, float]:
    """What all nodes have together, by name.

    Raises:
        RaySystemError: there is no session; this does not start one.
    """
    found: dict[str, float] = _running("cluster_resources").cluster_resources()
    return found


def available_resources() -> dict[str, float]:
    """What is free of it right now. A resource of which nothing is free is absent.

    Raises:
        RaySystemError: there is no session; this does not start one.
    """
    found: dict[str, float] = _running("available_resources").available_resources()
    return found


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of all living actors that have one.

    Args:
        all_namespaces: not only of this session's namespace; the answer is a list of dicts then, each with ``name`` and
            ``namespace``.

    Example:
        >>> counter = Counter.options(name="counter").remote()
        >>> nbray.util.list_named_actors()
        ['counter']
    """
    runtime = _runtime.current()
    named = runtime.named_actors()
    if all_namespaces:
        return [{"name": name, "namespace": namespace} for namespace, name in named]
    return [name for namespace, name in named if namespace == runtime.namespace]


def _running(what: str) -> Any:
    runtime = _runtime.current_or_none()
    if runtime is None:
        raise RaySystemError(f"{what}() needs a session: call nbray.init() first")
    return runtime
