"""Any bytes from a socket, before and after the handshake: the reactor refuses or waits, and goes on serving others."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from channel.support import SECRET, Side, World
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbray.channel.connection import HELLO
from nbray.wire.codec import MAX_FRAME, encode_numbered
from nbray.wire.handshake import Handshake


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, Side, Side]]:
    """A side under attack, and a friend of it."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), tcp=False)
        yield world, world.side(), world.side()
        world.close()


def talk(world: World, side: Side, sock: socket.socket, pieces: list[bytes]) -> None:
    """Say all of it, as far as the side lets us."""
    for piece in pieces:
        with contextlib.suppress(OSError):
            sock.sendall(piece)
        for _ in range(3):
            side.reactor.step(0)


def greets_a_friend(world: World, side: Side, friend: Side) -> None:
    connection = friend.connect(side)
    before = len(side.got)
    friend.send(connection, 1, "friend")
    world.until(lambda: len(side.got) > before)
    assert side.got[-1] == (1, "friend")
    with friend.reactor.lock:
        connection.close()
    world.until(lambda: not side.reactor._connections)
    side.got.clear()


def shake_hands(side: Side, sock: socket.socket) -> None:
    handshake = Handshake(SECRET, connector=True)
    sock.sendall(handshake.start())
    while not handshake.done:
        side.reactor.step(0.01)
        with contextlib.suppress(BlockingIOError):
            sock.sendall(handshake.receive(sock.recv(72, socket.MSG_DONTWAIT))[0])
    side.reactor.step(0.01)


PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=6)


@settings(max_examples=150, deadline=None)
@given(PIECES)
@example([b"nbray" + b"\0" * 300])
def test_any_bytes_of_a_stranger_are_refused_or_waited_on(
    served: tuple[World, Side, Side], pieces: list[bytes]
) -> None:
    world, side, friend = served
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(side.reactor.address.unix)
        talk(world, side, sock, pieces)
        assert not side.accepted or side.accepted[-1].peer == friend.reactor.address
    greets_a_friend(world, side, friend)


FRAMES = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda kind, fields, number: encode_numbered((kind, *fields), number),
        st.integers(-5, 60),
        st.lists(
            st.one_of(st.none(), st.integers(-9, 9), st.binary(max_size=9), st.text(max_size=9)), max_size=5
        ),
        st.integers(0, 3),
    ),
    st.just(MAX_FRAME.to_bytes(4, "little") + bytes(4)),
)
HELLO_FRAME = encode_numbered((HELLO, (b"stranger", b"one node", "", ""), os.getpid()), 0)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(FRAMES, max_size=6))
def test_any_bytes_of_a_peer_are_messages_or_end_its_connection(
    served: tuple[World, Side, Side], hello: bool, frames: list[bytes]
) -> None:
    world, side, friend = served
    logging.disable()
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(side.reactor.address.unix)
            shake_hands(side, sock)
            talk(world, side, sock, [HELLO_FRAME, *frames] if hello else frames)
        side.got.clear()
        greets_a_friend(world, side, friend)
    finally:
        logging.disable(logging.NOTSET)


def test_lengths_that_are_promised_take_no_memory(served: tuple[World, Side, Side]) -> None:
    world, side, friend = served
    tracemalloc.start()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.connect(side.reactor.address.unix)
                shake_hands(side, sock)
                talk(
                    world,
                    side,
                    sock,
                    [HELLO_FRAME, MAX_FRAME.to_bytes(4, "little") + (1).to_bytes(4, "little") + b"x"],
                )
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    greets_a_friend(world, side, friend)
