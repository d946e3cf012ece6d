import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray.core.messages import CHUNK, PULL
from nbray.exceptions import ObjectLostError, ObjectStoreFullError, ProtocolError
from nbray.store import transfer
from nbray.store.segments import open_segment, path_of, remove_segment, write_segment
from nbray.store.transfer import Incoming, Outgoing, Pulls

ID = bytes(range(16))


@pytest.fixture
def here(tmp_path):
    (tmp_path / "here").mkdir()
    return str(tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return str(tmp_path / "there")


def write(directory, *parts):
    return write_segment(directory, ID, parts[0], parts[1:])


def answer(directory, message):
    """What a sender without memory says."""
    (chunk,) = Outgoing(message, directory).receive(message)
    return chunk


def carry(incoming, directory, choose=lambda messages: 0):
    """Take the messages to the sender and back, in the order that ``choose`` says, until there are none."""
    under_way = incoming.start()
    most = 0
    while under_way:
        most = max(most, len(under_way))
        message = under_way.pop(choose(under_way))
        under_way += incoming.receive(answer(directory, message))
    return most


@given(
    st.lists(st.binary(max_size=2000), min_size=1, max_size=5),
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_any_object_arrives_in_any_pieces_and_any_order(tmp_path_factory, parts, asked, sent, window, rng):
    here, there = (str(tmp_path_factory.mktemp(name)) for name in ("here", "there"))
    segment = write(there, *parts)
    incoming = Incoming(1, ID, segment.name, here, "copy", chunk=asked, window=window)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "CHUNK_SIZE", sent)
            most = carry(incoming, there, lambda messages: rng.randrange(len(messages)))
    finally:
        incoming.abandon()  # hypothesis may end an example in the middle
    assert incoming.finished and incoming.error is None
    assert most <= window
    pickle, buffers = open_segment(here, "copy", segment.size, segment.layout, ID)
    assert [pickle, *map(bytes, buffers)] == parts
    assert os.listdir(here) == ["copy"]


def test_one_sender_serves_all_ranges_and_says_when_it_is_done(here, there):
    segment = write(there, b"p", bytes(3_000_000))
    incoming = Incoming(7, ID, segment.name, here, "copy")
    (first,) = incoming.start()
    outgoing = Outgoing(first, there)
    asked = [first]
    while asked:
        assert not outgoing.finished
        for chunk in outgoing.receive(asked.pop(0)):
            assert chunk[:2] == (CHUNK, 7) and len(chunk[3]) <= 1 << 20
            asked += incoming.receive(chunk)
    assert outgoing.finished and incoming.finished


def test_an_object_that_is_removed_midway_still_arrives_whole(here, there):
    segment = write(there, b"p", bytes(3_000_000))
    incoming = Incoming(7, ID, segment.name, here, "copy")
    (first,) = asked = incoming.start()
    outgoing = Outgoing(first, there)
    remove_segment(there, segment.name)
    while asked:
        for chunk in outgoing.receive(asked.pop(0)):
            asked += incoming.receive(chunk)
    assert os.stat(path_of(here, "copy")).st_size == segment.size


@pytest.mark.parametrize("name", ["never-there", "../outside"])
def test_an_unknown_object_is_lost(here, there, name):
    incoming = Incoming(7, ID, name, here, "copy")
    (message,) = incoming.start()
    outgoing = Outgoing(message, there)
    (chunk,) = outgoing.receive(message)
    assert chunk == (CHUNK, 7, 0, b"", -1) and outgoing.finished
    assert incoming.receive(chunk) == []
    assert incoming.finished and isinstance(incoming.error, ObjectLostError)
    assert os.listdir(here) == []


def test_an_object_whose_file_has_become_another_ones_is_lost(here, there):
    segment = write_segment(there, bytes(16), b"p", [])
    incoming = Incoming(7, ID, segment.name, here, "copy")
    carry(incoming, there)
    assert isinstance(incoming.error, ObjectLostError)


def test_a_sender_that_loses_the_object_midway_leaves_nothing_here(here, there):
    segment = write(there, b"p", bytes(10_000))
    incoming = Incoming(7, ID, segment.name, here, "copy", chunk=1000, window=2)
    (first,) = incoming.start()
    asked = incoming.receive(answer(there, first))
    assert len(asked) == 2 and len(os.listdir(here)) == 1
    remove_segment(there, segment.name)
    assert incoming.receive(answer(there, asked[0])) == []
    assert isinstance(incoming.error, ObjectLostError) and os.listdir(here) == []
    assert incoming.receive(answer(there, asked[1])) == []


def test_repeated_and_late_chunks_change_nothing(here, there):
    segment = write(there, b"p", os.urandom(10_000))
    incoming = Incoming(7, ID, segment.name, here, "copy", chunk=1000, window=3)
    asked, chunks = incoming.start(), []
    while asked:
        chunk = answer(there, asked.pop(0))
        chunks.append(chunk)
        asked += incoming.receive(chunk)
        assert incoming.receive(random.choice(chunks)) == []
    assert incoming.finished and incoming.error is None
    assert [incoming.receive(chunk) for chunk in chunks] == [[]] * len(chunks)
    with open(path_of(here, "copy"), "rb") as copy, open(path_of(there, segment.name), "rb") as original:
        assert copy.read() == original.read()


@pytest.mark.parametrize("data", [b"", bytes(2000)])
def test_a_chunk_of_the_wrong_length_breaks_the_protocol(here, data):
    incoming = Incoming(7, ID, "name", here, "copy", chunk=1000)
    incoming.start()
    incoming.receive((CHUNK, 7, 0, data, 5000))
    assert isinstance(incoming.error, ProtocolError) and os.listdir(here) == []


def test_an_object_that_does_not_fit_here_is_a_typed_error(here):
    incoming = Incoming(7, ID, "name", here, "copy")
    incoming.start()
    incoming.receive((CHUNK, 7, 0, bytes(1 << 20), 1 << 60))
    assert isinstance(incoming.error, ObjectStoreFullError) and os.listdir(here) == []


def test_abandoning_leaves_nothing_and_may_be_done_twice_or_late(here, there):
    segment = write(there, b"p", bytes(10_000))
    incoming = Incoming(7, ID, segment.name, here, "copy", chunk=1000)
    (first,) = incoming.start()
    incoming.receive(answer(there, first))
    incoming.abandon()
    incoming.abandon()
    assert incoming.finished and os.listdir(here) == []
    done = Incoming(8, ID, segment.name, here, "copy")
    carry(done, there)
    done.abandon()
    done.fail(ObjectLostError("late"))
    assert done.error is None and os.listdir(here) == ["copy"]


def test_an_object_that_several_want_travels_once(here, there):
    segment = write(there, b"p", bytes(100))
    pulls = Pulls(here)
    first, messages = pulls.want("source", ID, segment.name, "copy")
    second, nothing = pulls.want("elsewhere", ID, segment.name, "copy")
    assert first is second and len(messages) == 1 and nothing == []
    assert pulls.receive(answer(there, messages[0])) == (first, [])
    assert first.finished
    pulls.leave(first)
    pulls.leave(second)
    assert pulls.receive(answer(there, messages[0])) == (None, [])
    again, messages = pulls.want("source", ID, segment.name, "copy")
    assert again is not first and messages[0][0] == PULL and messages[0][1] != first.request


def test_a_failed_pull_is_not_joined_by_who_comes_after(here):
    pulls = Pulls(here)
    first, _ = pulls.want("source", ID, "name", "copy")
    other, _ = pulls.want("elsewhere", bytes(16), "name", "copy2")
    pulls.lost("source", ObjectLostError("gone"))
    assert isinstance(first.error, ObjectLostError) and not other.finished
    second, messages = pulls.want("source", ID, "name", "copy")
    assert second is not first and messages
    pulls.leave(first)
    joined, _ = pulls.want("source", ID, "name", "copy")
    assert joined is second


def test_the_last_to_leave_ends_an_unfinished_pull(here, there):
    segment = write(there, b"p", bytes(3 << 20))
    pulls = Pulls(here)
    incoming, messages = pulls.want("source", ID, segment.name, "copy")
    pulls.want("source", ID, segment.name, "copy")
    pulls.receive(answer(there, messages[0]))
    pulls.leave(incoming)
    assert not incoming.finished and len(os.listdir(here)) == 1
    pulls.leave(incoming)
    assert incoming.finished and os.listdir(here) == []
