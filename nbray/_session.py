"""The session's part of the public API: how a pool starts and ends, what it has, and what it does on the whole."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from typing import Any

from nbray import _as_ray, _runtime
from nbray._context import Context
from nbray._option_checks import actor_name, node_labels, units
from nbray._options import capacities, environment_variables, unknown
from nbray.events import Feed, WithoutOwn, record
from nbray.exceptions import RaySystemError
from nbray.executor import gpus

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
#: And about its own machinery.
_OF_RAYS_MACHINERY = frozenset(
    (
        "_driver_object_store_memory",
        "_enable_object_reconstruction",
        "_metrics_export_port",
        "_node_ip_address",
        "_node_name",
        "_plasma_directory",
        "_redis_password",
        "_redis_username",
        "_skip_env_hook",
        "_system_config",
        "_temp_dir",
        "_tracing_startup_hook",
    )
)
#: Those that nbray could not do without effect.
_ONLY_IN_RAY = frozenset(
    (
        "cgroup_path",
        "enable_resource_isolation",
        "job_config",
        "local_mode",
        "logging_config",
        "proxy_server_url",
        "system_reserved_cpu",
        "system_reserved_memory",
    )
)


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
            ``"local"`` is None, as in Ray.
            ``"ssh://[user@]host[:port],..."``: start Dask on these hosts, and end it with the session. They need the same nbray
            and Python at the same path (or ``NBRAY_SSH_PYTHON`` names it), and a network to trust: Dask does not encrypt.
        num_cpus: CPUs of the pool (default: those this process may use).
        num_gpus: GPUs of the pool (default 0), or that many of those that ``CUDA_VISIBLE_DEVICES`` lists.
        resources: custom resources by name.
        labels: labels of this node by name, for ``label_selector`` of tasks and actors. Those of a Dask worker are in its
            configuration, at ``nbray.labels`` (or ``DASK_NBRAY__LABELS="{'zone': 'a'}"`` in its environment).
        object_store_memory: bytes that large objects may have in shared memory (default: 30 % of the memory there is, at most
            half of what is free where they lie). What does not fit goes to disk.
        namespace: where names of actors count (default: one of this session's own).
        runtime_env: ``{"env_vars": {...}}``: environment variables of all executors.
        log_to_driver: show here what tasks and actors print.
        ignore_reinit_error: a second call answers the running session's context.
        **others: ``include_dashboard``, ``dashboard_host``, ``dashboard_port``, ``configure_logging``, ``logging_level`` and
            ``logging_format`` are accepted for programs written for Ray, without effect: nbray opens no port for a dashboard
            and leaves ``logging`` alone. So are the names with an underscore that are about Ray's own machinery, such as
            ``_temp_dir`` and ``_system_config``. ``_memory`` is what ``resources={"memory": bytes}`` is.

    Raises:
        RuntimeError: there is a session already, or an argument is unknown (the text names it and the nearest).
        ValueError, TypeError: a negative or otherwise impossible quantity; more GPUs than ``CUDA_VISIBLE_DEVICES`` lists; what a
            pool has (``num_cpus``, ``num_gpus``, ``resources``, ``labels``, ``object_store_memory``) with an ``address``.
        ConnectionError: ``address="auto"``, and no cluster runs.
        RaySystemError: a host does not do; the text names it, how far it came, and what it said.

    Example:
        >>> with nbray.init(num_cpus=2):
        ...     nbray.get(square.remote(3))
        9
    """
    memory = others.pop("_memory", None)
    if memory is not None:
        resources = {**(resources or {}), "memory": memory}
    for name, value in others.items():
        # What Ray has and nbray has not may be given as what it is when it is not given.
        if name not in _WITHOUT_EFFECT | _OF_RAYS_MACHINERY and not (name in _ONLY_IN_RAY and not value):
            raise RuntimeError(
                unknown(name, inspect.signature(init).parameters.keys() - {"others"}, "argument of init()")
            )
    capacities(num_cpus, num_gpus, resources)
    if isinstance(address, str) and address == "local":
        address = None
    _check_store(object_store_memory)
    actor_name("namespace", namespace)
    if address is not None:
        has = {"num_cpus": num_cpus, "num_gpus": num_gpus, "resources": resources, "labels": labels,
               "object_store_memory": object_store_memory}  # fmt: skip
        _check_own(name for name, value in has.items() if value is not None and value != {})
    if num_gpus and address is None:
        gpus.check_visible(num_gpus, os.environ)
    node_labels("labels", labels)
    environment = environment_variables({"runtime_env": runtime_env})
    running = _runtime.current_or_none()
    if running is not None and ignore_reinit_error:
        return Context(running)
    runtime = _runtime.init(
        address if running is not None else _scheduler(address),
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


def _scheduler(address: Any) -> Any:
    """What to attach to; None: a pool of our own."""
    if not isinstance(address, str) or "://" in address.removeprefix("ray://"):
        return address
    if address == "auto":
        raise ConnectionError(
            "no cluster runs that address='auto' could find; init() starts a pool, init('host:port') attaches to a Dask scheduler"
        )
    if address.startswith("ray://") or not address.rpartition(":")[2].isdigit():
        raise ValueError(
            "'address' must be 'host:port' of a Dask scheduler or 'ssh://host,...', and None for a pool of our own; "
            f"got {address!r}"
        )
    return address


def _check_own(given: Iterable[str]) -> None:
    """What a cluster has is said where it is started."""
    names = " and ".join(map(repr, given))
    if names:
        raise ValueError(f"{names} of init() are for a pool of our own, not for a cluster to attach to")


def _check_store(object_store_memory: Any) -> None:
    if object_store_memory is None:
        return
    if isinstance(object_store_memory, bool) or not isinstance(object_store_memory, int):
        raise TypeError(
            "'object_store_memory' must be a whole number of bytes, not "
            f"{type(object_store_memory).__name__} ({object_store_memory!r})"
        )
    if object_store_memory <= 0:
        raise ValueError(f"'object_store_memory' must be more than 0 bytes, got {object_store_memory}")


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

    raws, _ = _running("timeline").feed.raw_since(0)
    found = trace(map(record, WithoutOwn().of(raws)))
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
