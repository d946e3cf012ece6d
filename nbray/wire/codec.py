"""Frames: a 4-byte little-endian length, then one MessagePack array; between peers a 4-byte number of the frame between them.

A connection counts its frames from 0. One that comes twice is passed over, one that is missing breaks the connection: an answer
or a count of holds that went astray or counted twice would be found much later, if ever.

MessagePack because decoding it runs no code, so a decoder fed with anything answers with messages or a ``ProtocolError``.
Nothing is allocated for a frame before its bytes are there. Only peers that have shown the secret send frames.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from nbray.core.messages import Message
from nbray.exceptions import ProtocolError

_LENGTH = struct.Struct("<I")
_NUMBERED = struct.Struct("<II")
HEADER_SIZE = _LENGTH.size
NUMBERED_HEADER_SIZE = _NUMBERED.size

#: A frame longer than this is a broken or hostile peer. Large objects never travel in one frame; what may is a
#: function with large captured variables.
MAX_FRAME = 1 << 30

_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_pack_length = _LENGTH.pack
_unpack_length = _LENGTH.unpack_from
_pack_numbered = _NUMBERED.pack
_WRAP = 0xFFFFFFFF


def encode(message: Message) -> bytes:
    """One frame. Not to be called by two threads at once (the packer keeps a buffer).

    Raises:
        ValueError: the message is longer than any peer would take.
    """
    body: bytes = _pack(message)
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _pack_length(len(body)) + body


def encode_numbered(message: Message, number: int) -> bytes:
    """The ``number``-th frame of a connection; the rest as ``encode``."""
    body: bytes = _pack(message)
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _pack_numbered(len(body), number & _WRAP) + body


def decode_body(body: Any) -> Message:
    """The message in one frame's body; ``ProtocolError`` if it is not a non-empty array that starts with a number."""
    try:
        message = msgpack.unpackb(body, raw=False, use_list=False, strict_map_key=False)
    except Exception as error:  # msgpack raises ValueError, its own errors, RecursionError ...
        raise ProtocolError(f"undecodable frame of {len(body)} bytes: {error}") from None
    if type(message) is not tuple or not message or type(message[0]) is not int:
        raise ProtocolError(
            f"a frame must hold an array that starts with its kind, not {type(message).__name__}"
        )
    return message


class Decoder:
    """Bytes in, in any cut; messages out.

    Args:
        max_frame: bytes that a frame's array may have.
        numbered: frames have numbers, from 0 on.

    A frame's bytes are joined once, when all of them are there, so a long frame costs one copy and not one a piece.
    """

    __slots__ = ("_pieces", "_have", "_need", "_header", "_expected", "max_frame")

    def __init__(self, max_frame: int = MAX_FRAME, *, numbered: bool = False) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._header = NUMBERED_HEADER_SIZE if numbered else HEADER_SIZE
        self._need = self._header
        self._expected = 0
        self.max_frame = max_frame

    def feed(self, piece: bytes) -> list[Message]:
        """All messages that ``piece`` completes. ``ProtocolError`` on a length over ``max_frame``, a bad body or a gap."""
        if self._have:
            self._pieces.append(piece)
            self._have += len(piece)
            if self._have < self._need:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        else:
            data = piece
        messages: list[Message] = []
        position, end = 0, len(data)
        need = header = self._header
        view = memoryview(data)
        while end - position >= header:
            length = _unpack_length(data, position)[0]
            if length > self.max_frame:
                raise ProtocolError(f"a frame of {length} bytes is over the limit of {self.max_frame}")
            stop = position + header + length
            if stop > end:
                need = header + length
                break
            if header == HEADER_SIZE or self._is_next(_unpack_length(data, position + HEADER_SIZE)[0]):
                messages.append(decode_body(view[position + header : stop]))
            position = stop
        self._have = end - position
        self._need = need
        if self._have:
            self._pieces.append(data[position:] if position else data)
        return messages

    def _is_next(self, number: int) -> bool:
        """Whether it is the frame that is due; False if it was there before."""
        if number == self._expected:
            self._expected = (number + 1) & _WRAP
            return True
        if (self._expected - number) & _WRAP > _WRAP >> 1:
            raise ProtocolError(f"frame {number} came where {self._expected} was due")
        return False
