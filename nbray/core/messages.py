"""Every message between nbray's processes: its kind, and the layout of its tuple.

Messages are plain tuples (a frozen record costs six times as much on the per-call path), the kind first. The comment
beside a kind gives the remaining fields. Everything in them is what MessagePack carries: None, bool, int, float, str,
bytes, tuples and dicts of these. A *value* is one of the forms at the end of this file.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from nbray.core.labels import Selector

Message: TypeAlias = tuple[Any, ...]
WireValue: TypeAlias = "bytes | tuple[Any, ...]"

# --- peer channel: owner <-> executor, owner <-> owner -----------------------------------------------------------
ATTACH = 1        # lease id, job, namespace: what comes on this connection is for that lease
FUNCTION = 2      # function number, value that holds the pickled function, name, reloads: kept for this connection;
                  # reloads: ((module, stamp), ...), see owner/reloads.py
CALLS = 3         # [call, ...]; call = (sequence, function number or method name, payload, slots, returns, extra, origin);
                  # payload: value of (args, kwargs); slots: ((position or name, value), ...), arguments that were refs;
                  # returns: how many values, or STREAMING; extra: None, or a dict of what only few calls have;
                  # origin: opaque id of the notebook cell from which the call stems, "" for none
RESULT = 4        # sequence, status, [value, ...], duration in us, start time (float, unix)
RECALL = 5        # number of calls wanted back at most
RETURNED = 6      # [sequence, ...] not started and taken out of the queue, blocked: the running call waits for something;
                  # none and not blocked: it goes on
FETCH = 7         # object id, node or b"": the receiver owns it and answers with VALUE once it is ready; that node has lost it
VALUE = 8         # object id, value
HOLD = 9          # request number, [object id, ...], None or address: count holds for the sender, or for the way to who is there
HOLD_OK = 10      # request number
RELEASE = 11      # [(object id, n), ...]
ATTACH_ACTOR = 12  # actor id, epoch
CANCEL = 13       # sequence, force, recursive: that call, sent on this connection, is not wanted any more
OUTPUT = 14       # author, stream, text, pid, node id, end: whole lines that user code printed (stream 1 or 2) or showed (3, see
                  # executor/shown.py); author = (name, origin, task id or b"", process id); end: bytes of that stream
                  # of that process up to there, 0 for lines that are passed on for another process
EVENTS = 15       # [raw event, ...] for the driver's feed
PULL = 16         # request number, object id, file name, offset, length: send me that range of the file
CHUNK = 17        # request number, offset, bytes, total: the answer to a PULL (total = -1: no such object)
FREE = 18         # [(object id, file name), ...]: the owner gave these up, remove files and copies
ADOPT = 21        # [(object id, file name), ...]: their owner died, the sender gives them up in its place (to their node agent)
COPIED = 19       # object id, node id, serve address: that node made itself a copy (to the object's owner)
REPLICATE = 27    # object id, file name, serve address: make a copy of that file on your node, and answer with one of the two (to
                  # its node agent)
NOT_COPIED = 28   # object id, node id, why; or COPIED
CLAIM = 22        # [(object id, giver), ...]: what that process passed on to the sender has come (to the objects' owner)
SETTLE = 23       # giver: it is dead; tell me once you have read all that it sent you
SETTLED = 24      # giver: it is so, and I claimed what had come
INQUIRE = 25      # request number, [object id, ...]: what do you do, and how do these of your objects stand?
ACTIVITY = 26     # request number, what it does (an Activity of core/explaining.py, or None), [a Standing of each, ...]
REPORTS = 29      # [report, ...]: how far bars of user code are, see Report in bars/reports.py; on the way to the driver
CANCEL_OBJECT = 20  # object id, force, recursive: cancel the call that makes it (to the object's owner)
ITEM = 30         # sequence, index, value: the generator of that call has yielded it
TAKEN = 31        # sequence, n: the caller has taken n items so far
CLOSE = 32        # sequence: nobody wants more items of that call
LAST = 33         # [sequence, ...] not started and taken out of the queue; the running call is the last that this process runs

# --- control channel: executor <-> its node agent ------------------------------------------------------------------
READY = 40        # executor number, pid, address
LEASE = 41        # lease id, owner process, resources (as in a Spec): you are that lane now
UNLEASE = 42      # lease id
HOST = 43         # actor id, epoch, creation (opaque bytes), resources: become that actor
HOSTED = 44       # actor id, epoch, None or pickled failure: __init__ has ended
UP = 45           # message for placement from the owner in this executor
DOWN = 46         # message from placement for the owner in this executor
RETIRE = 47       # finish what is queued, leave once nobody needs what you own
SPENT = 50        # it has run its last call, answers once it is told to RETIRE, and leaves after UNLEASE
LEAVING = 49      # reason: this process ends itself on purpose (exit_actor), its exit is no crash

# --- uplink: owner -> placement ("op", fields...) -----------------------------------------------------------------
# ("want", spec, n, parent, priority)    n leases of that shape are wanted and not yet granted (absolute, idempotent).
#                                        parent: the lease id under which the asking task runs, or None;
#                                        priority: the highest of the calls that wait for them
# ("give", lease id)                     the owner is done with the lease
# ("abandon", lease id)                  so it is, and its executor does not react any more: it is killed
# ("lend", lease id, name, awaits, certain)  the lane's task blocks: its resources are others' meanwhile. name: of its function;
#                                        awaits: names of the calls that it waits for; certain: nothing but these can end it
# ("unlend", lease id)                   it goes on
# ("actor_new", actor id, spec, creation, options)    options: dict, see core/directory.py
# ("actor_kill", actor id, no_restart) / ("actor_drop", actor id) / ("actor_watch", actor id)
# ("actor_claim", request, actor id, name, namespace, handle bytes)   answered with ("named", ...): who has the name now
# ("actor_named", request, name, namespace)           answered with ("named", request, actor id or None, handle bytes or None)
# ("resources", request)                 answered with ("resources", request, ((node, totals, free, labels, address, hostname),
#                                        ...))
# ("supply", request)                    answered with ("supply", request, nodes, leases, actors without a place): the fields of
#                                        a Supply of core/explaining.py
# ("actors", request)                    answered with ("actors", request, ((id, class, name, namespace, state, epoch, owner,
#                                        address, reason), ...))
# ("resize", request, least, most)       a local pool's node has so many units of CPU, or as many in between as are needed;
#                                        answered with ("resized", request)
# ("hello", grows)                       a driver is there; grows: it knows that the cluster scales by itself
# ("watch_process", process id)                       answered with ("processes_gone", [id]) once it is gone
#
# --- placement -> owner --------------------------------------------------------------------------------------------
# ("granted", lease id, spec, address)
# ("reclaim", n)                         somebody waits: give back up to n idle leases now, busy ones when they fall idle;
#                                        absolute, 0: nobody waits any more
# ("infeasible", spec, text)             no node can ever hold it
# ("unmet", spec, actor id or None, text)     to the driver: no node can hold it, and it waits for the cluster to grow
# ("full", spec, text)                   no process can be had for one more lane, and all there are wait: the next call fails
# ("lost", lease id, reason)             reason: see Loss
# ("actor", actor id, state, epoch, address or None, reason or None)   state: pending, alive, restarting, dead
# ("processes_gone", [process id, ...])
# ("node", node id, state, resources, address)        state: "up" or "down"
# ("sampled", node id, figures, leased)                figures: as in executor/upkeep.py; leased: units by resource

# A lease's shape: (resources, environment, where). resources = ((name, units), ...) sorted by name, in 1/10000 of a CPU, GPU or
# custom resource; environment = ((variable, value), ...) sorted; where = the rules for the node's labels, see core/labels.py.
Spec: TypeAlias = "tuple[tuple[tuple[str, int], ...], tuple[tuple[str, str], ...], Selector]"
RESOURCE_UNIT = 10_000

# Why a process or node went: (kind, text, pid, signal or exit code, tail of stderr).
# kind: "exit", "signal", "node", "killed" (asked for by nbray or the user), "memory" (the node ran out of it),
# "init" (an actor's __init__ raised; text is a pickled failure as bytes), "name" (it is taken), "infeasible",
# "dropped" (no handle left), "owner" (its owner died)
Loss: TypeAlias = "tuple[str, str | bytes, int, int, str]"

# The text with which an actor that called exit_actor() is "killed".
EXIT_ACTOR = "exit_actor"

# In the place of a call's number of returns: it is a generator's, its values come as ITEMs and its RESULT has one more, None.
STREAMING = -1

# --- result status -------------------------------------------------------------------------------------------------
OK = 0
FAILED = 1        # user code raised; values = [(ERROR, pickle)] once, then what a generator yielded for the first returns
CANCELLED = 2     # values = [(ERROR, pickle)] once, or [] if it did not run
LOST = 3          # an argument could not be had, so the call has not run; values = [(object id, node that had it)] once

# --- values --------------------------------------------------------------------------------------------------------
# bytes                                                  a pickle without refs
INLINE = 1        # pickle, (buffer, ...), refs
SHARED = 2        # object id, node id, file name, size, layout, serve address, refs; of a put also: addresses of its replicas
ERROR = 3         # pickle of (exception, traceback text, ...), see wire/errors.py; and refs, if it contains any
# refs: ((object id, owner address, value or None, held), ...) — the refs that the pickle contains, in any order.
# held: True: the sender owns it, and has counted a hold for the receiver; the sender's process id: the owner has, for the way
# from there to here; False: the receiver has to ask for one.
