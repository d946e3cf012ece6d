"""What a new process of a node is told, and the frames that node agent and template exchange.

Everything goes over a socket pair that the new process finds as its descriptor 0, never through arguments or environment
variables, which other users of the machine can read: the secret is in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from nbray.core.ids import Address

ENTRY = "nbray._executor:run"

# --- node agent -> template ---------------------------------------------------------------------------------
BE_TEMPLATE = 1  # packed boot: the first frame of a template
BE_EXECUTOR = 2  # packed boot: the first frame of an executor that could not be forked (template -> executor)
FORK = 3  # packed boot
KILL = (
    4  # executor number, signal: to the executor and its process group; an executor that is gone is ignored
)
PING = 5  # nothing: are you there?

# --- template -> node agent ---------------------------------------------------------------------------------
STARTED = 20  # pid, "fork" or "spawn": everything is imported
FORKED = 21  # executor number, pid
REFUSED = 22  # executor number, text: the system gives no process
EXITED = 23  # executor number, wait status (os.waitstatus_to_exitcode)
PONG = 24  # nothing


class Boot(NamedTuple):
    """Everything a process of a node needs before it can reach its node agent.

    Attributes:
        number: which executor of this node; 0 is the template.
        parent: pid of the process that starts this one; once that is gone, this one ends.
        session_dir: the node's private directory (0700): sockets and ``log/<number>``.
        store_dir: the node's shared memory, see ``nbray/store``.
        node_id, secret, agent: the node, the cluster's secret, and the node agent's address.
        tcp_host: where to listen for other nodes; "" for a node that has no peers.
        sys_path, cwd: of the driver, so that an import finds there what it finds here.
        env: (variable, value) pairs to set over what was inherited. handed_on: those of them that what this process submits
            gets, too; the others everybody on this node has.
        gpus: indices of the node's GPUs that are for this process; in an executor that has settled, their names.
        threads: how many threads BLAS and OpenMP may use, where the user did not say.
        entry: "module:function" of the executor's main function, called with this.
    """

    number: int
    parent: int
    session_dir: str
    store_dir: str
    node_id: bytes
    secret: bytes
    agent: Address
    tcp_host: str
    sys_path: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...]
    handed_on: tuple[tuple[str, str], ...] = ()
    threads: int = 1
    gpus: tuple[int | str, ...] = ()
    entry: str = ENTRY

    def __repr__(self) -> str:
        return f"<Boot of executor {self.number}, node {self.node_id.hex()}>"

    @property
    def log_path(self) -> str:
        """Where descriptors 1 and 2 of the process go: of the template to this file, of an executor see ``outlet.py``."""
        return f"{self.session_dir}/log/{self.number or 'template'}"

    def pack(self) -> bytes:
        # Paths and variables may hold bytes that are no UTF-8; Python carries them as surrogates.
        packed: bytes = msgpack.packb(self, unicode_errors="surrogateescape")
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Boot:
        fields: dict[str, Any] = dict(
            zip(
                cls._fields,
                msgpack.unpackb(packed, use_list=False, unicode_errors="surrogateescape"),
                strict=True,
            )
        )
        return cls(**{**fields, "agent": Address(*fields["agent"])})
