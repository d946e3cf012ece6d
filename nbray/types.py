"""What ``ray.types`` has: the type of refs, for annotations."""

from __future__ import annotations

from nbray._object_ref import ObjectRef

__all__ = ["ObjectRef"]
