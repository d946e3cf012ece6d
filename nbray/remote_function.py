"""What ``ray.remote_function`` has: the type of remote functions, for annotations and ``isinstance``."""

from __future__ import annotations

from nbray._remote_function import RemoteFunction

__all__ = ["RemoteFunction"]
