"""Actor classes, handles to actors, and their methods."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import cloudpickle

from nbray import _hints, _rich, _runtime
from nbray._exported import Exported, missing, short_name
from nbray._generator import ObjectRefGenerator
from nbray._options import (
    DEFAULT_CALL,
    ActorOptions,
    CallOptions,
    actor_options,
    call_options,
    check_group,
    is_unordered,
    max_pending_calls,
    method_options,
)
from nbray._signature import Signature
from nbray.core.messages import STREAMING
from nbray.core.ownership import Entry
from nbray.executor.actor_methods import ACTOR_METHODS, WRAPPERS, implementation, is_async

C = TypeVar("C")
F = TypeVar("F", bound=Callable[..., Any])


class Method(NamedTuple):
    """What a handle knows of one method. ``streams``: it is a generator function."""

    signature: Signature
    options: CallOptions
    doc: str | None
    streams: bool = False


class Meta:
    """What a handle knows of its actor's class. It travels as bytes, with handles and to whoever finds the actor by name.

    Attributes:
        groups: names of the actor's concurrency groups.
        doc: of the class.
        packed: those bytes. One object a class, so that many handles in one message carry it once.
    """

    __slots__ = ("name", "methods", "groups", "doc", "packed")

    def __init__(
        self,
        name: str,
        methods: dict[str, Method],
        groups: tuple[str, ...] = (),
        doc: str | None = None,
        packed: bytes = b"",
    ) -> None:
        self.name = name
        self.methods = methods
        self.groups = groups
        self.doc = doc
        self.packed = packed or cloudpickle.dumps((name, methods, groups, doc))

    def method(self, name: str) -> Method | None:
        """A method of the class, or one that every actor has."""
        return self.methods.get(name) or EVERY_ACTORS.get(name)


@functools.lru_cache(maxsize=1024)
def _unpacked(packed: bytes) -> Meta:
    name, methods, groups, doc = cloudpickle.loads(packed)
    return Meta(name, methods, groups, doc, packed)


# --- methods ---------------------------------------------------------------------------------------------------------


def method(*targets: Any, **options: Any) -> Any:
    """Options of one method of an actor class: ``@method(num_returns=2)``.

    Args:
        num_returns: the number of refs a call answers (default 1; 0: None). Of a generator: "streaming", its default, or the
            number of its first items that are wanted.
        max_task_retries: reruns of a call that a crash interrupted (default: the actor's; -1: no end).
        retry_exceptions: also rerun when the method raises: True, or a list of exception types (default False).
        concurrency_group: one of the groups in the class's ``concurrency_groups`` (default: none of them).
        timeout: seconds that a call may run (default None: without end); then it fails with ``TaskTimeoutError``. A method on the
            actor's main thread is interrupted, and takes the process along if it has not ended a second later; an async one is
            cancelled; one on a thread of a threaded actor runs on, with ``get_runtime_context().is_canceled()`` true.
        _generator_backpressure_num_objects: of a generator: pause when so many items are yielded and not taken (default -1:
            never). An actor that is not async takes no other call meanwhile.

    Raises:
        ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.

    Example:
        >>> @nbray.remote
        ... class Pair:
        ...     @nbray.method(num_returns=2)
        ...     def both(self):
        ...         return 1, 2
    """
    method_options(options)

    def annotate(function: F) -> F:
        if options.get("num_returns") == "streaming" and not _streams(function):
            raise ValueError(
                f"num_returns='streaming' is for generators; {function.__qualname__} has no 'yield' in its body"
            )
        function.__nbray_method__ = options  # type: ignore[attr-defined]
        return function

    if not targets:
        return annotate
    if len(targets) != 1 or options:
        raise TypeError("use @method or @method(option=value, ...)")
    return annotate(targets[0])


class ActorMethod:
    """``handle.name``: called with ``.remote()``, which answers an ``ObjectRef``, or an ``ObjectRefGenerator`` for a generator.

    It keeps the actor alive as a handle does.
    """

    # Not the handle but its entry, or the two would keep each other alive.
    __slots__ = ("_actor", "_name", "_meta", "_options", "_signature", "remote", "__dict__")

    def __init__(self, actor: Entry, name: str, meta: Meta, options: CallOptions | None = None) -> None:
        known = meta.method(name)
        assert known is not None
        self._actor = actor
        self._name = name
        self._meta = meta
        self._options = known.options if options is None else options
        self.remote = _caller(actor, name, meta.name, known, self._options)
        self.__dict__["__doc__"] = known.doc
        self._signature = known.signature

    @property
    def __signature__(self) -> inspect.Signature:
        return self._signature.__signature__

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options, for example ``handle.name.options(num_returns=2).remote()``.

        Raises:
            ValueError: an unknown option or concurrency group, or a value that it cannot have. TypeError: a value of the
                wrong type.
        """
        known = self._meta.method(self._name)
        assert known is not None
        wanted = call_options(options, self._options, streams=known.streams)
        check_group(wanted.group, self._meta.groups, self._meta.name)
        return ActorMethod(self._actor, self._name, self._meta, wanted)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Methods of actors are called with ``.remote()``."""
        raise TypeError(
            f"Actor methods cannot be called directly. Instead of 'handle.{self._name}()', try "
            f"'handle.{self._name}.remote()'."
        )

    def __getattr__(self, name: str) -> Any:
        raise missing(self, name)

    def __repr__(self) -> str:
        return f"ActorMethod({self._meta.name}.{self._name})"


def _caller(
    actor: Entry, name: str, class_name: str, known: Method, options: CallOptions
) -> Callable[..., Any]:
    """``handle.name.remote`` for one set of options: a plain function, as for tasks."""
    signature = known.signature
    single = options.returns == 1

    def remote(*args: Any, **kwargs: Any) -> Any:
        if kwargs or not signature.least <= len(args) <= signature.most:
            try:
                signature.check(args, kwargs)
            except TypeError as error:
                error.args = (f"{error}{_hints.class_is_new(class_name, name, signature.text)}",)
                raise
        refs = _runtime.current().call_actor(actor, name, args, kwargs, options, class_name)
        return refs[0] if single else list(refs) or None  # the call keeps its own list

    if options.returns == STREAMING:
        submit = remote

        def remote(*args: Any, **kwargs: Any) -> Any:
            (stream,) = submit(*args, **kwargs)
            return ObjectRefGenerator(stream, _runtime.current().owner.streams)

    remote.__name__ = name
    remote.__qualname__ = f"{class_name}.{name}"
    remote.__doc__ = known.doc
    remote.__wrapped__ = signature  # type: ignore[attr-defined]  # what ``?`` and completion show
    return remote


def _streams(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _is_function(value: Any) -> bool:
    """Whether it is a function, written in Python or compiled by Cython."""
    return isinstance(value, types.FunctionType) or type(value).__name__ == "cython_function_or_method"


def _methods_of(cls: type, options: Mapping[str, Any]) -> dict[str, Method]:
    """All that can be called on an instance, with what ``@method`` said of it."""
    base = call_options({"max_task_retries": options.get("max_task_retries")}, DEFAULT_CALL)._replace(
        max_pending=max_pending_calls(options), unordered=is_unordered(options, is_async=is_async(cls))
    )
    found = {}
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        function = implementation(member)
        if not _is_function(function) or name in _OURS:
            continue
        # The parameters of a partialmethod are those that it leaves open, which only the attribute itself tells.
        shown = getattr(cls, name) if isinstance(member, WRAPPERS) else function
        bound = _is_function(shown) and not isinstance(member, staticmethod)
        signature = Signature(f"{short_name(cls)}.{name}", shown, bound=bound)
        streams = _streams(function)
        wanted = call_options(
            getattr(shown, "__nbray_method__", getattr(function, "__nbray_method__", {})),
            base._replace(returns=STREAMING) if streams else base,
            streams=streams,
        )
        found[name] = Method(signature, wanted, function.__doc__, streams)
    return found


def _every_actors() -> dict[str, Method]:
    found = {}
    for name, function in ACTOR_METHODS.items():
        signature = Signature(name, function, bound=True)
        found[name] = Method(signature, DEFAULT_CALL, function.__doc__)
    return found


#: What every actor answers besides the methods of its class.
EVERY_ACTORS = _every_actors()


# --- handles ---------------------------------------------------------------------------------------------------------


class _HandleDoc:
    """What ``help(ActorHandle)`` shows, and ``handle?`` of what it is a handle to."""

    def __init__(self, of_class: str) -> None:
        self._of_class = of_class

    def __get__(self, handle: ActorHandle[Any] | None, owner: type) -> str:
        if handle is None:
            return self._of_class
        meta = handle._nbray_meta
        methods = [f"    {name}{known.signature.__signature__}" for name, known in meta.methods.items()]
        parts = [
            inspect.cleandoc(meta.doc or ""),
            f"A handle to an actor of class {meta.name}. Its methods, each called with .remote():",
        ]
        return "\n\n".join(part for part in parts if part) + "\n" + "\n".join(methods)


class ActorHandle(Generic[C]):
    __doc__ = _HandleDoc(
        "A handle to an actor: ``handle.name.remote(...)`` calls a method.\n\n"
        "It may be passed to tasks and actors, stored, and pickled; equal handles lead to the same actor. When the last one\n"
        "anywhere is gone, the actor finishes the calls it has and its process ends."
    )

    # Names that no class of a user's has. Methods, once used, lie in __dict__: the next look-up is one in C.
    __slots__ = ("_nbray_actor", "_nbray_meta", "__dict__", "__weakref__")

    def __init__(self, actor: Entry, meta: Meta) -> None:
        self._nbray_actor = actor
        self._nbray_meta = meta

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_nbray"):  # a handle that is not put together yet
            raise AttributeError(name)
        meta = self._nbray_meta
        if meta.method(name) is None:
            if name in (
                "_actor_id",
                "_ray_actor_id",
            ):  # Ray's programs tell actors apart by `handle._actor_id.hex()`
                return self._nbray_actor.id
            nearest = difflib.get_close_matches(name, meta.methods, 1)
            hint = _hints.class_is_new(meta.name, name, None)
            if nearest and not hint:
                hint = f"; did you mean {nearest[0]!r}?"
            raise AttributeError(
                f"actor class {meta.name!r} has no method {name!r}{hint}", name=name, obj=None
            )
        found = self.__dict__[name] = ActorMethod(self._nbray_actor, name, meta)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            warnings.warn(
                f"{name!r} is set on this handle, not on the actor: that has its attributes in its own process, where a"
                " method can set them",
                stacklevel=2,
            )
        object.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self._nbray_meta.methods, *self.__dict__})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._nbray_actor is other._nbray_actor

    def __hash__(self) -> int:
        return hash(self._nbray_actor)

    def __repr__(self) -> str:
        return f"Actor({self._nbray_meta.name}, {self._nbray_actor.id.hex()})"

    def _repr_html_(self) -> str:
        """For notebooks: what this process knows of the actor right now, and its methods."""
        runtime = _runtime.current_or_none()
        state, facts = (
            ("of a session that has ended", [""]) if runtime is None else runtime.told_of(self._nbray_actor)
        )
        methods = ", ".join(self._nbray_meta.methods)
        return _rich.line(repr(self), state, [*facts, f"methods: {methods}" if methods else ""])

    def __reduce__(self) -> tuple[Any, ...]:
        return _handle, (self._nbray_actor, self._nbray_meta.packed)

    def __copy__(self) -> ActorHandle[C]:
        return self

    def __deepcopy__(self, memo: object) -> ActorHandle[C]:
        return self


#: What a handle answers itself.
_OURS = frozenset(vars(ActorHandle)) | frozenset(vars(object))


def _handle(actor: Entry, packed: bytes) -> ActorHandle[Any]:
    return ActorHandle(actor, _unpacked(packed))


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """A handle to the living actor of that name.

    Args:
        name: as given to ``.options(name=...)``.
        namespace: where to look (default: the caller's namespace).

    Raises:
        ValueError: there is no such actor (any more), or the name is None or empty. TypeError: the name is no string.
    """
    if name is None:
        raise ValueError("get_actor() needs the actor's name, got None")
    for what, value in (("name", name), ("namespace", namespace)):
        if not isinstance(value, str) and (what == "name" or value is not None):
            raise TypeError(f"{what!r} must be a str, not {type(value).__name__}")
        if value == "":
            raise ValueError(f"{what!r} cannot be an empty string")
    actor, packed = _runtime.current().named_actor(name, namespace)
    return _handle(actor, packed)


# --- classes ---------------------------------------------------------------------------------------------------------


class ActorClassInheritanceException(TypeError):
    """A class names an actor class among its bases."""


class ActorClass(Generic[C]):
    """A class whose instances live in processes of their own. Made by ``@remote``.

    Attributes:
        remote: create an actor. It takes the arguments of ``__init__``, which may be refs, and answers an ``ActorHandle``
            at once, while the actor's process starts. Raises TypeError if the arguments do not fit or cannot be pickled, and
            ActorAlreadyExistsError if the name is taken.
    """

    remote: Callable[..., ActorHandle[C]]

    def __init__(self, exported: Exported, given: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, exported.target, updated=())
        self._exported = exported
        self._given = given
        self._resolved: tuple[ActorOptions, Meta, Signature] | None = None

        def remote(*args: Any, **kwargs: Any) -> ActorHandle[C]:
            return self._create(args, kwargs)

        self.remote = functools.wraps(exported.target, updated=())(remote)

    @classmethod
    def of(cls, target: type, options: Mapping[str, Any]) -> ActorClass[Any]:
        """Make ``target`` an actor class. Checks the options."""
        if inspect.isabstract(target):
            missing = ", ".join(sorted(vars(target)["__abstractmethods__"]))
            raise TypeError(
                f"@remote takes a class that has instances; {target.__qualname__} is abstract, it lacks {missing}"
            )
        actor_options(options, is_async=is_async(target))
        return cls(Exported(target, short_name(target)), dict(options))

    def options(self, **options: Any) -> ActorClass[C]:
        """The same class with other options, for example ``Cls.options(num_cpus=2).remote()``.

        Raises:
            ValueError: an unknown option, or a value that it cannot have. TypeError: a value of the wrong type.
        """
        given = {**self._given, **options}
        actor_options(given, is_async=is_async(self._exported.target))
        return ActorClass(self._exported, given)

    def _methods_now(self) -> dict[str, Method]:
        """Its methods: for hints."""
        return (self._resolved or self._resolve())[1].methods

    def _create(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle[C]:
        options, meta, constructor = self._resolved or self._resolve()
        constructor.check(args, kwargs)
        runtime = _runtime.current()
        actor, packed = runtime.create_actor(self._exported.handle(runtime), args, kwargs, options)
        return ActorHandle(actor, meta if packed is options.meta else _unpacked(packed))

    def _resolve(self) -> tuple[ActorOptions, Meta, Signature]:
        """Look into the class, once. Not before the first use: a class that names itself arrives half built."""
        target, name = self._exported.target, self._exported.name
        assert isinstance(target, type)
        groups = tuple(sorted(self._given.get("concurrency_groups") or ()))
        methods = _methods_of(target, self._given)
        for method_name, known in methods.items():
            check_group(known.options.group, groups, f"{name} (for its method {method_name})")
        meta = Meta(name, methods, groups, target.__doc__)
        options = actor_options(self._given, is_async=is_async(target), meta=meta.packed)
        initializer = inspect.getattr_static(target, "__init__")
        if initializer is object.__init__:
            initializer = _takes_nothing
        self._resolved = options, meta, Signature(f"{name}.__init__", initializer, bound=True)
        return self._resolved

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Actors are created with ``.remote()``."""
        name = self._exported.name
        raise TypeError(
            f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'."
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise ActorClassInheritanceException(
            f"Inheriting from the actor class {self._exported.name} is not possible. Inherit from a plain class and make "
            "actor classes of both with remote(...)."
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_exported" not in self.__dict__:
            raise AttributeError(name)
        if name == "bind" and not hasattr(self._exported.target, name):
            raise missing(self, name)
        return getattr(self._exported.target, name)

    def __repr__(self) -> str:
        return f"ActorClass({self._exported.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._exported.target, self._exported.name, self._given)


def _rebuild(target: type, name: str, given: Mapping[str, Any]) -> ActorClass[Any]:
    return ActorClass(Exported(target, name), given)


def _takes_nothing(self: Any) -> None:
    """The parameters of ``object.__init__`` as they count for a class that has none of its own."""
