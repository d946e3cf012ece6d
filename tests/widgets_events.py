"""Raw events for the tests of views, written short."""

from __future__ import annotations

from nbray.events import ACTOR, PROCESS, TASK_DISPATCHED, TASK_FINISHED, TASK_SUBMITTED, RawEvent

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
