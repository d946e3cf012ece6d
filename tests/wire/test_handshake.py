"""Mutual proof of the secret, and everything that is none."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbray.exceptions import HandshakeError
from nbray.wire import handshake
from nbray.wire.handshake import NONCE_SIZE, PROTOCOL, Handshake

SECRET, OTHER = b"s" * 32, b"o" * 32
GREETING = b"nbray" + bytes((PROTOCOL, *sys.version_info[:2]))


def connector(secret: bytes = SECRET, nonce: bytes | None = None) -> Handshake:
    return Handshake(secret, connector=True, nonce=nonce)


def acceptor(secret: bytes = SECRET, nonce: bytes | None = None) -> Handshake:
    return Handshake(secret, connector=False, nonce=nonce)


SIDES = pytest.mark.parametrize("side", [connector, acceptor])


def exchange(
    one: Handshake, other: Handshake, cuts: Any = (), extra: bytes = b""
) -> tuple[bytes, bytes, list[bytes]]:
    """Carry bytes until nothing is under way; answers what was left over at each side, and all that was sent.

    ``extra`` is what each side sends once it is done, ``cuts`` say how much of what is under way arrives at a time.
    """
    wires = {one: other.start(), other: one.start()}
    left = {one: b"", other: b""}
    sent = [wires[other], wires[one]]
    sizes = iter(cuts)
    while any(wires.values()):
        for side, peer in ((other, one), (one, other)):
            data = wires[side]
            size = max(1, next(sizes, len(data)))
            piece, wires[side] = data[:size], data[size:]
            if side.done:
                left[side] += piece
                continue
            answer, rest = side.receive(piece)
            left[side] += rest
            sent.append(answer)
            wires[peer] += answer + (extra if side.done else b"")
    return left[one], left[other], [piece for piece in sent if piece]


def feed(side: Handshake, data: bytes) -> bytes:
    return side.receive(data)[0]


# -- those who know it ---------------------------------------------------------------------------------------------------


def test_two_that_know_the_secret_are_done() -> None:
    one, other = connector(), acceptor()
    left, other_left, _ = exchange(one, other)
    assert one.done
    assert other.done
    assert left == other_left == b""


CUTS = st.lists(st.integers(0, 100), max_size=60)


@given(CUTS)
def test_any_cut_of_the_bytes_will_do(cuts: list[int]) -> None:
    one, other = connector(), acceptor()
    exchange(one, other, cuts)
    assert one.done
    assert other.done


@given(CUTS, st.binary(min_size=1, max_size=100))
def test_what_comes_behind_belongs_to_the_frames(cuts: list[int], frames: bytes) -> None:
    one, other = connector(), acceptor()
    left, other_left, _ = exchange(one, other, cuts, frames)
    assert left == other_left == frames


def test_nothing_secret_is_sent() -> None:
    _, _, sent = exchange(connector(), acceptor())
    assert SECRET not in b"".join(sent)


@SIDES
def test_nonces_are_fresh(side: Any) -> None:
    assert len({side().start() for _ in range(100)}) == 100


# -- those who do not ----------------------------------------------------------------------------------------------------


def test_a_connector_does_not_trust_an_acceptor_with_another_secret() -> None:
    one, other = connector(), acceptor(OTHER)
    proof = feed(other, one.start())
    with pytest.raises(HandshakeError, match="secret"):
        feed(one, other.start() + proof)
    assert not one.done


def test_an_acceptor_does_not_trust_a_connector_with_another_secret() -> None:
    c, a = b"c" * NONCE_SIZE, b"a" * NONCE_SIZE
    proof = exchange(connector(OTHER, c), acceptor(OTHER, a))[2][-1]
    victim = acceptor(SECRET, a)
    feed(victim, GREETING + c)
    with pytest.raises(HandshakeError, match="secret"):
        feed(victim, proof)
    assert not victim.done


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_proof_with_one_byte_changed_is_none(position: int, change: int) -> None:
    one, other = connector(), acceptor()
    proof = bytearray(feed(other, one.start()))
    proof[position] ^= change
    with pytest.raises(HandshakeError):
        feed(one, other.start() + bytes(proof))


def test_a_recorded_connector_is_worthless_later() -> None:
    sent = exchange(connector(), acceptor())[2]
    victim = acceptor()
    feed(victim, sent[0])
    with pytest.raises(HandshakeError):
        feed(victim, sent[-1])


def test_a_recorded_acceptor_is_worthless_later() -> None:
    sent = exchange(connector(), acceptor())[2]
    with pytest.raises(HandshakeError):
        feed(connector(), sent[1] + sent[2])


@SIDES
@given(cuts=st.lists(st.integers(1, 200), max_size=10))
def test_who_echoes_our_own_bytes_proves_nothing(side: Any, cuts: list[int]) -> None:
    victim, sizes = side(), iter(cuts)
    wire = victim.start()
    with pytest.raises(HandshakeError):
        while wire:
            size = next(sizes, len(wire))
            piece, wire = wire[:size], wire[size:]
            wire += victim.receive(piece)[0]
        raise HandshakeError("the echo has nothing more to say")
    assert not victim.done


def test_a_proof_of_one_role_is_none_of_the_other() -> None:
    """Echoed to the process that made it, an acceptor's proof does not pass as a connector's."""
    nonce = b"n" * NONCE_SIZE
    victim = acceptor(SECRET, nonce)
    proof = feed(victim, GREETING + nonce)
    with pytest.raises(HandshakeError):
        feed(victim, proof)


# -- other versions, other protocols -------------------------------------------------------------------------------------


@SIDES
@pytest.mark.parametrize(
    ("theirs", "named"),
    [((PROTOCOL + 1, *sys.version_info[:2]), f"protocol {PROTOCOL + 1}"), ((PROTOCOL, 3, 99), "Python 3.99")],
)
def test_another_version_is_named_on_both_sides(side: Any, theirs: Any, named: str) -> None:
    with pytest.raises(HandshakeError, match=named) as caught:
        feed(side(), b"nbray" + bytes(theirs))
    ours = f"this process protocol {PROTOCOL} on Python {sys.version_info[0]}.{sys.version_info[1]}"
    assert ours in str(caught.value)


@SIDES
def test_both_sides_greet_before_they_have_heard_anything(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So each can name the other's version, whoever finds out first and hangs up."""
    monkeypatch.setattr(handshake, "_GREETING", b"nbray" + bytes((PROTOCOL, 3, 99)))
    theirs = side().start()
    monkeypatch.undo()
    for other in (connector(), acceptor()):
        with pytest.raises(HandshakeError, match="version mismatch"):
            feed(other, theirs)


@SIDES
@pytest.mark.parametrize("says", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"n\x00", b"SSH-2.0-", b"\0"])
def test_another_protocol_is_refused_at_its_first_bytes(side: Any, says: bytes) -> None:
    with pytest.raises(HandshakeError, match="does not speak"):
        feed(side(), says)


@SIDES
@given(pieces=st.lists(st.binary(max_size=50), max_size=8))
def test_random_bytes_are_refused_or_waited_on(side: Any, pieces: list[bytes]) -> None:
    victim = side()
    try:
        for piece in pieces:
            victim.receive(piece)
            assert not victim.done
    except HandshakeError:
        pass


@SIDES
@given(noise=st.binary(min_size=NONCE_SIZE + 32, max_size=300))
def test_random_bytes_behind_a_right_greeting_are_refused(side: Any, noise: bytes) -> None:
    victim = side()
    with pytest.raises(HandshakeError, match="secret"):
        victim.receive(GREETING + noise)
    assert not victim.done


@given(st.data())
def test_a_truncated_exchange_is_never_done(data: st.DataObject) -> None:
    one, other = connector(), acceptor()
    hello = other.start() + feed(other, one.start())
    size = data.draw(st.integers(0, len(hello) - 1))
    assert one.receive(hello[:size]) == (b"", b"")
    assert not one.done
    answer = feed(one, hello[size:])
    size = data.draw(st.integers(0, len(answer) - 1))
    assert other.receive(answer[:size]) == (b"", b"")
    assert not other.done
