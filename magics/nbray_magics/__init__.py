"""The magics of nbray: ``%load_ext nbray``, then ``%nbray`` and ``%%nbray``.

A new verb is a function and a ``Verb`` that declares it, in a file of their own in ``nbray_magics.verbs``, and an entry in
``nbray_magics.table``. Help, errors and completion follow from the declaration.
"""

from nbray_magics.hooks import load_ipython_extension, unload_ipython_extension

__all__ = ["load_ipython_extension", "unload_ipython_extension"]
