"""Connections over real sockets: order, size, ends, strangers."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from channel.support import SECRET, Side, World

from nbray.channel import reactor as reactor_module
from nbray.channel.connection import HELLO
from nbray.core.ids import Address
from nbray.exceptions import HandshakeError, ProtocolError
from nbray.wire.codec import encode_numbered
from nbray.wire.handshake import Handshake

LARGE = 4 << 20


# -- messages ----------------------------------------------------------------------------------------------------------


def test_messages_arrive_in_the_order_of_sending(world: World) -> None:
    one, mine, other, theirs = world.pair()
    for n in range(1000):
        one.send(mine, 1, n)
    world.until(lambda: len(other.got) == 1000)
    assert other.got == [(1, n) for n in range(1000)]
    other.send(theirs, 2, "back")
    world.until(lambda: bool(one.got))
    assert one.got == [(2, "back")]


def test_messages_queue_until_the_connection_is_open(world: World) -> None:
    one, other = world.side(), world.side()
    mine = one.connect(other)
    assert not mine.open
    for n in range(10):
        one.send(mine, 1, n)
    world.until(lambda: len(other.got) == 10)
    assert other.got == [(1, n) for n in range(10)]


def test_both_sides_know_each_others_address(world: World) -> None:
    one, mine, other, theirs = world.pair()
    assert mine.peer == other.reactor.address
    assert theirs.peer == one.reactor.address
    assert mine.pid == theirs.pid == os.getpid()


def test_messages_larger_than_socket_buffers_pass_each_other_both_ways(world: World) -> None:
    one, mine, other, theirs = world.pair()
    blobs = [bytes([n]) * LARGE for n in range(4)]
    for blob in blobs:
        one.send(mine, 1, blob)
        other.send(theirs, 2, blob)
    world.until(lambda: len(one.got) == len(other.got) == 4)
    assert other.got == [(1, blob) for blob in blobs]
    assert one.got == [(2, blob) for blob in blobs]
    assert mine.unsent == theirs.unsent == 0


def test_small_messages_do_not_overtake_a_large_one(world: World) -> None:
    one, mine, other, _ = world.pair()
    one.send(mine, 1, b"x" * LARGE)
    for n in range(500):
        one.send(mine, 2, n)
    assert mine.unsent
    world.until(lambda: len(other.got) == 501)
    assert [message[0] for message in other.got] == [1] + [2] * 500
    assert [message[1] for message in other.got[1:]] == list(range(500))


def test_sending_never_blocks(world: World) -> None:
    one, mine, _, _ = world.pair()
    for _ in range(8):
        one.send(mine, 1, b"x" * LARGE)
    assert mine.unsent > 4 * LARGE


def test_messages_larger_than_a_read_arrive_whole_among_many_connections(local: World) -> None:
    server = local.side()
    clients = [local.side() for _ in range(20)]
    for n, client in enumerate(clients):
        client.send(client.connect(server), 1, n, bytes([n]) * 200_000)
    local.until(lambda: len(server.got) == 20)
    assert sorted(n for _, n, blob in server.got if blob == bytes([n]) * 200_000) == list(range(20))


# -- the end -------------------------------------------------------------------------------------------------------------


def test_a_dead_peer_is_a_close_after_the_last_of_what_it_sent(world: World) -> None:
    one, mine, other, theirs = world.pair()
    for n in range(50):
        other.send(theirs, 1, n)
    world.drop(other)
    world.until(lambda: bool(one.closed))
    assert one.got == [(1, n) for n in range(50)]
    assert one.closed[0][0] is mine
    assert mine.closed
    assert mine.opened


def test_what_a_dead_peer_had_sent_is_read_though_sending_to_it_fails(world: World) -> None:
    one, mine, other, theirs = world.pair()
    for n in range(
        5
    ):  # TCP sends as many unacknowledged, and forgets those it has not sent when the answer is a reset
        other.send(theirs, 1, n)
    world.drop(other)
    while mine.open:
        one.send(mine, 2, b"into the void")
    assert not mine.closed
    assert one.closed == []
    world.until(lambda: bool(one.closed))
    assert one.got == [(1, n) for n in range(5)]


def test_a_peer_that_dies_with_much_unsent_to_it_frees_the_memory(world: World) -> None:
    one, mine, other, _ = world.pair()
    one.send(mine, 1, b"x" * LARGE)
    world.drop(other)
    world.until(lambda: bool(one.closed))
    assert mine.unsent == 0
    one.send(mine, 1, "dropped in silence")
    assert mine.unsent == 0


def test_what_has_come_can_be_served_at_once(world: World) -> None:
    one, mine, other, theirs = world.pair()
    for n in range(5):
        other.send(theirs, 1, n)
    world.drop(other)
    with one.reactor.lock:
        while not mine.closed:
            mine.drain()
        assert one.got == [(1, n) for n in range(5)]
        assert one.closed == []
    world.until(lambda: bool(one.closed))


def test_the_end_is_told_once_and_never_from_send(world: World) -> None:
    one, mine, other, _ = world.pair()
    world.drop(other)
    one.send(mine, 1)
    one.send(mine, 2)
    assert one.closed == []
    world.until(lambda: bool(one.closed))
    for _ in range(3):
        one.reactor.step(0)
    assert len(one.closed) == 1


def test_closing_oneself_is_told_to_the_peer_only(world: World) -> None:
    one, mine, other, theirs = world.pair()
    with one.reactor.lock:
        mine.close()
        mine.close()
    world.until(lambda: bool(other.closed))
    assert one.closed == []
    assert other.closed == [(theirs, None)]


def test_a_connection_may_be_closed_by_what_it_brings(world: World) -> None:
    one, mine, other, theirs = world.pair()
    theirs.on_message = lambda c, message: (other.got.append(message), c.close())
    for n in range(10):
        one.send(mine, n)
    world.until(lambda: bool(one.closed))
    assert other.got == [(0,)]


def test_ends_are_told_in_their_order(local: World) -> None:
    server = local.side()
    clients = [local.side() for _ in range(5)]
    for n, client in enumerate(clients):
        client.connect(server)
        local.until(lambda n=n: len(server.accepted) == n + 1)
    with server.reactor.lock:
        for connection in server.accepted:
            connection._fail(None)
    server.reactor.step(0)
    assert [connection for connection, _ in server.closed] == server.accepted


def test_a_path_where_nobody_listens_is_told_from_a_later_step(world: World, tmp_path: Path) -> None:
    one = world.side()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nobody = Address(
        b"nobody--", b"anywhere" if world.tcp else b"one node", str(tmp_path / "none"), f"127.0.0.1:{port}"
    )
    mine = one.connect(nobody._replace(unix="") if world.tcp else nobody)
    one.send(mine, 1, "never")
    assert one.closed == []
    world.until(lambda: bool(one.closed))
    (_, error) = one.closed[0]
    assert not mine.opened
    assert isinstance(error, OSError)
    assert error.errno in (errno.ENOENT, errno.ECONNREFUSED)


def test_an_address_that_makes_no_sense_is_told_likewise(local: World, tmp_path: Path) -> None:
    one = local.side()
    one.connect(Address(b"nobody--", b"one node", str(tmp_path / ("x" * 200)), ""))
    local.until(lambda: bool(one.closed))
    assert isinstance(one.closed[0][1], OSError)


def test_a_defect_in_a_callback_ends_that_connection_and_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, mine, other, theirs = world.pair()
    third = world.side()
    also = third.connect(other)
    world.until(lambda: len(other.accepted) == 2)

    def broken(connection: Any, message: Any) -> None:
        raise KeyError("a defect")

    theirs.on_message = broken
    one.send(mine, 1)
    third.send(also, 2)
    world.until(lambda: bool(one.closed and other.got))
    assert other.got == [(2,)]
    assert isinstance(other.closed[0][1], KeyError)
    assert "could not be served" in caplog.text


def test_a_defect_in_the_callback_of_an_end_does_not_hide_other_ends(
    local: World, caplog: pytest.LogCaptureFixture
) -> None:
    server = local.side()
    clients = [local.side() for _ in range(2)]
    for client in clients:
        client.connect(server)
    local.until(lambda: len(server.accepted) == 2 and all(c.peer for c in server.accepted))
    server.accepted[0].on_close = lambda c, error: 1 / 0
    for client in clients:
        local.drop(client)
    local.until(lambda: bool(server.closed))
    assert server.closed == [(server.accepted[1], None)]
    assert "ZeroDivisionError" in caplog.text


# -- the lock ------------------------------------------------------------------------------------------------------------


class Watched:
    """A lock that knows whether it is held."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held = 0

    def __enter__(self) -> None:
        self.lock.acquire()
        self.held += 1

    def __exit__(self, *_: object) -> None:
        self.held -= 1
        self.lock.release()


def test_every_callback_holds_the_lock(world: World) -> None:
    lock = Watched()
    one, other = world.side(), world.side(lock=lock)
    seen: list[tuple[str, int]] = []

    def accepted(connection: Any) -> None:
        seen.append(("accept", lock.held))
        connection.on_open = lambda c: seen.append(("open", lock.held))
        connection.on_message = lambda c, message: seen.append(("message", lock.held))
        connection.on_close = lambda c, error: seen.append(("close", lock.held))

    other.reactor.on_accept = accepted
    mine = one.connect(other)
    one.send(mine, 1)
    world.until(lambda: len(seen) == 3)
    world.drop(one)
    world.until(lambda: len(seen) == 4)
    assert seen == [("accept", 1), ("open", 1), ("message", 1), ("close", 1)]
    assert not lock.held


# -- strangers -----------------------------------------------------------------------------------------------------------


def stranger(side: Side) -> socket.socket:
    """A socket that is connected to a side and has said nothing."""
    address = side.reactor.address
    if address.unix:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(address.unix)
    else:
        host, _, port = address.tcp.rpartition(":")
        sock = socket.create_connection((host, int(port)))
    sock.settimeout(10)
    return sock


def ended(sock: socket.socket) -> bool:
    """Whether the other side has closed, after whatever it had said."""
    sock.setblocking(False)
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


@pytest.mark.parametrize(
    "says", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, encode_numbered((HELLO, ()), 0), b"nbray" + b"\0" * 200]
)
def test_a_stranger_that_speaks_otherwise_is_closed_at_once(world: World, says: bytes) -> None:
    side = world.side()
    with stranger(side) as sock:
        sock.sendall(says)
        world.until(lambda: ended(sock))
    assert side.accepted == side.got == []


def test_who_does_not_know_the_secret_never_becomes_a_connection(world: World) -> None:
    side, impostor = world.side(), world.side(secret=b"x" * 32)
    impostor.send(impostor.connect(side), 1, "let me in")
    world.until(lambda: bool(impostor.closed))
    assert side.accepted == side.got == []
    assert isinstance(impostor.closed[0][1], HandshakeError)


def test_a_silent_stranger_is_closed_when_its_time_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "TIME_LIMIT", 0.05)
    monkeypatch.setattr(reactor_module, "_LOCAL_LIMIT", 0.05)
    side = world.side()
    with stranger(side) as sock:
        world.until(lambda: ended(sock))
    assert side.closed == []


def test_a_peer_with_the_secret_may_not_skip_the_hello(world: World) -> None:
    side = world.side()
    with stranger(side) as sock:
        handshake = Handshake(SECRET, connector=True)
        sock.sendall(handshake.start())
        sock.setblocking(False)
        while not handshake.done:
            side.reactor.step(0.01)
            try:
                sock.sendall(handshake.receive(sock.recv(4096))[0])
            except BlockingIOError:
                continue
        sock.sendall(encode_numbered((1, "not a hello"), 0))
        world.until(lambda: ended(sock))
    assert isinstance(side.closed[0][1], ProtocolError)
    assert side.got == []


@pytest.mark.parametrize(
    "hello",
    [
        (HELLO,),
        (HELLO, ("a", "b", "c", "d"), 1),
        (HELLO, 5, 1),
        (HELLO, (b"", b"", "", ""), "pid"),
        (7, (b"", b"", "", ""), 1),
    ],
)
def test_a_hello_that_makes_no_sense_ends_the_connection(local: World, hello: Any) -> None:
    one, mine, other, theirs = local.pair()
    theirs.peer = None  # as if it had said nothing yet
    one.send(mine, *hello)
    local.until(lambda: bool(other.closed))
    assert isinstance(other.closed[0][1], ProtocolError)


def test_strangers_are_capped_and_peers_wait_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "_MAX_STRANGERS", 4)
    monkeypatch.setattr(reactor_module, "TIME_LIMIT", 0.2)
    monkeypatch.setattr(reactor_module, "_LOCAL_LIMIT", 0.2)
    side, friend = world.side(), world.side()
    socks = [stranger(side) for _ in range(8)]
    mine = friend.connect(side)
    friend.send(mine, 1, "patient")
    side.reactor.step(0)
    assert len(side.reactor._strangers) == 4
    world.until(lambda: bool(side.got))
    assert side.got == [(1, "patient")]
    for sock in socks:
        world.until(lambda sock=sock: ended(sock))
        sock.close()


def test_a_busy_peer_may_take_its_time_for_the_handshake(
    local: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its main thread holds the GIL for longer than a stranger would have; that its system answered is enough."""
    monkeypatch.setattr(reactor_module, "_REACH_LIMIT", 0.0)
    one, busy = local.side(), local.side()
    one.send(one.connect(busy), 1)
    for _ in range(3):
        one.reactor.step(0.01)
    assert one.closed == []
    local.until(lambda: bool(busy.got))


# -- descriptors ---------------------------------------------------------------------------------------------------------


def test_out_of_descriptors_peers_wait_until_there_are_some(local: World) -> None:
    side = local.side()
    socks = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    for sock in socks:
        sock.connect(side.reactor.address.unix)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
    holes = []
    try:
        while True:  # fill what is free below the limit
            try:
                holes.append(os.dup(0))
            except OSError:
                break
        assert side.reactor.step(0.0) == 1
        assert not side.reactor._strangers
    finally:
        for fd in holes:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    side.reactor.step(0.0)
    assert len(side.reactor._strangers) == 3
    for sock in socks:
        sock.close()


def test_no_descriptor_is_left_when_all_is_closed(world: World) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(5):
        one, mine, other, _ = world.pair()
        one.send(mine, 1, b"x" * LARGE)
        with stranger(other):
            other.reactor.step(0)
            one.connect(Address(b"nobody--", b"one node", str(world.directory / "none"), ""))
            world.drop(other)
            world.drop(one)
    assert set(os.listdir("/proc/self/fd")) == before


def test_closing_twice_and_waking_a_closed_reactor_do_nothing(local: World) -> None:
    side = local.side()
    path = side.reactor.address.unix
    side.reactor.close()
    side.reactor.close()
    read, write = os.pipe()  # likely the number that the waker had
    side.reactor.wake()
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)
    assert side.reactor.step(0) == 0
    assert not os.path.exists(path)


def test_a_socket_is_readable_by_this_user_only(local: World) -> None:
    assert os.stat(local.side().reactor.address.unix).st_mode & 0o777 == 0o600
