"""The magics of nbray: ``%load_ext nbray``, then ``%nbray``."""

from nbray_magics.magics import load_ipython_extension, unload_ipython_extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]
