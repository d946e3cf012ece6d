"""Under which address other machines know this one."""

from __future__ import annotations

import socket

import nbray

#: Any address outside: where a packet to it would leave says which of our addresses counts. Nothing is sent.
_OUTSIDE = "8.8.8.8:53"


def get_node_ip_address(address: str | None = None) -> str:
    """The address of this machine from where ``address`` is; 127.0.0.1 without a network.

    On a node of a session, and with no ``address``, it is the node's own: its ``NodeManagerAddress`` in ``nodes()``, and what
    follows ``node:`` in the resource by which tasks are sent to it.

    Args:
        address: "host:port" of another machine (default: one on the internet, to which nothing is sent).
    """
    if address is None and nbray.is_initialized():
        here = nbray.get_runtime_context().get_node_id()
        for node in nbray.nodes():
            if node["NodeID"] == here:
                return str(node["NodeManagerAddress"])
    host, _, port = (address or _OUTSIDE).rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))
            own: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return own
