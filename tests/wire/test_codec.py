"""Frames: any cut, any bytes."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbray.core import messages
from nbray.exceptions import ProtocolError
from nbray.wire import codec
from nbray.wire.codec import HEADER_SIZE, MAX_FRAME, Decoder, decode_body, encode, encode_numbered

KEYS = st.one_of(st.text(max_size=5), st.integers(-100, 100), st.binary(max_size=5))
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)
FIELDS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.dictionaries(KEYS, inner, max_size=3)),
)
MESSAGES = st.builds(lambda kind, fields: (kind, *fields), st.integers(0, 100), st.lists(FIELDS, max_size=5))


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def outcome(pieces: list[bytes], **options: Any) -> tuple[list[Any], bool]:
    """The messages, and whether the decoder refused in the end. Whatever else it raises is a failure."""
    decoder, got = Decoder(**options), []
    for piece in pieces:
        try:
            got += decoder.feed(piece)
        except ProtocolError:
            return got, True
    return got, False


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_messages_survive_any_cut(sent: list[Any], points: list[int]) -> None:
    data = b"".join(map(encode, sent))
    assert outcome(cut(data, points)) == (sent, False)


@given(st.lists(MESSAGES, min_size=1, max_size=3))
def test_messages_survive_byte_by_byte(sent: list[Any]) -> None:
    data = b"".join(map(encode, sent))
    assert outcome([data[n : n + 1] for n in range(len(data))]) == (sent, False)


@given(MESSAGES)
def test_a_message_is_there_as_soon_as_its_last_byte_is(sent: Any) -> None:
    frame = encode(sent)
    decoder = Decoder()
    assert decoder.feed(frame[:-1]) == []
    assert decoder.feed(frame[-1:]) == [sent]


@given(st.lists(st.binary(max_size=40), max_size=8))
@example([b"\x00\x00\x00\x00"])
@example([b"\x01\x00\x00\x00\xc1"])
@example([b"\x02\x00\x00\x00\x91\xc3"])  # an array that starts with true
@example([b"\x05\x00\x00\x00\x92\x01\xd4\x05\x00"])  # an extension type
def test_random_bytes_are_messages_or_refused(pieces: list[bytes]) -> None:
    outcome(pieces)


@given(st.binary(max_size=60))
def test_random_bodies_are_messages_or_refused(body: bytes) -> None:
    got, refused = outcome([struct.pack("<I", len(body)) + body])
    assert refused or (len(got) == 1 and type(got[0]) is tuple and type(got[0][0]) is int)


CHANGES = st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 255)), max_size=5)


@given(st.lists(MESSAGES, min_size=1, max_size=4), CHANGES)
def test_changed_bytes_give_messages_or_are_refused(sent: list[Any], changes: list[tuple[int, int]]) -> None:
    data = bytearray(b"".join(map(encode, sent)))
    for position, value in changes:
        data[position % len(data)] = value
    for message in outcome([bytes(data)], max_frame=1 << 20)[0]:
        assert type(message) is tuple
        assert type(message[0]) is int


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.integers(0, 9999), st.integers(0, 9999))
def test_missing_bytes_give_messages_or_are_refused(sent: list[Any], start: int, count: int) -> None:
    data = b"".join(map(encode, sent))
    start %= len(data)
    outcome([data[:start], data[start + count % len(data) :]], max_frame=1 << 20)


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_what_came_whole_before_a_bad_frame_was_answered_before(sent: list[Any]) -> None:
    frames = list(map(encode, sent))
    assert outcome([*frames, b"\xff\xff\xff\xff"]) == (sent, True)


@pytest.mark.parametrize("value", [5, "text", {}, (), ("kind", 1), (1.5,), (None,), (True,), [[1]]])
def test_a_frame_is_an_array_that_starts_with_its_kind(value: Any) -> None:
    with pytest.raises(ProtocolError):
        decode_body(msgpack.packb(value))


def test_a_body_with_something_behind_it_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode_body(msgpack.packb((1,)) + b"\x01")


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
def test_deep_nesting_is_no_crash(depth: int) -> None:
    outcome([struct.pack("<I", depth + 1) + b"\x91" * depth + b"\x01"])


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 0xFFFFFFFF])
def test_a_frame_over_the_limit_is_refused_at_its_length(length: int) -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        Decoder().feed(struct.pack("<I", length))


def test_the_limit_itself_is_allowed() -> None:
    frame = encode((1, b"x" * 100))
    assert Decoder(max_frame=len(frame) - HEADER_SIZE).feed(frame) == [(1, b"x" * 100)]
    with pytest.raises(ProtocolError):
        Decoder(max_frame=len(frame) - HEADER_SIZE - 1).feed(frame)


def test_a_length_alone_allocates_nothing() -> None:
    decoders = [Decoder() for _ in range(100)]
    tracemalloc.start()
    try:
        for decoder in decoders:
            decoder.feed(struct.pack("<I", MAX_FRAME) + b"\xdd\x3f\xff\xff\xff")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"\xdd", b"\xdf", b"\xc6", b"\xdb"], ids=["array", "map", "bytes", "text"])
def test_a_count_that_the_frame_cannot_hold_allocates_nothing(kind: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode_body(kind + b"\xff\xff\xff\xff" + b"\x00" * 100)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_long_frame_is_joined_once() -> None:
    """The pieces are kept as they come: memory is twice the frame, and not one copy a piece."""
    size = 8 << 20
    frame = encode((1, b"x" * size))
    pieces = [frame[n : n + 65536] for n in range(0, len(frame), 65536)]
    decoder = Decoder()
    tracemalloc.start()
    try:
        for piece in pieces[:-1]:
            assert decoder.feed(piece) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        (message,) = decoder.feed(pieces[-1])
        assert len(message[1]) == size
        assert tracemalloc.get_traced_memory()[1] < 2 * size + (1 << 20)
    finally:
        tracemalloc.stop()


def test_a_message_that_no_peer_would_take_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_FRAME", 100)
    with pytest.raises(ValueError, match="over the limit"):
        encode((1, b"x" * 200))
    assert Decoder().feed(encode((1, b"after"))) == [(1, b"after")]


def test_text_that_is_none_leaves_the_encoder_in_order() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode((1, "\udc80"))
    with pytest.raises(TypeError):
        encode((1, object()))
    assert Decoder().feed(encode((1, "after"))) == [(1, "after")]


def test_values_travel_as_they_are() -> None:
    value = (messages.INLINE, b"pickle", (b"buffer",), ((b"i" * 16, (b"p", b"n", "/s", ""), None, True),))
    sent = (messages.RESULT, 1 << 40, messages.OK, (value,), 12, 1.5)
    assert Decoder().feed(encode(sent)) == [sent]


# -- numbered frames ---------------------------------------------------------------------------------------------------


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_numbered_frames_survive_any_cut(sent: list[Any], points: list[int]) -> None:
    data = b"".join(encode_numbered(message, number) for number, message in enumerate(sent))
    assert outcome(cut(data, points), numbered=True) == (sent, False)


@given(st.lists(MESSAGES, min_size=1, max_size=6), st.lists(st.integers(0, 5), max_size=6))
def test_frames_that_come_again_are_passed_over(sent: list[Any], again: list[int]) -> None:
    frames = [encode_numbered(message, number) for number, message in enumerate(sent)]
    pieces = []
    for position, frame in enumerate(frames):
        pieces.append(frame)
        pieces += [frames[number] for number in again if number <= position]
    assert outcome(pieces, numbered=True) == (sent, False)


@given(st.lists(MESSAGES, min_size=2, max_size=6), st.integers(0, 4))
def test_a_frame_that_is_missing_is_an_error_and_not_a_loss(sent: list[Any], gap: int) -> None:
    gap %= len(sent) - 1
    frames = [encode_numbered(message, number) for number, message in enumerate(sent) if number != gap]
    assert outcome(frames, numbered=True) == (sent[:gap], True)


def test_numbers_go_on_after_the_last_one() -> None:
    decoder = Decoder(numbered=True)
    decoder._expected = 0xFFFFFFFE
    got = []
    for number in (0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFE, 1 << 32, (1 << 32) + 1, 0xFFFFFFFF):
        got += decoder.feed(encode_numbered((number % 1000,), number))
    assert got == [(294,), (295,), (296,), (297,)]


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_random_bytes_are_numbered_messages_or_refused(pieces: list[bytes]) -> None:
    outcome(pieces, numbered=True)
