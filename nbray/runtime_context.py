"""Where user code finds out in which task, actor, process and session it runs."""

from __future__ import annotations

import json
from typing import Any

from nbray import _as_ray, _runtime
from nbray._actor_handle import ActorHandle, _handle


class RuntimeContext:
    """What ``get_runtime_context()`` answers. Ids are hex strings, None where they do not apply."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def _fact(self, name: str) -> Any:
        return self._runtime.context()[name]

    def get(self) -> dict[str, Any]:
        """All ids that apply here, and the namespace, by name."""
        return {name: value for name, value in self._runtime.context().items() if value is not None}

    def get_job_id(self) -> str:
        """The session's id, the same in all its processes."""
        job: str = self._fact("job_id")
        return job

    def get_node_id(self) -> str:
        """The id of this process's node."""
        node: str = self._fact("node_id")
        return node

    def get_node_labels(self) -> dict[str, str]:
        """The labels of this process's node; none where it is on no node of the pool, as a driver may be."""
        labels: dict[str, str] = (self._runtime.here() or {}).get("Labels", {})
        return labels

    def get_worker_id(self) -> str:
        """The id of this process."""
        worker: str = self._fact("worker_id")
        return worker

    def get_task_id(self) -> str | None:
        """The id of the task or method call that runs; None in the driver."""
        task: str | None = self._fact("task_id")
        return task

    def get_actor_id(self) -> str | None:
        """The id of the actor that this process is, or None."""
        actor: str | None = self._fact("actor_id")
        return actor

    def get_actor_name(self) -> str | None:
        """The name that this actor was created with, "" if it has none; None in what is no actor."""
        executor = self._runtime.executor
        if executor is None or not executor.actor_id:
            return None
        name: str = executor.actor_name
        return name

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle to the actor that asks, for it to hand out. Kept in the actor, it keeps the actor alive.

        Raises:
            RuntimeError: not in an actor.
        """
        return _handle(*self._runtime.current_actor())

    def get_task_name(self) -> str | None:
        """The name of the task or method call that runs: that of ``.options(name=...)``, or ``f`` or ``Class.method``.

        None in a driver.
        """
        executor = self._runtime.executor
        running = executor.current if executor is not None else None
        if running is not None:
            title: str = running.title
            return title
        return f"{executor.class_name}.__init__" if _constructs(executor) else None

    def get_task_function_name(self) -> str | None:
        """Where the function or method that runs is defined: ``module.f``, ``module.Class.method``. None in a driver."""
        executor = self._runtime.executor
        running = executor.current if executor is not None else None
        if running is not None:
            path: str = executor.runner.path(running)
            return path
        return f"{executor.class_path}.__init__" if _constructs(executor) else None

    @property
    def runtime_env(self) -> dict[str, Any]:
        """``{"env_vars": {...}}`` of what asks, with what it has from ``init`` and from who submitted it; ``{}``: nothing."""
        variables = _as_ray.without(self._runtime.environment)
        return {"env_vars": variables} if variables else {}

    def get_runtime_env_string(self) -> str:
        """``runtime_env`` as JSON."""
        return json.dumps(self.runtime_env)

    def get_assigned_resources(self) -> dict[str, float]:
        """What the task or actor that asks has of its node, for example ``{"CPU": 1.0}``.

        Raises:
            AssertionError: in a driver.
        """
        executor = self._runtime.executor
        if executor is None:
            raise AssertionError(
                "get_assigned_resources() is for tasks and actors; a driver has no resources of its own"
            )
        return _runtime.whole((name, units) for name, units in executor.resources if units)

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The GPUs of the task or actor that asks, as ``get_gpu_ids()`` but all strings: ``{"GPU": ["0"]}``."""
        return {"GPU": [str(gpu) for gpu in get_gpu_ids()]}

    @property
    def namespace(self) -> str:
        """Where names of actors count."""
        namespace: str = self._fact("namespace")
        return namespace

    def is_canceled(self) -> bool:
        """Whether the task or method call that asks was cancelled: a method of an actor that runs for long looks here.

        Raises:
            RuntimeError: in a driver, and in an actor with async methods, where cancelling is asyncio's.
        """
        executor = self._runtime.executor
        running = executor.current if executor is not None else None
        if running is None:
            raise RuntimeError("is_canceled() tells of the task that calls it; here is none")
        if running.task is not None:
            raise RuntimeError(
                "is_canceled() is not for actors with async methods: their calls get a CancelledError"
            )
        return bool(running.canceled)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this process is an actor that was restarted."""
        executor = self._runtime.executor
        return executor is not None and bool(executor.actor_id) and executor.epoch > 0


def _constructs(executor: Any) -> bool:
    """Whether it is an actor whose ``__init__`` runs."""
    return executor is not None and bool(executor.actor_id) and executor.runner.instance is None


def get_gpu_ids() -> list[int] | list[str]:
    """The GPUs of the task or actor that asks, as its ``CUDA_VISIBLE_DEVICES`` lists them; none in a driver.

    They count from 0 on a node, or are what ``CUDA_VISIBLE_DEVICES`` held there when its pool or worker started. Starts a
    local pool if there is none.

    Example:
        >>> @nbray.remote(num_gpus=1)
        ... def train():
        ...     return nbray.get_gpu_ids()
        >>> nbray.get(train.remote())
        [0]
    """
    executor = _runtime.current().executor
    return list(executor.boot.gpus) if executor is not None else []  # type: ignore[return-value]


def get_runtime_context() -> RuntimeContext:
    """Facts about the process and the task that asks. Starts a local pool if there is none.

    Example:
        >>> @nbray.remote
        ... def where():
        ...     return nbray.get_runtime_context().get_node_id()
    """
    return RuntimeContext(_runtime.current())
