"""What the public API stands on in a process, a driver or an executor. The only holder of "current"."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgpack

from nbray import _driver, events
from nbray.bars import session as bars
from nbray.core.actors import LIMBO
from nbray.core.directory import DEAD
from nbray.core.ids import Address
from nbray.core.messages import RESOURCE_UNIT
from nbray.core.ownership import Entry
from nbray.exceptions import ActorAlreadyExistsError, RaySystemError
from nbray.owner.creating import NameTaken
from nbray.owner.endings import why
from nbray.owner.owner import Owner
from nbray.owner.waiting import stop_if_daemon

if TYPE_CHECKING:
    from nbray.cluster.pool import Pool
    from nbray.core.calls import Function
    from nbray.executor.main import Executor
    from nbray.owner.console import Author

    #: Prefix of each line, author, stream as in OUTPUT, text, pid, node id.
    Sink: TypeAlias = Callable[[str, Author, int, str, int, bytes], None]

_current: Runtime | None = None
_forked = False
_exiting = False
_starting = threading.Lock()
_entry_type: type[Entry] = Entry
#: Who takes what tasks print, instead of the terminal.
_sink: Sink | None = None


def register(entry_type: type[Entry]) -> None:
    """The public class of refs, which this module must not import."""
    global _entry_type
    _entry_type = entry_type


class Runtime:
    """What the public API stands on: an owner, and what is around it.

    Args:
        owner: of this process. pool: the driver's pool; None in an executor. executor: None in a driver.
        environment: the variables that tasks of this process have, and (in an executor) this process.
    """

    def __init__(
        self, owner: Owner, pool: Pool | None, executor: Executor | None, environment: Mapping[str, str]
    ) -> None:
        self.owner = owner
        self.pool = pool
        self.bounds: tuple[float, float] | None = None  # between which it adapts
        self.executor = executor
        self.environment = environment
        self.pid = os.getpid()
        self.put = owner.put
        self.get = owner.waiting.get
        self.wait = owner.waiting.wait
        self.submit = owner.tasks.submit
        self.function = owner.calls.function
        self.call_actor = owner.actors.call
        self.on_ready = owner.waiting.on_ready
        self.resolve = owner.passing.resolve
        self._pinned: list[Entry] = []

    @property
    def namespace(self) -> str:
        return self.owner.namespace

    @property
    def address(self) -> Address:
        return self.owner.address

    @property
    def feed(self) -> events.Feed:
        return self.owner.feed

    def create_actor(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
    ) -> tuple[Entry, bytes]:
        """The entry of a new actor and its class' meta; of one that there is, if the options say so.

        Raises:
            ActorAlreadyExistsError: a living actor has its name.
        """
        if options.name is not None:
            options = options._replace(namespace=options.namespace or self.namespace)
        try:
            return self.owner.creating.create(function, args, kwargs, options), options.meta
        except NameTaken as taken:
            if options.get_if_exists:
                return self._found(taken.handle)
        name, namespace = options.name, options.namespace
        raise ActorAlreadyExistsError(
            f"an actor named {name!r} lives already in namespace {namespace!r}; get_actor({name!r}) finds it, "
            "and so does .remote() with the option get_if_exists=True"
        )

    def named_actor(self, name: str, namespace: str | None) -> tuple[Entry, bytes]:
        """The entry of the living actor of that name, and its class' meta.

        Raises:
            ValueError: there is none.
        """
        namespace = namespace or self.namespace
        actor, handle = self.owner.questions.ask("actor_named", name, namespace)
        if actor is None:
            raise ValueError(f"no living actor is named {name!r} in namespace {namespace!r}")
        return self._found(handle)

    def _found(self, handle: bytes) -> tuple[Entry, bytes]:
        oid, creator, meta = msgpack.unpackb(handle, use_list=False)
        return self.owner.passing.resolve(oid, Address(*creator)), meta

    def current_actor(self) -> tuple[Entry, bytes]:
        """The entry of the actor that this process is, and its class' meta.

        Raises:
            RuntimeError: it is none.
        """
        if self.executor is None or not self.executor.actor_id:
            raise RuntimeError("current_actor is for actors, and this is none")
        return self._found(self.executor.handle)

    def told_of(self, actor: Entry) -> tuple[str, list[str]]:
        """An actor's state in a word, and what else this process knows: its process, its calls from here, why it died."""
        machine = self.owner.actors.machines.get(actor.id)
        if machine is None:
            ours = actor.owner is not None or actor.owner_id == self.owner.process
            return (
                "not called yet from here"
                if ours and actor.owner is not None
                else "dead"
                if ours
                else "of a session that has ended"
            ), []
        peer = machine.peer
        process = (
            f"pid {peer.pid}, node {peer.peer.node.hex()[:8]}"
            if peer is not None and peer.peer is not None
            else ""
        )
        calls = f"calls from here that wait or run: {machine.unfinished}" if machine.unfinished else ""
        state = "restarting" if machine.state == LIMBO else machine.state
        return state, [process, calls, why(machine.reason)]

    def named_actors(self) -> list[tuple[str, str]]:
        """Namespace and name of all actors that have a name and live, or will."""
        records = self.owner.questions.ask("actors")[0]
        return [(record[3], record[2]) for record in records if record[2] and record[4] != DEAD]

    def kill(self, actor: Entry, no_restart: bool) -> None:
        self.owner.actors.kill(actor, no_restart)

    def cancel(self, entry: Entry, force: bool, recursive: bool) -> None:
        self.owner.cancelling.cancel(entry, force, recursive)

    def pin(self, entry: Entry) -> None:
        """A ref was pickled outside of any message: it stays alive until the job ends."""
        if not self._pinned:
            warnings.warn(
                "a ref was pickled outside of a task's arguments, results and puts: its object stays in memory until shutdown()",
                RuntimeWarning,
                stacklevel=3,
            )
        self._pinned.append(entry)

    # -- facts -----------------------------------------------------------------------------------------------------

    def _resources(self) -> Sequence[Any]:
        nodes: Sequence[Any] = self.owner.questions.ask("resources")[0]
        return nodes

    def nodes(self) -> list[dict[str, Any]]:
        """A dict a node, as ``ray.nodes()``."""
        return [
            {
                "NodeID": node.hex(),
                "Alive": True,
                "alive": True,  # Ray's dicts have both
                "NodeName": Address(*address).reachable_at,
                "NodeManagerAddress": Address(*address).reachable_at,
                "NodeManagerHostname": hostname,
                "Resources": whole(totals),
                "Labels": dict(labels),
            }
            for node, totals, _, labels, address, hostname in self._resources()
        ]

    def here(self) -> dict[str, Any] | None:
        """Of ``nodes()``, that of this process; None: a driver that is on none of them."""
        own = self.owner.node.hex()
        return next((node for node in self.nodes() if node["NodeID"] == own), None)

    def cluster_resources(self) -> dict[str, float]:
        return whole(_sum(row[1] for row in self._resources()))

    def available_resources(self) -> dict[str, float]:
        # A lane is kept for a while when its last task is done, but whoever wants what it has gets it at once.
        kept = self.owner.tasks.kept()
        rows = self._resources()
        most = whole(_sum(row[1] for row in rows))
        free = whole(_sum([*(row[2] for row in rows), *kept]))
        found = {name: min(n, most.get(name, n)) for name, n in free.items()}
        # Placement leases nothing of a store; what the objects of this node have is known here.
        if any(row[0] == self.owner.node for row in rows):
            found["object_store_memory"] -= self.owner.values.store.figures.used
        return {name: n for name, n in found.items() if n > 0}

    def scale(self, n: float) -> None:
        """See ``nbray.scale``."""
        cluster = self._scalable("scale")
        self.bounds = None
        if cluster is None:
            units = round(n * RESOURCE_UNIT)
            self.owner.questions.ask("resize", units, units)
        else:
            cluster.scale(n)

    def adapt(self, least: float, most: float) -> None:
        """See ``nbray.adapt``."""
        cluster = self._scalable("adapt")
        if cluster is None:
            self.owner.questions.ask("resize", round(least * RESOURCE_UNIT), round(most * RESOURCE_UNIT))
        else:
            cluster.adapt(minimum=least, maximum=most)
        self.bounds = (least, most)

    def _scalable(self, what: str) -> Any:
        """The Dask cluster that can grow; None for a pool of our own.

        Raises:
            RaySystemError: this process cannot have it changed.
        """
        if self.pool is None:
            raise RaySystemError(f"{what}() is for the process that called init(), not for tasks and actors")
        if self.pool.own or self.pool.cluster is not None:
            return self.pool.cluster
        raise RaySystemError(
            f"the Dask cluster at {self.pool.scheduler_address} was attached to by its address: use {what}() where it was "
            "started, or pass the Dask Cluster object to init()"
        )

    def context(self) -> dict[str, Any]:
        """Ids as hex strings, None where they do not apply."""
        executor = self.executor
        running = executor.current if executor is not None else None
        return {
            "job_id": self.owner.job.hex(),
            "node_id": self.owner.node.hex(),
            "worker_id": self.owner.process.hex(),
            "task_id": running.task_id.hex() if running is not None else None,
            "actor_id": executor.actor_id.hex() if executor is not None and executor.actor_id else None,
            "namespace": self.namespace,
        }

    def close(self) -> None:
        try:
            if self.executor is None:
                bars.end(self.owner)
            self.owner.close()
            if self.pool is not None:
                self.pool.close()
        finally:
            self.owner.feed.close()


def _sum(many: Any) -> list[tuple[str, int]]:
    totals: dict[str, int] = {}
    for each in many:
        for name, n in each:
            totals[name] = totals.get(name, 0) + n
    return list(totals.items())


def whole(units: Any) -> dict[str, float]:
    return {name: n / RESOURCE_UNIT for name, n in units}


# -- current -----------------------------------------------------------------------------------------------------------


def current() -> Runtime:
    """This process' runtime; starts a local pool if there is none.

    Raises:
        RaySystemError: in a process that was forked off one that uses nbray, or that is ending.
    """
    runtime = _current
    if runtime is not None:
        return runtime
    if _exiting:
        stop_if_daemon()
        raise RaySystemError("the interpreter is ending, and with it nbray's session has ended")
    init()
    assert _current is not None
    return _current


def current_for(refs: Sequence[Entry]) -> Runtime:
    """The runtime of refs that there are already: never a new one.

    Raises:
        RaySystemError: their session has ended.
    """
    if _current is None and refs and not _forked and not _exiting:
        raise RaySystemError(
            "these refs belong to a session that shutdown() has ended, and so do their values"
        )
    return current()


def current_or_none() -> Runtime | None:
    return _current


def init(
    address: Any = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    namespace: str | None = None,
    env_vars: Mapping[str, str] | None = None,
    log_to_driver: bool = True,
    object_store_memory: int | None = None,
) -> Runtime:
    """Start a local pool, or attach to the Dask cluster at ``address``.

    Raises:
        RuntimeError: it runs already.
        RaySystemError: in a forked process.
    """
    global _current
    if _forked:
        raise RaySystemError(
            "this process was forked off one that uses nbray, whose connections cannot be shared; "
            "start it with multiprocessing's 'spawn', or use nbray in the parent only"
        )
    if sys.platform == "win32":
        raise RaySystemError("nbray runs on Linux and macOS; on Windows, use it inside WSL (wsl --install)")
    if _current is not None and _current.owner.abandoned:
        shutdown()  # its scheduler is gone: nothing of it can be used any more
    with _starting:
        if _current is not None:
            if threading.current_thread() is threading.main_thread() or address is not None:
                raise RuntimeError(
                    "nbray is initialized already; end it with shutdown(), or go on with it: ignore_reinit_error=True"
                )
            return _current
        _in_a_kernel()
        with _driver.no_collections():
            owner, pool = _driver.start(
                _entry_type,
                address,
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                resources=resources,
                labels=labels,
                namespace=namespace,
                env_vars=env_vars,
                object_store_memory=object_store_memory,
            )
        if not log_to_driver:
            owner.console.output = None
        elif _sink is not None:
            owner.console.output = _into(_sink, owner)
        _current = Runtime(owner, pool, None, env_vars or {})
        return _current


def _into(sink: Sink, owner: Owner) -> Callable[[Author, int, str, int, bytes], None]:
    def take(who: Author, stream: int, text: str, pid: int, node: bytes) -> None:
        sink(owner.console.prefix(who, pid, node), who, stream, text, pid, node)

    return take


def route(sink: Sink | None) -> None:
    """What tasks and actors print goes there, in this session and later ones; None: to the terminal."""
    global _sink
    _sink = sink
    runtime = _current
    if runtime is not None and runtime.executor is None and runtime.owner.console.output is not None:
        owner = runtime.owner
        owner.console.output = owner.console.show if sink is None else _into(sink, owner)


def _in_a_kernel() -> None:
    """In a notebook's kernel, output goes to its cell also without ``%load_ext nbray``."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    if _sink is None and kernel is not None and kernel.IPKernelApp.initialized():
        try:
            importlib.import_module("nbray_magics.routing").install()
        except ImportError:  # nbray alone was copied to somewhere: the terminal's way works here, too
            pass


def shutdown() -> None:
    """End the pool, or leave the one that was attached to. Idempotent."""
    global _current
    with _starting:
        runtime, _current = _current, None
    if runtime is not None and runtime.pid == os.getpid() and runtime.executor is None:
        runtime.close()


def _at_exit() -> None:
    global _exiting
    _exiting = True
    if _current is not None:
        _current.owner.exiting = True
        # A daemon thread between two steps of a call may still hear of the end; nobody else has to.
        tell = threading.excepthook
        threading.excepthook = lambda args: None if isinstance(args.exc_value, RaySystemError) else tell(args)
    shutdown()


atexit.register(_at_exit)


def _after_fork() -> None:
    global _current, _forked, _starting
    if _current is not None:
        _current, _forked, _starting = None, True, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def become_executor(executor: Executor) -> None:
    """This process is an executor from here on."""
    global _current
    _current = Runtime(executor.owner, None, executor, dict(executor.boot.env))


def entry_type() -> type[Entry]:
    return _entry_type
