"""What placement and the actors' directory want done. ``scheduling/plugin.py`` does it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from nbray.core.ids import ActorId, LeaseId, NodeId, ProcessId
from nbray.core.messages import Loss, Message, Spec


class Place(NamedTuple):
    """Start an executor for this lease on that node; with an actor, one that becomes its incarnation ``epoch``.

    ``gpus``: indices of the node's GPUs that are the lease's.
    """

    lease: LeaseId
    node: NodeId
    spec: Spec
    owner: ProcessId
    actor: ActorId | None
    epoch: int
    gpus: tuple[int, ...]


class End(NamedTuple):
    """The lease is over: let its executor go, or kill it."""

    lease: LeaseId
    node: NodeId
    kill: bool


class Tell(NamedTuple):
    to: ProcessId
    message: Message


class ActorLost(NamedTuple):
    """An incarnation ended, or could not be placed (kind "infeasible")."""

    actor: ActorId
    epoch: int
    loss: Loss


class Recheck(NamedTuple):
    """Call ``recheck(event)`` in that many seconds."""

    seconds: float
    event: tuple[Any, ...]


class Resized(NamedTuple):
    """The node has more or fewer CPUs than before."""

    node: NodeId


Effect: TypeAlias = "Place | End | Tell | ActorLost | Recheck | Resized"
