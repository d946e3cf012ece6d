import os
import random
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray.core.messages import CHUNK, PULL
from nbray.exceptions import ObjectLostError, OutOfDiskError, ProtocolError
from nbray.store import transfer
from nbray.store.directory import furnish
from nbray.store.segments import open_segment, path_of
from nbray.store.store import Store
from nbray.store.transfer import Incoming, Outgoing, Pulls
from tests.store.support import objects, spilled

ID = bytes(range(16))


@pytest.fixture
def here(tmp_path):
    store = Store(made(tmp_path / "here"))
    yield store
    store.close()


@pytest.fixture
def there(tmp_path):
    store = Store(made(tmp_path / "there"))
    yield store
    store.close()


@contextmanager
def closing_stores(tmp_path_factory):
    """Hypothesis may end an example in the middle."""
    here, there = (Store(str(tmp_path_factory.mktemp(name))) for name in ("here", "there"))
    try:
        yield here, there
    finally:
        here.close()
        there.close()


def made(path):
    path.mkdir()
    return str(path)


def write(store, *parts):
    return store.write(ID, parts[0], parts[1:])


def answer(store, message):
    """What a sender without memory says."""
    (chunk,) = Outgoing(message, store.directory).receive(message)
    return chunk


def carry(incoming, store, choose=lambda messages: 0):
    """Take the messages to the sender and back, in the order that ``choose`` says, until there are none."""
    under_way = incoming.start()
    most = 0
    while under_way:
        most = max(most, len(under_way))
        message = under_way.pop(choose(under_way))
        under_way += incoming.receive(answer(store, message))
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
    with closing_stores(tmp_path_factory) as (here, there):
        segment = write(there, *parts)
        incoming = Incoming(1, ID, segment.name, here, "copy", chunk=asked, window=window)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(transfer, "CHUNK_SIZE", sent)
                most = carry(incoming, there, lambda messages: rng.randrange(len(messages)))
        finally:
            incoming.abandon()
        assert incoming.finished and incoming.error is None
        assert most <= window
        pickle, buffers = open_segment(here.directory, "copy", segment.size, segment.layout, ID)
        assert [pickle, *map(bytes, buffers)] == parts
        assert objects(here.directory) == ["copy"] and here.figures.used == segment.size


def test_one_sender_serves_all_ranges_and_says_when_it_is_done(here, there):
    segment = write(there, b"p", bytes(3_000_000))
    incoming = Incoming(7, ID, segment.name, here, "copy")
    (first,) = incoming.start()
    outgoing = Outgoing(first, there.directory)
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
    outgoing = Outgoing(first, there.directory)
    there.drop(segment.name)
    while asked:
        for chunk in outgoing.receive(asked.pop(0)):
            asked += incoming.receive(chunk)
    assert os.stat(path_of(here.directory, "copy")).st_size == segment.size


@pytest.mark.parametrize("name", ["never-there", "../outside"])
def test_an_unknown_object_is_lost(here, there, name):
    incoming = Incoming(7, ID, name, here, "copy")
    (message,) = incoming.start()
    outgoing = Outgoing(message, there.directory)
    (chunk,) = outgoing.receive(message)
    assert chunk == (CHUNK, 7, 0, b"", -1) and outgoing.finished
    assert incoming.receive(chunk) == []
    assert incoming.finished and isinstance(incoming.error, ObjectLostError)
    assert objects(here.directory) == []


def test_an_object_whose_file_has_become_another_ones_is_lost(here, there):
    segment = there.write(bytes(16), b"p", [])
    incoming = Incoming(7, ID, segment.name, here, "copy")
    carry(incoming, there)
    assert isinstance(incoming.error, ObjectLostError)


def test_a_sender_that_loses_the_object_midway_leaves_nothing_here(here, there):
    segment = write(there, b"p", bytes(10_000))
    incoming = Incoming(7, ID, segment.name, here, "copy", chunk=1000, window=2)
    (first,) = incoming.start()
    asked = incoming.receive(answer(there, first))
    assert len(asked) == 2 and len(objects(here.directory)) == 1
    there.drop(segment.name)
    assert incoming.receive(answer(there, asked[0])) == []
    assert isinstance(incoming.error, ObjectLostError) and objects(here.directory) == []
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
    with (
        open(path_of(here.directory, "copy"), "rb") as copy,
        open(path_of(there.directory, segment.name), "rb") as original,
    ):
        assert copy.read() == original.read()


@pytest.mark.parametrize("data", [b"", bytes(2000)])
def test_a_chunk_of_the_wrong_length_breaks_the_protocol(here, data):
    incoming = Incoming(7, ID, "name", here, "copy", chunk=1000)
    incoming.start()
    incoming.receive((CHUNK, 7, 0, data, 5000))
    assert isinstance(incoming.error, ProtocolError) and objects(here.directory) == []


def test_an_object_that_does_not_fit_here_is_a_typed_error(here):
    incoming = Incoming(7, ID, "name", here, "copy")
    incoming.start()
    incoming.receive((CHUNK, 7, 0, bytes(1 << 20), 1 << 60))
    assert isinstance(incoming.error, OutOfDiskError) and objects(here.directory) == []


def test_an_object_that_does_not_fit_into_memory_arrives_on_disk(tmp_path, there):
    directory = made(tmp_path / "small")
    furnish(directory, capacity=1000)
    here = Store(directory)
    segment = write(there, b"p", bytes(10_000))
    incoming = Incoming(7, ID, segment.name, here, "copy", chunk=1000)
    carry(incoming, there)
    assert incoming.error is None and here.has("copy") and spilled(directory) == ["copy"]
    assert bytes(open_segment(directory, "copy", *segment[1:3], ID)[1][0]) == bytes(10_000)
    assert here.figures[1:3] == (0, segment.size)
    assert here.drop("copy") and here.figures[1:3] == (0, 0) and not here.has("copy")
    here.close()


def test_several_copies_of_an_object_count_once(here, there):
    segment = write(there, b"p", bytes(10_000))
    for request in (1, 2):
        carry(Incoming(request, ID, segment.name, here, "copy"), there)
    assert objects(here.directory) == ["copy"] and here.figures.used == segment.size


def test_abandoning_leaves_nothing_and_may_be_done_twice_or_late(here, there):
    segment = write(there, b"p", bytes(10_000))
    incoming = Incoming(7, ID, segment.name, here, "copy", chunk=1000)
    (first,) = incoming.start()
    incoming.receive(answer(there, first))
    incoming.abandon()
    incoming.abandon()
    assert incoming.finished and objects(here.directory) == [] and here.figures.used == 0
    done = Incoming(8, ID, segment.name, here, "copy")
    carry(done, there)
    done.abandon()
    done.fail(ObjectLostError("late"))
    assert done.error is None and objects(here.directory) == ["copy"]


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
    assert not incoming.finished and len(objects(here.directory)) == 1
    pulls.leave(incoming)
    assert incoming.finished and objects(here.directory) == []
