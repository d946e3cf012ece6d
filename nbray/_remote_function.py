"""Remote functions, and the ``@remote`` decorator for functions and classes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from nbray import _runtime
from nbray._actor_handle import ActorClass
from nbray._dynamic import gathered
from nbray._exported import Exported, missing, short_name
from nbray._generator import ObjectRefGenerator
from nbray._object_ref import ObjectRef
from nbray._options import TaskOptions, check_names, task_options
from nbray._signature import Signature
from nbray.core.messages import STREAMING

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Y = TypeVar("Y")
C = TypeVar("C")
_Ref: TypeAlias = ObjectRef[Any]


class _Submit(Protocol[P, R_co]):
    """What type checkers see of ``f.remote``: the function's own parameters, in whose places refs may stand.

    "Each parameter, or a ref to such" cannot be said. So a call with a ref among its first four arguments is not checked further.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, a: _Ref, /, *args: Any, **kwargs: Any) -> R_co: ...
    @overload
    def __call__(self, a: Any, b: _Ref, /, *args: Any, **kwargs: Any) -> R_co: ...
    @overload
    def __call__(self, a: Any, b: Any, c: _Ref, /, *args: Any, **kwargs: Any) -> R_co: ...
    @overload
    def __call__(self, a: Any, b: Any, c: Any, d: _Ref, /, *args: Any, **kwargs: Any) -> R_co: ...


class _Nothing:
    """No function returns this, so only what has no annotation fits."""


class _Remote(Protocol):
    """What type checkers see of ``RemoteFunction.remote``: generator functions answer a generator of refs."""

    @overload
    def __get__(self, f: RemoteFunction[P, _Nothing], cls: Any = ..., /) -> _Submit[P, ObjectRef[Any]]: ...
    @overload
    def __get__(
        self, f: RemoteFunction[P, Iterator[Y]], cls: Any = ..., /
    ) -> _Submit[P, ObjectRefGenerator[Y]]: ...
    @overload
    def __get__(self, f: RemoteFunction[P, R_co], cls: Any = ..., /) -> _Submit[P, ObjectRef[R_co]]: ...
    def __set__(self, f: Any, value: Any, /) -> None: ...


class RemoteFunction(Generic[P, R_co]):
    """A function that runs as a task somewhere in the pool. Made by ``@remote``.

    Attributes:
        remote: submit a call. It takes the function's own arguments, which may be refs, and answers an ``ObjectRef`` (a list of
            them with ``num_returns=n``, None with ``num_returns=0``). A generator function's call answers an
            ``ObjectRefGenerator``, which gives a ref an item. Raises TypeError if the arguments do not fit or cannot be pickled.
    """

    if TYPE_CHECKING:
        remote: _Remote

    def __init__(
        self,
        exported: Exported,
        signature: Signature,
        given: Mapping[str, Any],
        options: TaskOptions,
    ) -> None:
        functools.update_wrapper(self, exported.target, updated=())
        self._exported = exported
        self._signature = signature
        self._given = given
        self._options = options
        make = _starter if options.returns == STREAMING else _submitter
        if given.get("num_returns") == "dynamic":
            exported = Exported(
                gathered(exported.target, retried=bool(options.retry_exceptions)), exported.name
            )
        self.remote = make(exported, signature, options)

    def options(self, **options: Any) -> RemoteFunction[P, R_co]:
        """The same function with other options, for example ``f.options(num_cpus=2).remote()``.

        Raises:
            ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.
        """
        given = {**self._given, **options}
        resolved = task_options(given, streams=inspect.isgeneratorfunction(self._exported.target))
        return RemoteFunction(self._exported, self._signature, given, resolved)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Remote functions are called with ``.remote()``."""
        name = self._exported.name
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of '{name}()', use '{name}.remote()'."
        )

    @property
    def _function(self) -> Callable[P, R_co]:
        """The function itself, under Ray's name: to call it here, as tests do."""
        return self._exported.target

    def __getattr__(self, name: str) -> Any:
        raise missing(self, name)

    def __repr__(self) -> str:
        return f"RemoteFunction({self._exported.name}{self._signature.text})"

    def __reduce__(self) -> tuple[Any, ...]:
        exported = self._exported
        return _rebuild, (exported.target, exported.name, self._signature, self._given, self._options)


def _submitter(exported: Exported, signature: Signature, options: TaskOptions) -> Callable[..., Any]:
    """``f.remote`` for one set of options: a plain function, because a task's cost in Python is little more than this."""
    export = exported.handle
    single = options.returns == 1

    def remote(*args: Any, **kwargs: Any) -> Any:
        if kwargs or not signature.least <= len(args) <= signature.most:
            signature.check(args, kwargs)
        runtime = _runtime.current()
        refs = runtime.submit(export(runtime), args, kwargs, options)
        return refs[0] if single else list(refs) or None  # the call keeps its own list

    return functools.wraps(exported.target, updated=())(remote)


def _starter(exported: Exported, signature: Signature, options: TaskOptions) -> Callable[..., Any]:
    """``f.remote`` of a generator function."""
    export = exported.handle

    def remote(*args: Any, **kwargs: Any) -> ObjectRefGenerator[Any]:
        if kwargs or not signature.least <= len(args) <= signature.most:
            signature.check(args, kwargs)
        runtime = _runtime.current()
        (stream,) = runtime.submit(export(runtime), args, kwargs, options)
        return ObjectRefGenerator(stream, runtime.owner.streams)

    return functools.wraps(exported.target, updated=())(remote)


def _rebuild(
    function: Callable[..., Any],
    name: str,
    signature: Signature,
    given: Mapping[str, Any],
    options: TaskOptions,
) -> RemoteFunction[..., Any]:
    # A function that calls itself arrives half built here (its globals come later): nothing may look into it yet.
    return RemoteFunction(Exported(function, name), signature, given, options)


@overload
def remote(target: type[C], /) -> ActorClass[C]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[P, R_co], /) -> RemoteFunction[P, R_co]: ...
@overload
def remote(**options: Any) -> _Decorator: ...
def remote(*targets: Any, **options: Any) -> Any:
    """Make a function or a class remote: ``@remote``, ``@remote(num_cpus=2)``, or ``remote(f)``.

    A function becomes a task factory (``f.remote(...)``), a class an actor factory (``Cls.remote(...)``).

    Args:
        num_cpus: CPUs that a task takes (default 1), that an actor keeps while it lives (default: 1 to be placed, 0 after).
        num_gpus, resources: GPUs, and custom resources by name. All in steps of 0.0001. A node is a resource itself: with
            ``{"node:10.0.0.5": 0.001}`` a task runs there (``NodeManagerAddress`` in ``nodes()``), with
            ``{"node:__internal_head__": 0.001}`` on the scheduler's machine.
        memory: bytes, in the books only: as many tasks and actors are placed as a node's memory holds.
        label_selector: conditions for the labels of the node (see ``labels`` of ``init``), all of which it must meet:
            ``{"zone": "a"}``, ``"!a"``, ``"in(a,b)"`` or ``"!in(a,b)"``. Each node has its id as label ``ray.io/node-id``.
        scheduling_strategy: "DEFAULT" or None.
        runtime_env: ``{"env_vars": {...}}``: environment variables of the executor, and of the tasks and actors that what runs
            there submits, unless their own ``runtime_env`` says otherwise.
        num_returns: tasks: the number of refs ``.remote()`` answers (default 1; 0: None). Of a generator function: "streaming",
            its default, the number of its first items that are wanted, or "dynamic": one ref, whose value has a ref for each.
        max_retries: tasks: reruns after a crash of the executor (default 3; -1: no end).
        max_calls: tasks: a process ends after so many calls of the function, to free what it leaks (default 0: no limit; 1 for
            those that use GPUs, whose memory is the next one's then).
        priority: tasks: a whole number (default 0); of one driver's tasks that wait, the highest go first (an
            executor that is there may go on with tasks that need the same resources for a tenth of a second).
        timeout: tasks: seconds that the function may run (default None: no end). After that it is interrupted as by
            ``cancel``, a second later its process is ended, and ``get`` raises ``TaskTimeoutError``. Neither counts against
            ``max_retries``; it is retried if ``retry_exceptions`` includes it.
        retry_exceptions: tasks: also rerun when the function raises: True, or a list of exception types.
        _generator_backpressure_num_objects: tasks that are generators: pause when so many items are yielded and not taken
            (default -1: never).
        max_restarts: actors: times its process is started again after a crash (default 0; -1: no end).
        max_task_retries: actors: reruns of a call that a crash interrupted (default 0; -1: no end).
        max_concurrency: actors: calls under way at a time, on threads, or as asyncio tasks in a class that has ``async def``
            methods (default 1, or 1000 with ``async def``).
        concurrency_groups: actors: ``{"io": 2}``: methods with ``@method(concurrency_group="io")`` run two at a time, and
            beside the others.
        allow_out_of_order_execution: actors: a call does not wait for the arguments of its caller's earlier ones (default: True
            for actors that run several calls at a time, on threads or asyncio tasks, else False).
        max_pending_calls: actors: calls of one process that may be unanswered; one more raises ``PendingCallsLimitExceeded``
            (default -1: no limit).
        name: tasks: shown in views. Actors: ``get_actor`` finds it by that.
        namespace, get_if_exists: actors with a name.
        lifetime: actors: "detached": it outlives the process that creates it, until it is killed or ends itself. On an attached
            cluster a later driver finds it by name; on a local pool it ends with the pool. Restarted after its creator is gone,
            it has only those arguments of its constructor that are small. Default: it ends with the last handle.

    A class may have a method ``__ray_shutdown__(self)``: it runs before the actor's process ends, whether the last handle was
    dropped or the actor exits, but not if it is killed or crashes.

    Raises:
        ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type, or something
            that is neither a function nor a class.

    Example:
        >>> @nbray.remote
        ... def square(x):
        ...     return x * x
        >>> nbray.get(square.remote(3))
        9
    """
    if not targets:
        check_names(options)
        return functools.partial(_decorate, options)
    if len(targets) != 1 or options:
        raise TypeError("use @remote, @remote(option=value, ...) or remote(function_or_class)")
    return _decorate({}, targets[0])


class _Decorator:
    """What type checkers see of ``@remote(...)``."""

    @overload
    def __call__(self, target: type[C], /) -> ActorClass[C]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: Callable[P, R_co], /) -> RemoteFunction[P, R_co]: ...
    def __call__(self, target: Any, /) -> Any:
        raise NotImplementedError


def _decorate(options: Mapping[str, Any], target: Any) -> Any:
    if inspect.isclass(target):
        return ActorClass.of(target, options)
    if not inspect.isfunction(target):
        raise TypeError(f"@remote takes a function or a class, not {type(target).__name__} ({target!r})")
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise ValueError(
            f"{target.__qualname__} is an 'async def': a task runs a plain function, for example one that calls "
            "asyncio.run(). Async methods of actors are fine."
        )
    name = short_name(target)
    resolved = task_options(options, streams=inspect.isgeneratorfunction(target))
    return RemoteFunction(Exported(target, name), Signature(name, target), dict(options), resolved)
