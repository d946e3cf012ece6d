"""One owner alone, and what others say to it."""

from __future__ import annotations

import errno
import gc
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbray import _options
from nbray.core import messages as m
from nbray.core.ids import Address, new_process_id, object_id
from nbray.core.ownership import Entry
from nbray.owner.guards import Guard, Hold
from nbray.owner.owner import Owner

NODE = b"the-node"
PEER = Address(new_process_id(), NODE, "/nowhere/peer", "")


class Line:
    """A connection of which only the other end matters: what was said on it."""

    def __init__(self, process: bytes = PEER.process) -> None:
        self.said: list = []
        self.closed = False
        self.peer = Address(process, NODE, "", "")

    def send(self, message: tuple) -> None:
        self.said.append(message)


@pytest.fixture
def owner(tmp_path: Path):
    (tmp_path / "o").mkdir()
    made = Owner(
        process=new_process_id(),
        node=NODE,
        secret=bytes(32),
        store_dir=str(tmp_path / "o"),
        socket_path=os.path.relpath(tmp_path / "s"),
        tcp_host="",
        entry_type=Entry,
        send_up=lambda message: made.up.append(message),
    )
    made.up = []
    yield made
    made.close()


def told(owner: Owner, line: Line, *message: object) -> None:
    with owner.lock:
        owner.peers.message(line, message)


def borrowed(owner: Owner, sequence: int = 5) -> Entry:
    """An entry of the peer's that this process holds."""
    with owner.lock:
        entry = Entry(PEER.process, sequence, PEER)
        entry.guard = Guard()
        entry.guard.hold = Hold(owner.garbage, entry.id, PEER)
        entry.guard.hold.count = 1
        owner.canonical[entry.id] = entry
    return entry


def exported(owner: Owner) -> Entry:
    entry = owner.put(bytes(5000))
    with owner.lock:
        owner.passing.export([entry], PEER.process)
    return entry


# --- objects of others -------------------------------------------------------------------------------------------------


def test_a_value_is_asked_of_its_owner_only(owner):
    entry = exported(owner)
    line = Line()
    told(owner, line, m.FETCH, object_id(PEER.process, entry.sequence), b"")
    ((_, oid, value),) = line.said
    assert owner.values.error(value).args[0].count("is gone")
    told(owner, line, m.FETCH, entry.id, b"")
    assert line.said[1][1:] == (entry.id, entry.value)


def test_a_hold_of_anothers_object_counts_nothing_here(owner):
    entry = exported(owner)
    line = Line()
    told(owner, line, m.HOLD, 1, [object_id(PEER.process, entry.sequence)], None)
    assert owner.holds.holders(entry.sequence) == {PEER.process: 1}
    assert line.said == [(m.HOLD_OK, 1)]
    told(owner, line, m.HOLD, 2, [entry.id], None)
    assert owner.holds.holders(entry.sequence) == {PEER.process: 2}


def test_a_release_of_anothers_object_releases_nothing_here(owner):
    entry = exported(owner)
    told(owner, Line(), m.RELEASE, [(object_id(PEER.process, entry.sequence), 1)])
    assert owner.holds.holders(entry.sequence) == {PEER.process: 1}
    told(owner, Line(), m.RELEASE, [(entry.id, 1)])
    assert not owner.holds


def test_more_is_never_released_than_was_held(owner):
    entry = exported(owner)
    for _ in range(3):
        told(owner, Line(), m.RELEASE, [(entry.id, 1)])
    assert not owner.holds
    owner.holds.validate()


# --- calls that wait ---------------------------------------------------------------------------------------------------


def task(owner: Owner, *args: object):
    function = owner.calls.function(len, "len")
    return owner.tasks.submit(function, args, {}, _options.task_options({}))


def wants(owner: Owner) -> int:
    return sum(message[0] == "want" for message in owner.up)


@pytest.mark.parametrize("road", ["a ref in a message", "a ref being unpickled"])
def test_a_call_goes_on_when_its_argument_comes_inside_another_message(owner, road):
    entry = borrowed(owner)
    refs = task(owner, entry)
    assert not wants(owner)
    ref = (entry.id, tuple(PEER), pickle.dumps("late"), False)
    if road == "a ref in a message":
        with owner.lock:
            owner.passing.import_value((m.INLINE, b"", (), (ref,)), own=False)
    else:
        with owner.lock:
            owner.passing.received(ref)
    assert wants(owner) == 1
    del refs


# --- out of descriptors ------------------------------------------------------------------------------------------------


def test_without_descriptors_what_is_to_be_said_is_said_later(owner, monkeypatch):
    line = Line()
    there: list = []

    def connect(address):
        if not there:
            raise OSError(errno.EMFILE, "too many open files")
        return line

    monkeypatch.setattr(owner.reactor, "connect", connect)
    first, second = borrowed(owner, 5), borrowed(owner, 6)
    owner.borrowing.fetch([first])
    del second
    gc.collect()
    owner.collect()
    owner.tick()
    assert line.said == []
    there.append(True)
    owner.tick()
    assert line.said == [(m.FETCH, first.id, b""), (m.RELEASE, [(object_id(PEER.process, 6), 1)])]
    owner.tick()
    assert len(line.said) == 2


def test_without_descriptors_an_actor_is_asked_for_again(owner, monkeypatch):
    actor = SimpleNamespace(id=object_id(PEER.process, 7), owner=PEER, owner_id=PEER.process)

    def connect(address):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(owner.reactor, "connect", connect)
    monkeypatch.setattr("nbray.owner.actors.LIMBO_LIMIT", -1.0)
    with owner.lock:
        machine = owner.actors.machine(actor)
    owner.notice(("actor", actor.id, "alive", 0, tuple(PEER), None))
    asked = owner.up.count(("actor_watch", actor.id))
    owner.tick()
    assert owner.up.count(("actor_watch", actor.id)) == asked + 1
    monkeypatch.undo()
    owner.notice(("actor", actor.id, "alive", 0, tuple(PEER), None))
    assert machine.peer is not None


# --- actors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["dead", "restarting"])
def test_answers_that_lie_unread_when_an_actor_is_gone_count(owner, monkeypatch, state):
    line = Line()
    monkeypatch.setattr(owner.reactor, "connect", lambda address: line)
    actor = SimpleNamespace(id=object_id(PEER.process, 7), owner=PEER, owner_id=PEER.process)
    with owner.lock:
        owner.actors.machine(actor)
    owner.notice(("actor", actor.id, "alive", 0, tuple(PEER), None))
    (ref,) = owner.actors.call(
        actor, "m", (), {}, _options.call_options({}, _options.CallOptions(1, 0, False, None)), "A"
    )
    answer = (m.RESULT, ref.sequence, m.OK, [pickle.dumps(5)], 1, 0.0)
    line.drain = lambda: owner.peers.message(line, answer)
    reason = ("signal", "SIGKILL", 1, 9, "")
    owner.notice(("actor", actor.id, state, 0 if state == "dead" else 1, None, reason))
    assert owner.waiting.get([ref]) == [5]
