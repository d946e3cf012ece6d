"""``Pool`` with the interface of ``multiprocessing.Pool``, on actors: it reaches over all nodes."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from nbray.util.multiprocessing.pool import Pool

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]
