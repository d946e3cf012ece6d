"""Bytes: frames, the handshake and the pickling of user values. No I/O."""
