"""Placement inside Dask's scheduler: the shell around ``core/placement.py``, ``core/directory.py`` and ``core/census.py``.

Everything runs on the scheduler's loop. A handler of ours must not raise: Dask would close the link it came from.
"""

from __future__ import annotations

import asyncio
import logging
import math
import platform
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from distributed import SchedulerPlugin
from distributed.comm.addressing import get_address_host

from nbray.core import directory as actors
from nbray.core.census import Census
from nbray.core.directory import ActorDirectory
from nbray.core.effects import ActorLost, End, Place, Recheck, Resized, Tell
from nbray.core.ids import ActorId, Address, LeaseId, NodeId, ProcessId, owner_of
from nbray.core.labels import NODE_ID, Rule
from nbray.core.ledger import HEAD_NODE, NODE_ITSELF, Block
from nbray.core.messages import RESOURCE_UNIT, Loss, Message, Spec
from nbray.core.placement import Placement
from nbray.scheduling import lease as tasks
from nbray.scheduling import streams

logger = logging.getLogger("nbray.placement")

#: Seconds for which a cluster counts as one that scales by itself, after its scaling has last asked what is needed.
_SCALES = 60.0

#: Delivers a message to one process.
Deliver = Callable[[Message], None]


class PlacementPlugin(SchedulerPlugin):
    """
    Args:
        secret: the cluster's; later drivers and the agents get it from here.
        fixed: the pool cannot grow, so what no node can ever hold is refused at once.
    """

    name = streams.PLUGIN
    idempotent = True

    def __init__(self, secret: bytes, fixed: bool = False) -> None:
        self.secret = secret
        self.fixed = fixed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.secret, self.fixed)

    def __repr__(self) -> str:
        return "<nbray's placement>"

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.placement = Placement(self.fixed)
        self.directory = ActorDirectory()
        self.census = Census()
        self._loop = asyncio.get_running_loop()
        self._routes: dict[ProcessId, Deliver] = {}
        self._drivers: dict[
            ProcessId, str
        ] = {}  # and the Dask client through which they came, "" for this process
        self._workers: dict[NodeId, str] = {}
        self._hostnames: dict[NodeId, str] = {}
        self._nodes: dict[str, NodeId] = {}
        self._homes: dict[str, set[ProcessId]] = {}  # executors by worker
        self._keys: dict[str, LeaseId] = {}
        self._lease_keys: dict[LeaseId, str] = {}
        self._settling = False
        self._scaled = -math.inf  # when Dask's adaptive scaling last asked what is needed
        self._watched_until = 0.0
        scheduler.stream_handlers[streams.UP] = self._heard_client
        scheduler.stream_handlers[streams.REPORT] = self._heard_agent
        scheduler.handlers[streams.JOIN] = self._join
        scheduler.handlers["adaptive_target"] = self._adaptive_target

    # --- who comes and goes ----------------------------------------------------------------------------------------
    def connect(self, process: bytes, deliver: Deliver) -> None:
        """A driver in this very process: what is for it goes to ``deliver``, on this loop."""
        self._drivers[ProcessId(process)] = ""
        self._welcome(ProcessId(process), deliver)
        self._settle()

    def receive(self, process: bytes, message: Message) -> None:
        """A message of an owner. Whatever is wrong with it is logged."""
        try:
            self._dispatch(ProcessId(process), message)
        except Exception:
            logger.exception("could not serve %r of process %s", message[:1], process.hex())
        self._settle()

    def _join(self) -> dict[str, Any]:
        return {"secret": self.secret, "version": version("nbray"), "python": platform.python_version()}

    def _heard_client(self, client: str, process: bytes, message: Message) -> None:
        owner = ProcessId(process)
        if owner not in self._routes and client in self.scheduler.client_comms:
            comm = self.scheduler.client_comms[client]
            streams.hasten(comm)
            self._drivers[owner] = client
            self._welcome(
                owner, lambda message: comm.send({"op": streams.DOWN, "process": process, "message": message})
            )
        self.receive(process, message)

    def _welcome(self, driver: ProcessId, deliver: Deliver) -> None:
        self._routes[driver] = deliver
        self.census.born(driver)
        for node in self.placement.ledger.nodes.values():
            deliver(("node", node.id, "up", tuple(node.totals.items()), node.address))

    def remove_client(self, scheduler: Any, client: str) -> None:
        for driver in [driver for driver, via in self._drivers.items() if via == client]:
            self._process_gone(driver)
        self._settle()

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        node = self._nodes.pop(worker, None)
        if node is None:
            return
        del self._workers[node], self._hostnames[node]
        self.placement.remove_node(node, f"node {node.hex()[:8]} ({worker}) is gone")
        for process in self._homes.pop(worker, set()):
            self._process_gone(process)
        self._settle()
        self._tell_drivers(("node", node, "down", (), None))

    def _process_gone(self, process: ProcessId, home: str = "") -> None:
        driver = self._drivers.pop(process, None) is not None
        for worker in self._nodes:
            if worker != home:  # whose agent was the first to know
                self._order(worker, (streams.OWNER_GONE, process, driver))
        self._routes.pop(process, None)
        for watcher in self.census.gone(process):
            self._tell(watcher, ("processes_gone", (process,)))
        self.directory.process_gone(process)
        self.placement.process_gone(process)

    # --- what agents report ------------------------------------------------------------------------------------------
    def _heard_agent(self, worker: str, message: Message) -> None:
        try:
            kind, *fields = message
            getattr(self, f"_agent_{kind}")(worker, *fields)
        except Exception:
            logger.exception("could not serve %r of the agent at %s", message[:1], worker)
        self._settle()

    def _agent_node_up(
        self,
        worker: str,
        node: bytes,
        address: tuple[Any, ...],
        hostname: str,
        totals: dict[str, int] | None,
        store: int,
        labels: dict[str, str],
        most: int,
    ) -> None:
        state = self.scheduler.workers.get(worker)
        if state is None:
            return
        streams.hasten(self.scheduler.stream_comms[worker])
        if totals is None:
            totals = units({"CPU": state.nthreads, "memory": state.memory_limit, **state.resources})
        itself = {NODE_ITSELF + Address(*address).reachable_at: RESOURCE_UNIT}
        if get_address_host(worker) == get_address_host(self.scheduler.address):
            itself[HEAD_NODE] = RESOURCE_UNIT
        totals = {**totals, **units({"object_store_memory": store}), **itself}
        self._hostnames[NodeId(node)] = hostname
        self._workers[NodeId(node)] = worker
        self._nodes[worker] = NodeId(node)
        self._homes.setdefault(worker, set())
        self.placement.add_node(NodeId(node), totals, {**labels, NODE_ID: node.hex()}, address, most)
        self._tell_drivers(("node", node, "up", tuple(totals.items()), address))
        if self._loop.time() < self._watched_until:
            self._order(worker, (streams.WATCH, self._watched_until - self._loop.time()))

    def _agent_sampled(self, worker: str, sample: tuple[Any, ...]) -> None:
        node = self.placement.ledger.nodes.get(self._nodes[worker])
        if node is not None:
            used = tuple((name, n - node.free.get(name, 0)) for name, n in node.totals.items())
            self._tell_drivers(("sampled", node.id, sample, used))

    def _agent_granted(self, worker: str, lease: LeaseId, address: tuple[Any, ...]) -> None:
        self._settled_in(worker, ProcessId(address[0]))
        self.placement.granted(lease, address)

    def _agent_refused(self, worker: str, lease: LeaseId, loss: Loss) -> None:
        self.placement.exited(lease, loss)

    def _agent_hosted(
        self, worker: str, actor: ActorId, epoch: int, address: tuple[Any, ...], failure: bytes | None
    ) -> None:
        if failure is None:
            self.directory.alive(actor, epoch, address)
        else:
            self.directory.exited(actor, epoch, ("init", failure, 0, 0, ""))

    def _agent_exited(self, worker: str, lease: LeaseId | None, process: bytes, loss: Loss) -> None:
        if lease is not None:
            self.placement.exited(lease, loss)
            self._settle()
        self._homes.get(worker, set()).discard(ProcessId(process))
        self._process_gone(ProcessId(process), worker)

    def _agent_output(
        self, worker: str, owner: bytes, pid: int, node: bytes, rest: list[tuple[Any, ...]]
    ) -> None:
        self._tell(ProcessId(owner), ("output", pid, node, [tuple(each) for each in rest]))

    def _agent_pass_up(self, worker: str, process: bytes, message: Message) -> None:
        self._settled_in(worker, ProcessId(process))
        self._dispatch(ProcessId(process), message)

    def _settled_in(self, worker: str, process: ProcessId) -> None:
        """An executor is heard of: note how it is reached."""
        if process not in self._routes and worker in self._homes:
            self._homes[worker].add(process)
            self._routes[process] = partial(self._order_down, worker, process)
            self.census.born(process)

    def _order_down(self, worker: str, process: ProcessId, message: Message) -> None:
        self._order(worker, (streams.PASS_DOWN, process, message))

    # --- what owners say -------------------------------------------------------------------------------------------
    def _dispatch(self, process: ProcessId, message: Message) -> None:
        op, *fields = message
        getattr(self, f"_op_{op}")(process, *fields)

    def _op_hello(self, process: ProcessId, grows: bool = False) -> None:
        """A driver's first words, so that placement knows it. ``grows``: it knows that the cluster scales by itself."""
        if grows:
            self._scaled = math.inf

    def _op_want(
        self, process: ProcessId, spec: Any, n: int, parent: LeaseId | None, priority: int = 0
    ) -> None:
        self.placement.want(process, _spec(spec), n, parent, priority)

    def _op_give(self, process: ProcessId, lease: LeaseId) -> None:
        self.placement.give(process, lease)

    def _op_abandon(self, process: ProcessId, lease: LeaseId) -> None:
        self.placement.give(process, lease, kill=True)

    def _op_lend(
        self, process: ProcessId, lease: LeaseId, name: str, awaits: tuple[str, ...], certain: bool
    ) -> None:
        self.placement.lend(process, lease, Block(name, tuple(awaits), certain))

    def _op_unlend(self, process: ProcessId, lease: LeaseId) -> None:
        self.placement.unlend(process, lease)

    def _op_actor_new(
        self, process: ProcessId, actor: ActorId, spec: Any, creation: bytes, options: Mapping[str, Any]
    ) -> None:
        options = dict(options)
        if "held" in options:
            options["held"] = _spec(options["held"])
        self.directory.new(process, actor, _spec(spec), creation, options)

    def _op_actor_kill(self, process: ProcessId, actor: ActorId, no_restart: bool) -> None:
        self.directory.kill(actor, no_restart)

    def _op_actor_drop(self, process: ProcessId, actor: ActorId) -> None:
        self.directory.drop(actor)

    def _op_actor_watch(self, process: ProcessId, actor: ActorId) -> None:
        self.directory.watch(process, actor, creator_lives=owner_of(actor) in self.census)

    def _op_actor_claim(
        self, process: ProcessId, request: int, actor: ActorId, name: str, namespace: str, handle: bytes
    ) -> None:
        self.directory.claim(process, request, actor, name, namespace, handle)

    def _op_actor_named(self, process: ProcessId, request: int, name: str, namespace: str) -> None:
        self.directory.named(process, request, name, namespace)

    def _op_actors(self, process: ProcessId, request: int) -> None:
        listed = tuple(
            (record.id, record.class_name, record.name, record.namespace, record.state, record.epoch, record.owner,
             record.address, record.reason)
            for record in self.directory.records()
        )  # fmt: skip
        self._tell(process, ("actors", request, listed))

    def _op_resources(self, process: ProcessId, request: int) -> None:
        nodes = tuple(
            (
                node.id,
                tuple(node.totals.items()),
                tuple(node.free.items()),
                tuple(node.labels.items()),
                node.address,
                self._hostnames[node.id],
            )
            for node in self.placement.ledger.nodes.values()
        )
        self._tell(process, ("resources", request, nodes))

    def _op_resize(self, process: ProcessId, request: int, least: int, most: int) -> None:
        """A local pool's one node has so many units of CPU from now on, or as many in between as are needed."""
        for node in list(self.placement.ledger.nodes):
            self.placement.resize(node, least, most)
        self._settle()
        self._tell(process, ("resized", request))

    def _op_supply(self, process: ProcessId, request: int) -> None:
        ledger = self.placement.ledger
        nodes = tuple(
            (
                tuple(node.totals.items()),
                tuple(node.free.items()),
                node.full,
                node.most,
                tuple(node.labels.items()),
            )
            for node in ledger.nodes.values()
        )
        leases = tuple(
            (
                lease.owner,
                lease.actor or b"",
                self.directory.class_of(lease.actor) if lease.actor is not None else "",
                lease.has,
                lease.lent,
                lease.address or (),
            )
            for lease in ledger.leases.values()
        )
        self._tell(process, ("supply", request, nodes, leases, self.placement.actors_waiting()))

    def _op_watch_nodes(self, process: ProcessId, seconds: float) -> None:
        self._watched_until = self._loop.time() + seconds
        for worker in self._workers.values():
            self._order(worker, (streams.WATCH, seconds))

    def _op_watch_process(self, process: ProcessId, watched: ProcessId) -> None:
        if not self.census.watch(process, watched):
            self._tell(process, ("processes_gone", (watched,)))

    # --- effects ---------------------------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Carry out the machines' effects until there are none."""
        if self._settling:
            return
        self._settling = True
        try:
            while effects := [*self.directory.drain(), *self.placement.drain()]:
                self._carry_out(effects)
        except Exception:
            logger.exception("placement could not carry out its decisions")
        finally:
            self._settling = False

    def _carry_out(self, effects: list[Any]) -> None:
        places: dict[str, dict[str, tuple[Place, bytes]]] = {}
        ended: list[str] = []
        for effect in effects:
            if isinstance(effect, Place):
                worker, key, creation = self._prepare(effect)
                places.setdefault(worker, {})[key] = (effect, creation)
            elif isinstance(effect, End):
                ended += self._end(effect, places)
            elif isinstance(effect, Tell):
                self._tell(effect.to, effect.message)
            elif isinstance(effect, ActorLost):
                self.directory.exited(effect.actor, effect.epoch, effect.loss)
            elif isinstance(effect, Resized):
                node = self.placement.ledger.nodes.get(effect.node)
                if node is not None:
                    self._tell_drivers(("node", node.id, "up", tuple(node.totals.items()), node.address))
            elif isinstance(effect, actors.Acquire):
                self.placement.want_actor(effect.owner, effect.actor, effect.epoch, effect.asks, effect.holds)
            elif isinstance(effect, actors.Vacate):
                self.placement.end_actor(effect.actor)
            elif isinstance(effect, actors.Retire):
                self._retire(effect.actor)
            elif isinstance(effect, Recheck):
                self._loop.call_later(effect.seconds, self._recheck, effect.event)
            elif isinstance(effect, actors.Later):
                self._loop.call_later(effect.seconds, self._later, effect.event)
        if ended:
            tasks.release(self.scheduler, ended)
        for worker, leases in places.items():
            try:
                tasks.create(self.scheduler, worker, leases)
            except Exception as error:
                logger.exception("Dask takes no lease on %s", worker)
                for place, _ in leases.values():
                    self.placement.exited(place.lease, ("exit", f"no task for it: {error!r}", 0, 0, ""))

    def _prepare(self, place: Place) -> tuple[str, str, bytes]:
        key = tasks.key_of(place)
        self._keys[key] = place.lease
        self._lease_keys[place.lease] = key
        creation = b"" if place.actor is None else self.directory.creation_of(place.actor)
        return self._workers[place.node], key, creation

    def _end(self, end: End, places: dict[str, dict[str, tuple[Place, bytes]]]) -> list[str]:
        key = self._lease_keys.pop(end.lease)
        del self._keys[key]
        worker = self._workers.get(end.node)
        if worker is not None and key in places.get(worker, {}):
            del places[worker][key]  # never began
            if not places[worker]:
                del places[worker]
            return []
        if worker is not None:
            self._order(worker, (streams.END, end.lease, end.kill))
        return [key]

    def _retire(self, actor: ActorId) -> None:
        lease = self.placement.lease_of(actor)
        if lease is not None and lease.node.id in self._workers:
            self._order(self._workers[lease.node.id], (streams.RETIRE, lease.id))

    def _later(self, event: tuple[str, ActorId, int]) -> None:
        self.directory.later(event)
        self._settle()

    def _recheck(self, event: tuple[Any, ...]) -> None:
        self.placement.grows = self._loop.time() - self._scaled < _SCALES
        self.placement.recheck(event)
        self._settle()

    def _tell(self, process: ProcessId, message: Message) -> None:
        deliver = self._routes.get(process)
        if deliver is None:
            return
        try:
            deliver(message)
        except Exception:  # its link is closing: Dask tells us, or the agent does
            logger.debug("could not reach process %s", process.hex(), exc_info=True)

    def _tell_drivers(self, message: Message) -> None:
        for driver in list(self._drivers):
            self._tell(driver, message)

    def _order(self, worker: str, order: Message) -> None:
        self.scheduler.worker_send(worker, {"op": streams.ORDER, "message": order})

    # --- what Dask asks of plugins -----------------------------------------------------------------------------------
    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Somebody else ended a lease's task (``client.restart()``, a cancelled key, a worker that could not run it)."""
        if finish in ("memory", "erred", "forgotten") and key in self._keys:
            # Not from within the scheduler's transition.
            self._loop.call_soon(self._task_ended, key, finish)

    def _task_ended(self, key: str, finish: str) -> None:
        lease = self._keys.get(key)
        if lease is not None:
            self.placement.exited(lease, ("node", f"Dask ended the lease's task ({finish})", 0, 0, ""))
            self._settle()

    def _adaptive_target(self, target_duration: Any = None) -> int:
        """How many workers Dask's adaptive scaling should have: also what nbray uses and waits for."""
        self._scaled = max(self._scaled, self._loop.time())
        dask: int = self.scheduler.adaptive_target(target_duration)
        nodes = self.placement.ledger.nodes.values()
        most = {
            name: max(node.totals.get(name, 0) for node in nodes) for node in nodes for name in node.totals
        }
        missing = [
            math.ceil(n / most[name]) if most.get(name) else 1 for name, n in self.placement.demand().items()
        ]
        return max(dask, sum(bool(node.leases) for node in nodes) + max(missing, default=0))

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Workers that hold no lease may go when the cluster shrinks."""
        busy = {self._workers[node.id] for node in self.placement.ledger.nodes.values() if node.leases}
        return [worker for worker in workers if worker.address not in busy]


def units(resources: Mapping[str, float]) -> dict[str, int]:
    """Resources in ``RESOURCE_UNIT`` units, those that are zero left out."""
    return {name: n for name, value in resources.items() if (n := round(value * RESOURCE_UNIT))}


def _spec(spec: Any) -> Spec:
    """A spec as a key, whatever kinds of sequence it travelled as."""
    resources, environment, where = spec
    return (
        tuple((name, n) for name, n in resources),
        tuple((name, value) for name, value in environment),
        tuple(Rule(label, negated, tuple(values)) for label, negated, values in where),
    )
