"""Identifiers. Opaque bytes inside, hex strings at the public surface.

A process that owns objects has an 8-byte random id. An object's id is its owner's id followed by an 8-byte
big-endian sequence number, so the owner can be read off any id and ids never need coordination.
A task's id is the id of its first return value; an actor's id is the id of its entry at its creator.
"""

from __future__ import annotations

import os
from typing import NamedTuple, NewType

ProcessId = NewType("ProcessId", bytes)
NodeId = NewType("NodeId", bytes)
ObjectId = NewType("ObjectId", bytes)
ActorId = NewType("ActorId", bytes)
LeaseId = NewType("LeaseId", int)

PROCESS_ID_SIZE = 8
#: What the file names of copies of other nodes' objects begin with; the object's id follows.
COPY = "copy-"


def new_process_id() -> ProcessId:
    """A fresh random id. Must be called anew after a fork."""
    return ProcessId(os.urandom(PROCESS_ID_SIZE))


def new_node_id() -> NodeId:
    return NodeId(os.urandom(PROCESS_ID_SIZE))


def object_id(owner: ProcessId, sequence: int) -> ObjectId:
    return ObjectId(owner + sequence.to_bytes(8, "big"))


def owner_of(oid: bytes) -> ProcessId:
    return ProcessId(oid[:PROCESS_ID_SIZE])


def sequence_of(oid: bytes) -> int:
    return int.from_bytes(oid[PROCESS_ID_SIZE:], "big")


#: Returns of one call have consecutive sequence numbers, so calls are this far apart.
STRIDE = 1 << 20
#: Calls of generators have numbers of their own, from ``FIRST_STREAM`` on: a stream has up to ``STREAM_STRIDE - 1`` items.
FIRST_STREAM = 1 << 63
STREAM_STRIDE = 1 << 32


#: ``not sequence & EACH_64TH``: each 64th call.
EACH_64TH = 63 * STRIDE


def call_of(sequence: int) -> int:
    """The sequence number of the call that made an object."""
    return sequence - sequence % (STRIDE if sequence < FIRST_STREAM else STREAM_STRIDE)


class Address(NamedTuple):
    """Where a process listens. ``unix`` serves peers of the same node, ``tcp`` ("host:port", or "") all others."""

    process: bytes
    node: bytes
    unix: str
    tcp: str

    @property
    def host(self) -> str:
        """The machine's number or name in the network; "" if only peers of the same node are served."""
        return self.tcp.rpartition(":")[0]

    @property
    def reachable_at(self) -> str:
        """Where whoever can use this process reaches its machine."""
        return self.host or "127.0.0.1"
