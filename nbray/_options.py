"""What ``@remote(...)``, ``.options(...)`` and ``@method(...)`` accept, resolved once to what the machines below understand.

Options are checked where they are written down, not at each call. Names, defaults and the kinds of errors are Ray's: a wrong
type is a TypeError, a wrong value or an unknown name a ValueError.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from nbray import _option_checks as checks
from nbray.core import labels
from nbray.core.messages import STREAMING, Spec

#: An actor's limit of calls under way if it has async methods and does not say.
ASYNC_CONCURRENCY = 1000

RetryExceptions = bool | tuple[type[BaseException], ...]


class TaskOptions(NamedTuple):
    """How a task runs.

    Attributes:
        name: "" unless the user gave one.
        ahead: how many items a generator may yield before they are taken; 0: any number.
        extra: what its executor has to know, see CALLS in ``core/messages.py``.
    """

    spec: Spec
    returns: int
    max_retries: int
    retry_exceptions: RetryExceptions
    name: str
    ahead: int = 0
    priority: int = 0
    extra: dict[str, Any] | None = None


class CallOptions(NamedTuple):
    """How a call of an actor's method runs.

    Attributes:
        group: "" for the default concurrency group.
        extra: what the actor has to know, see CALLS in ``core/messages.py``.
        timeout: seconds that the call may run; None: without end.
        unordered: it does not wait for the arguments of the caller's earlier calls. The actor's, not the call's.
        max_pending: calls of this process that may be unanswered; 0 or less: no limit. The actor's, not the call's.
    """

    returns: int
    max_task_retries: int
    retry_exceptions: RetryExceptions
    name: str
    group: str = ""
    max_pending: int = -1
    ahead: int = 0
    extra: dict[str, Any] | None = None
    timeout: float | None = None
    unordered: bool = False


class ActorOptions(NamedTuple):
    """How an actor is made.

    Attributes:
        placing_spec: what must be free to place it. held_spec: what it keeps while it lives.
        namespace: None: the caller's.
        meta: the class's methods, for whoever finds the actor by its name (see ``_actor_handle.py``).
        concurrency_groups: calls at a time by group, sorted pairs.
        detached: it outlives the process that creates it.
    """

    placing_spec: Spec
    held_spec: Spec
    max_restarts: int
    max_task_retries: int
    max_concurrency: int
    name: str | None
    namespace: str | None
    get_if_exists: bool
    meta: bytes
    concurrency_groups: tuple[tuple[str, int], ...]
    detached: bool


# --- which options there are ---------------------------------------------------------------------------------------

_Check = Callable[[str, Any], None]
_PLACING: dict[str, _Check] = {
    "num_cpus": checks.quantity,
    "num_gpus": checks.quantity,
    "resources": checks.resources,
    "memory": checks.quantity,
    "label_selector": checks.label_selector,
    "scheduling_strategy": checks.scheduling_strategy,
    "runtime_env": checks.runtime_env,
}
_TASK: dict[str, _Check] = {
    **_PLACING,
    "num_returns": checks.task_returns,
    "max_retries": checks.count,
    "max_calls": checks.max_calls,
    "priority": checks.priority,
    "timeout": checks.timeout,
    "retry_exceptions": checks.retry_exceptions,
    "name": checks.text,
    "enable_task_events": checks.flag,  # no effect, here and below: the feed has them all
    "_generator_backpressure_num_objects": checks.ahead,
}
_ACTOR: dict[str, _Check] = {
    **_PLACING,
    "max_restarts": checks.count,
    "max_task_retries": checks.count,
    "max_concurrency": checks.concurrency,
    "concurrency_groups": checks.groups,
    "max_pending_calls": checks.count,
    "name": checks.actor_name,
    "namespace": checks.actor_name,
    "get_if_exists": checks.flag,
    "allow_out_of_order_execution": checks.flag_or_none,
    "lifetime": checks.lifetime,
    "enable_task_events": checks.flag,
}
_METHOD: dict[str, _Check] = {
    "num_returns": checks.num_returns,
    "max_task_retries": checks.count,
    "retry_exceptions": checks.retry_exceptions,
    "concurrency_group": checks.text,
    "timeout": checks.timeout,
    "enable_task_events": checks.flag,
    "_generator_backpressure_num_objects": checks.ahead,
}
_CALL: dict[str, _Check] = {**_METHOD, "name": checks.text}
#: Names of all options that there are.
OPTIONS = frozenset((*_TASK, *_ACTOR, *_CALL))

#: What Ray knows and nbray does not have yet.
_NOT_YET = frozenset(
    (
        "accelerator_type",
        "fallback_strategy",
        "object_store_memory", "placement_group", "placement_group_bundle_index",
        "placement_group_capture_child_tasks",
    )
)  # fmt: skip


def capacities(num_cpus: Any, num_gpus: Any, resources: Any) -> None:
    """Check what a pool is said to have.

    Raises:
        TypeError: no number. ValueError: negative, or finer than 0.0001.
    """
    for name, value in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if value is not None:
            checks.units(name, value)
    if isinstance(resources, Mapping) and "memory" in resources:
        checks.units("memory", resources["memory"])
        resources = {name: quantity for name, quantity in resources.items() if name != "memory"}
    checks.resources("resources", resources)


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """How to say that there is no ``name``: with the nearest of those known."""
    known = sorted(known)
    text = f"unknown {what} {name!r}"
    nearest = difflib.get_close_matches(name, known, 1)
    if nearest:
        return f"{text}; did you mean {nearest[0]!r}?"
    return f"{text}; known are {', '.join(known)}"


def _check(options: Mapping[str, Any], known: Mapping[str, _Check], what: str) -> None:
    for name, value in options.items():
        check = known.get(name)
        if check is not None:
            check(name, value)
        elif name in _NOT_YET:
            if value is None:  # as good as not given
                continue
            raise ValueError(
                f"option {name!r} of {what} is not supported yet; known are {', '.join(sorted(known))}"
            )
        else:
            raise ValueError(unknown(name, known, f"option of {what}"))


def check_names(options: Mapping[str, Any]) -> None:
    """The names of options whose target is not known yet: of ``@remote(...)`` before it decorates.

    Raises:
        ValueError: neither tasks nor actors know it.
    """
    known = {**_TASK, **_ACTOR}
    _check({name: None for name in options if name not in known}, known, "remote functions and classes")


# --- resolving -------------------------------------------------------------------------------------------------------


def _default(options: Mapping[str, Any], name: str, default: Any) -> Any:
    value = options.get(name)
    return default if value is None else value


def environment_variables(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The checked ``env_vars`` of option ``runtime_env``, sorted.

    Raises:
        ValueError: another field. TypeError: not strings.
    """
    checks.runtime_env("runtime_env", options.get("runtime_env"))
    return tuple(sorted(((options.get("runtime_env") or {}).get("env_vars") or {}).items()))


def _spec(cpus: Any, options: Mapping[str, Any], environment: tuple[tuple[str, str], ...]) -> Spec:
    wanted = {
        "CPU": cpus,
        "GPU": options.get("num_gpus") or 0,
        "memory": options.get("memory") or 0,
        **(options.get("resources") or {}),
    }
    amounts = {name: checks.units(name, quantity) for name, quantity in wanted.items()}
    where = sorted(labels.rule(*each) for each in (options.get("label_selector") or {}).items())
    return tuple(sorted((name, n) for name, n in amounts.items() if n)), environment, tuple(where)


def _retried(options: Mapping[str, Any]) -> RetryExceptions:
    value = options.get("retry_exceptions")
    return tuple(value) if isinstance(value, list | tuple) else bool(value)


def _returns(options: Mapping[str, Any], streams: bool, default: int) -> int:
    """How many values a call answers, or ``STREAMING``."""
    value = options.get("num_returns")
    if value in ("streaming", "dynamic"):
        if not streams:
            raise ValueError(f"num_returns={value!r} is for generator functions, whose body has a 'yield'")
        return STREAMING if value == "streaming" else 1
    return default if value is None else int(value)


def _given(**extra: Any) -> dict[str, Any] | None:
    """What is there of it; None if nothing is, as for most calls."""
    return {name: value for name, value in extra.items() if value} or None


def task_options(options: Mapping[str, Any], *, streams: bool = False) -> TaskOptions:
    """Check and resolve the options of a task.

    Args:
        streams: it is a generator function.

    Raises:
        ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.
    """
    _check(options, _TASK, "tasks")
    return TaskOptions(
        spec=_spec(_default(options, "num_cpus", 1), options, environment_variables(options)),
        returns=_returns(options, streams, STREAMING if streams else 1),
        max_retries=_default(options, "max_retries", 3),
        priority=_default(options, "priority", 0),
        retry_exceptions=_retried(options),
        name=_default(options, "name", ""),
        ahead=max(_default(options, "_generator_backpressure_num_objects", 0), 0),
        extra=_given(
            timeout=options.get("timeout"),
            name=options.get("name"),
            # What a process has allocated on a GPU is free for others when it ends.
            max_calls=_default(options, "max_calls", 1 if options.get("num_gpus") else 0),
        ),
    )


def actor_options(options: Mapping[str, Any], *, is_async: bool, meta: bytes = b"") -> ActorOptions:
    """Check and resolve the options of an actor.

    An actor needs one CPU to be placed and keeps none, unless it says what it needs: then it keeps that (and one CPU, if
    it speaks of other resources only). Memory counts apart: it is kept, and says nothing of CPUs.

    Raises:
        ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.
    """
    _check(options, _ACTOR, "actors")
    if options.get("get_if_exists") and options.get("name") is None:
        raise ValueError("option 'get_if_exists' needs option 'name'")
    if is_async and options.get("allow_out_of_order_execution") is False:
        raise ValueError(
            "option 'allow_out_of_order_execution' cannot be False for a class with async methods: "
            "its calls run beside each other"
        )
    explicit = any(options.get(name) is not None for name in ("num_cpus", "num_gpus", "resources"))
    environment = environment_variables(options)
    placing = _spec(_default(options, "num_cpus", 1), options, environment)
    return ActorOptions(
        placing_spec=placing,
        held_spec=placing if explicit else _spec(0, options, environment),
        max_restarts=_default(options, "max_restarts", 0),
        max_task_retries=_default(options, "max_task_retries", 0),
        max_concurrency=_default(options, "max_concurrency", ASYNC_CONCURRENCY if is_async else 1),
        name=options.get("name"),
        namespace=options.get("namespace"),
        get_if_exists=options.get("get_if_exists", False),
        meta=meta,
        detached=options.get("lifetime") == "detached",
        concurrency_groups=tuple(sorted((options.get("concurrency_groups") or {}).items())),
    )


def method_options(options: Mapping[str, Any]) -> None:
    """Check the options of ``@method(...)``.

    Raises:
        ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.
    """
    _check(options, _METHOD, "methods")


def call_options(options: Mapping[str, Any], base: CallOptions, *, streams: bool = False) -> CallOptions:
    """``base`` with the given options in their place; what is None leaves it as it is.

    Args:
        streams: the method is a generator function.

    Raises:
        ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.
    """
    _check(options, _CALL, "method calls")
    name, group = _default(options, "name", base.name), _default(options, "concurrency_group", base.group)
    timeout = _default(options, "timeout", base.timeout)
    return CallOptions(
        returns=_returns(options, streams, base.returns),
        max_task_retries=_default(options, "max_task_retries", base.max_task_retries),
        retry_exceptions=base.retry_exceptions
        if options.get("retry_exceptions") is None
        else _retried(options),
        name=name,
        group=group,
        max_pending=base.max_pending,
        ahead=max(_default(options, "_generator_backpressure_num_objects", base.ahead), 0),
        extra=_given(group=group, name=name, timeout=timeout),
        timeout=timeout,
        unordered=base.unordered,
    )


def is_unordered(options: Mapping[str, Any], *, is_async: bool) -> bool:
    """Whether calls of an actor with these checked options go as soon as their own arguments are there.

    As in Ray: those of actors that run several at a time, unless the user says otherwise.
    """
    given = options.get("allow_out_of_order_execution")
    return is_async or _default(options, "max_concurrency", 1) > 1 if given is None else bool(given)


def max_pending_calls(options: Mapping[str, Any]) -> int:
    """The checked option of an actor."""
    found: int = _default(options, "max_pending_calls", -1)
    return found


def check_group(group: str, groups: Iterable[str], where: str) -> None:
    """
    Raises:
        ValueError: the actor has no concurrency group of that name.
    """
    known = sorted(groups)
    if group and group not in known:
        there = f"known are {', '.join(map(repr, known))}" if known else "it has none: see concurrency_groups"
        raise ValueError(f"{where} has no concurrency group {group!r}; {there}")


DEFAULT_CALL = CallOptions(1, 0, False, "")
