"""What changed between two states of a view.

A state is a dict of tables, and a table a dict of JSON-able entries. ``applied(old, delta(old, new)) == new``, and the browser
applies deltas by the same rule (``widgets/js/src/state.js``).
"""

from __future__ import annotations

from typing import Any, TypeAlias

State: TypeAlias = dict[str, dict[str, Any]]


def delta(old: State, new: State) -> State:
    """The entries of ``new`` that are not in ``old`` or differ there; None for one that is gone. Empty: no change."""
    changes: State = {}
    for table, entries in new.items():
        before = old.get(table, {})
        changed = {key: entry for key, entry in entries.items() if before.get(key) != entry}
        changed.update((key, None) for key in before.keys() - entries.keys())
        if changed or table not in old:
            changes[table] = changed
    return changes


def applied(old: State, change: State) -> State:
    """``old`` with ``change`` made to it; ``old`` stays as it was."""
    new = {table: dict(entries) for table, entries in old.items()}
    for table, entries in change.items():
        target = new.setdefault(table, {})
        for key, entry in entries.items():
            if entry is None:
                target.pop(key, None)
            else:
                target[key] = entry
    return new
