"""What libraries look for in Ray's compiled module, ``ray._raylet``: the types of refs, for ``isinstance``."""

from __future__ import annotations

from nbray._generator import ObjectRefGenerator
from nbray._object_ref import ObjectRef

__all__ = ["ObjectRef", "ObjectRefGenerator"]
