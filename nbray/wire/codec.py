"""Frames: a 4-byte little-endian length, then one MessagePack array.

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
HEADER_SIZE = _LENGTH.size

#: A frame longer than this is a broken or hostile peer. Large objects never travel in one frame; what may is a
#: function with large captured variables.
MAX_FRAME = 1 << 30

_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_pack_length = _LENGTH.pack
_unpack_length = _LENGTH.unpack_from


def encode(message: Message) -> bytes:
    """One frame. Not to be called by two threads at once (the packer keeps a buffer).

    Raises:
        ValueError: the message is longer than any peer would take.
    """
    body: bytes = _pack(message)
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _pack_length(len(body)) + body


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

    A frame's bytes are joined once, when all of them are there, so a long frame costs one copy and not one a piece.
    """

    __slots__ = ("_pieces", "_have", "_need", "max_frame")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = HEADER_SIZE
        self.max_frame = max_frame

    def feed(self, piece: bytes) -> list[Message]:
        """All messages that ``piece`` completes. ``ProtocolError`` on a length over ``max_frame`` or a bad body."""
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
        need = HEADER_SIZE
        view = memoryview(data)
        while end - position >= HEADER_SIZE:
            length = _unpack_length(data, position)[0]
            if length > self.max_frame:
                raise ProtocolError(f"a frame of {length} bytes is over the limit of {self.max_frame}")
            stop = position + HEADER_SIZE + length
            if stop > end:
                need = HEADER_SIZE + length
                break
            messages.append(decode_body(view[position + HEADER_SIZE : stop]))
            position = stop
        self._have = end - position
        self._need = need
        if self._have:
            self._pieces.append(data[position:] if position else data)
        return messages
