"""Under which address other machines know this one."""

from __future__ import annotations

import socket

#: Any address outside: where a packet to it would leave says which of our addresses counts. Nothing is sent.
_OUTSIDE = "8.8.8.8:53"


def get_node_ip_address(address: str | None = None) -> str:
    """The address of this machine from where ``address`` is; 127.0.0.1 without a network.

    Args:
        address: "host:port" of another machine (default: one on the internet, to which nothing is sent).
    """
    host, _, port = (address or _OUTSIDE).rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))
            own: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return own
