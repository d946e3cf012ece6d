"""What travels over Dask's streams, and how fast.

=================  ===================  =========================================================
op                 from -> to           fields
=================  ===================  =========================================================
``UP``             client -> scheduler  ``process`` (its owner's id), ``message`` for placement
``DOWN``           scheduler -> client  ``process``, ``message`` from placement
``REPORT``         agent -> scheduler   ``message``: one of the reports below
``ORDER``          scheduler -> agent   ``message``: one of the orders below
=================  ===================  =========================================================

Dask's own codec keeps tuples and bytes as they are over TCP, and over ``inproc://`` nothing is encoded at all.
"""

from __future__ import annotations

from typing import Any

UP, DOWN, REPORT, ORDER = "nbray-up", "nbray-down", "nbray-report", "nbray-order"

# Reports of an agent: (kind, fields...)
# node id, address, the machine's name, totals in units or None (then what Dask's worker has), bytes of its store, labels, lanes
# at most
NODE_UP = "node_up"
GRANTED = "granted"  # lease, address: its executor is ready
REFUSED = "refused"  # lease, loss: its executor could not be started
HOSTED = "hosted"  # actor, epoch, address, None or pickled failure: ``__init__`` has ended
EXITED = "exited"  # lease or None, process, loss
OUTPUT = "output"  # owner process, pid, node id, [Rest, ...]: what an executor that is gone had printed last
SAMPLED = "sampled"  # figures of the node, see executor/upkeep.py
PASS_UP = "pass_up"  # process, message: from an executor's owner

# Orders to an agent
END = "end"  # lease, kill
RETIRE = "retire"  # lease
WATCH = "watch"  # seconds for which the node's figures are wanted
OWNER_GONE = (
    "owner_gone"  # process, driver: it is dead, and what large objects it has on this node are nobody's
)
PASS_DOWN = "pass_down"  # process, message: for an executor's owner

#: The RPC by which drivers and agents join: answers {"secret", "version", "python"}.
JOIN = "nbray_join"
PLUGIN, AGENT = "nbray", "nbray-agent"

#: Seconds that Dask collects messages for. Its own 2 to 10 ms are for bulk traffic, here a grant waits for each hop.
INTERVAL = 0.0005


def hasten(batched: Any) -> None:
    """Let a ``BatchedSend`` send almost at once."""
    batched.interval = min(batched.interval, INTERVAL)
