"""Raw events for the tests of views, written short."""

from __future__ import annotations

from nbray.events import (
    ACTOR,
    NODE,
    NODE_SAMPLED,
    OBJECT,
    OBJECT_HELD,
    PRINTED,
    PROCESS,
    TASK_DISPATCHED,
    TASK_FINISHED,
    TASK_SUBMITTED,
    RawEvent,
)

DRIVER = b"driver-1"
LANE = b"executor"


def oid(sequence: int, owner: bytes = DRIVER) -> bytes:
    return owner + sequence.to_bytes(8, "big")


def submitted(
    sequence, name="work", *, owner=DRIVER, kind="task", actor="", parent="", needs=(), returns=1, time=10.0
):
    raw: RawEvent = (TASK_SUBMITTED, time, owner, sequence, name, kind, actor, parent, tuple(needs), returns)
    return raw


def dispatched(sequence, *, owner=DRIVER, time=11.0, attempt=0):
    return (TASK_DISPATCHED, time, owner, sequence, LANE, attempt)


def finished(sequence, state="done", *, owner=DRIVER, took=0.5, error="", time=12.0):
    return (TASK_FINISHED, time, owner, sequence, state, time - took, took, LANE, error)


def ran(sequence, name="work", **more):
    """A whole life."""
    owner = more.get("owner", DRIVER)
    return [
        submitted(sequence, name, **more),
        dispatched(sequence, owner=owner),
        finished(sequence, owner=owner),
    ]


def actor(key, class_name, state="alive", *, name="", reason=""):
    return (ACTOR, 10.0, key, class_name, name, state, 1, LANE, reason)


def process_down(process):
    return (PROCESS, 20.0, process, "down", "lane", 1234, b"node-id1", "killed")


def process_up(process, role="lane", pid=1234, node=b"node-id1"):
    return (PROCESS, 9.0, process, "up", role, pid, node, "")


def node(key=b"node-id1", state="up", *, cpus=2.0, host=""):
    return (NODE, 8.0, key, state, {"CPU": cpus} if state == "up" else {}, host)


def sampled(key=b"node-id1", *, time=10.0, cpu=1.5, memory=4 << 30, store=1 << 20, spilled=0, used=1.0):
    return (NODE_SAMPLED, time, key, cpu, memory, 8 << 30, store, 2 << 30, spilled, {"CPU": used})


def stored(key, size=1 << 20, *, state="stored", made="result", by="load", at=b"node-id1", time=10.0):
    return (OBJECT, time, key, state, size, at, made, by)


def gone(key, state="freed", at=b"node-id1"):
    return (OBJECT, 30.0, key, state, 0, at, "", "")


def held(key, *holders):
    return (OBJECT_HELD, 11.0, key, holders)


def printed(text, name="work", *, stream=1, process=LANE, pid=1234, time=10.0):
    return (PRINTED, time, "", "", name, stream, text, process, pid, b"node-id1")
