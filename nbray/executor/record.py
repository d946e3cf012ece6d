"""What a node knows of one executor, from the wish for it until its end."""

from __future__ import annotations

import asyncio

from nbray.channel.connection import Connection
from nbray.core.ids import Address
from nbray.core.messages import Loss, Message
from nbray.executor.loss import loss_of
from nbray.executor.pool import Shape


class Record:
    """
    Attributes:
        number: which executor of the node.
        shape: what was fixed at its fork.
        ready: done with its address once it has reported, failed if it never will.
        pid: 0 until the template or the executor has told.
        process: its owner's process id; empty until it is ready, like ``address`` and ``connection``.
        early: messages that wait for the connection.
        lease: what it works for; None while it is idle or after the lease has ended.
        served: the last lease that it had.
        since: when it got the lease.
        actor: it is, or becomes, an actor.
        killed: why nbray sent it SIGKILL. memory: because the node ran out of memory.
        leaving: why it said that it would leave.
        retired: it was asked to leave.
        status: wait status, once it has ended.
    """

    __slots__ = (
        "number", "shape", "ready", "pid", "process", "address", "connection", "early", "lease", "served", "since",
        "actor", "killed", "memory", "leaving", "retired", "status",
    )  # fmt: skip

    def __init__(self, number: int, shape: Shape, ready: asyncio.Future[Address]) -> None:
        self.number = number
        self.shape = shape
        self.ready = ready
        self.pid = 0
        self.process = b""
        self.address: Address | None = None
        self.connection: Connection | None = None
        self.early: list[Message] = []
        self.lease: int | None = None
        self.since = 0.0
        self.actor = False
        self.served: int | None = None
        self.killed: str | None = None
        self.memory = False
        self.leaving: str | None = None
        self.retired = False
        self.status: int | None = None

    @property
    def usable(self) -> bool:
        """Whether it can serve another lease."""
        return self.killed is None and self.leaving is None and not self.retired and self.status is None

    def loss(self, tail: str) -> Loss:
        """Why it went; it must have ended. ``tail``: the end of its stderr."""
        assert self.status is not None
        leaving = "retired" if self.leaving is None and self.retired and self.status == 0 else self.leaving
        return loss_of(self.status, self.pid, tail, killed=self.killed, leaving=leaving, memory=self.memory)
