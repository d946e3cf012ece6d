"""What a node's shared memory holds, and the word that refuses what does not fit."""

from __future__ import annotations

import threading

from nbray.exceptions import ObjectStoreFullError


class Store:
    """Bytes promised to objects. Thread-safe; it counts and touches no file.

    Reserve before copying, so that an object that does not fit costs nothing but the error.

    Args:
        capacity: bytes, ``object_store_memory``.

    >>> store = Store(capacity=100)
    >>> store.reserve(b"a", 60)
    >>> store.used, store.count, store.available
    (60, 1, 40)
    >>> store.release(b"a")
    60
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._sizes: dict[bytes, int] = {}
        self._used = 0

    def reserve(self, object_id: bytes, size: int) -> None:
        """Count ``size`` bytes for the object; instead of what was counted for it before, if anything was.

        Raises:
            ObjectStoreFullError: that is more than is left. Nothing has changed then.
        """
        with self._lock:
            others = self._used - self._sizes.get(object_id, 0)
            if others + size > self.capacity:
                raise ObjectStoreFullError(
                    f"an object of {size:,} bytes does not fit: {len(self._sizes):,} objects have {others:,} of "
                    f"{self.capacity:,} bytes; free some refs, or raise object_store_memory"
                )
            self._sizes[object_id] = size
            self._used = others + size

    def release(self, object_id: bytes) -> int:
        """The object is gone. Returns its bytes, 0 if none were counted."""
        with self._lock:
            size = self._sizes.pop(object_id, 0)
            self._used -= size
            return size

    def __contains__(self, object_id: bytes) -> bool:
        return object_id in self._sizes

    @property
    def used(self) -> int:
        """Bytes promised."""
        return self._used

    @property
    def available(self) -> int:
        """Bytes left."""
        return self.capacity - self._used

    @property
    def count(self) -> int:
        """Objects that have something."""
        return len(self._sizes)
