"""The mutual nonce handshake that comes before any frame, on raw bytes.

Both sides show that they know the cluster's secret without sending it, and a recorded exchange is worthless later:

    connector -> acceptor   magic, versions, nonce C
    acceptor  -> connector  magic, versions, nonce A; once C has come: HMAC(secret, "acceptor" C A)
    connector -> acceptor   HMAC(secret, "connector" C A)

Nothing a peer sends before its proof is interpreted but for the versions, so that a mismatch can be told apart from a
wrong secret; both sides greet at once, so that both can tell.
"""

from __future__ import annotations

import hmac
import os
import sys

from nbray.exceptions import HandshakeError

PROTOCOL = 2
NONCE_SIZE = 32
_DIGEST_SIZE = 32
_MAGIC = b"nbray"
_GREETING = _MAGIC + bytes((PROTOCOL, *sys.version_info[:2]))
_FIRST_SIZE = len(_GREETING) + NONCE_SIZE

#: Seconds a peer has for the whole exchange.
TIME_LIMIT = 5.0


class Handshake:
    """One side of the exchange, as a machine: ``start()``, then ``receive(bytes)`` until ``done``.

    Args:
        secret: the cluster's secret, 32 bytes.
        connector: True on the side that opened the connection.
    """

    __slots__ = ("_secret", "_connector", "_mine", "_theirs", "_buffer", "done")

    def __init__(self, secret: bytes, *, connector: bool, nonce: bytes | None = None) -> None:
        self._secret = secret
        self._connector = connector
        self._mine = os.urandom(NONCE_SIZE) if nonce is None else nonce
        self._theirs = b""
        self._buffer = b""
        self.done = False

    def start(self) -> bytes:
        """What to send before anything is received."""
        return _GREETING + self._mine

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes; answer ``(to send, left over)``. ``left over`` is the start of the frames once ``done``.

        Raises:
            HandshakeError: another protocol, another version, or a wrong secret.
        """
        self._buffer += data
        if self._connector:
            return self._as_connector()
        return self._as_acceptor()

    def _greeting(self) -> None:
        got = self._buffer[: len(_GREETING)]
        if got[: len(_MAGIC)] != _MAGIC[: len(got)]:
            raise HandshakeError("the peer does not speak nbray's protocol")
        if len(got) == len(_GREETING) and got != _GREETING:
            theirs, ours = got[len(_MAGIC) :], _GREETING[len(_MAGIC) :]
            raise HandshakeError(
                f"version mismatch: the peer has protocol {theirs[0]} on Python {theirs[1]}.{theirs[2]}, "
                f"this process protocol {ours[0]} on Python {ours[1]}.{ours[2]}"
            )

    def _proof(self, role: bytes) -> bytes:
        first, second = (self._mine, self._theirs) if self._connector else (self._theirs, self._mine)
        return hmac.digest(self._secret, role + first + second, "sha256")

    def _check(self, role: bytes, proof: bytes) -> None:
        if not hmac.compare_digest(proof, self._proof(role)):
            raise HandshakeError("the peer does not know the cluster's secret")

    def _as_connector(self) -> tuple[bytes, bytes]:
        self._greeting()
        if len(self._buffer) < _FIRST_SIZE + _DIGEST_SIZE:
            return b"", b""
        self._theirs = self._buffer[len(_GREETING) : _FIRST_SIZE]
        self._check(b"acceptor", self._buffer[_FIRST_SIZE : _FIRST_SIZE + _DIGEST_SIZE])
        rest = self._buffer[_FIRST_SIZE + _DIGEST_SIZE :]
        self.done = True
        return self._proof(b"connector"), rest

    def _as_acceptor(self) -> tuple[bytes, bytes]:
        proof = b""
        if not self._theirs:
            self._greeting()
            if len(self._buffer) < _FIRST_SIZE:
                return b"", b""
            self._theirs = self._buffer[len(_GREETING) : _FIRST_SIZE]
            self._buffer = self._buffer[_FIRST_SIZE:]
            proof = self._proof(b"acceptor")
        if len(self._buffer) < _DIGEST_SIZE:
            return proof, b""
        self._check(b"connector", self._buffer[:_DIGEST_SIZE])
        self.done = True
        return proof, self._buffer[_DIGEST_SIZE:]
