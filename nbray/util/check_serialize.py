"""``inspect_serializability``: what in a value cannot be pickled."""

from __future__ import annotations

from typing import IO, Any, NamedTuple

from nbray._serializers import why_unpicklable


class FailureTuple(NamedTuple):
    """The part that cannot be pickled.

    Attributes:
        obj: it. path: the names that lead to it from the value. parent: what contains it; None if it is the value itself.
    """

    obj: Any
    path: tuple[str, ...]
    parent: Any

    def __repr__(self) -> str:
        name = self.path[-1] if self.path else "unknown"
        return f"FailTuple({name} [path={' -> '.join(self.path)}, obj={self.obj}, parent={self.parent}])"

    # Many a value cannot be hashed or compared.
    def __hash__(self) -> int:
        return id(self.obj)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FailureTuple) and self.obj is other.obj and self.path == other.path

    def __ne__(self, other: object) -> bool:
        return not self == other


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: IO[str] | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Find out whether a task could get a value, and if not, which part of it is the reason. Prints the way to it.

    Args:
        base_obj: a function, a class, or any value.
        name: how to call it.
        depth: steps from the value into its parts at most.
        print_file: where to print (default: standard output).

    Returns:
        Whether it can be pickled, and the part that cannot (the first that was found).

    Example:
        >>> lock = threading.Lock()
        >>> ok, failures = nbray.util.inspect_serializability(lambda: lock, name="f")
    """
    title = f"Can {name or repr(base_obj)} be pickled?"
    print(title, "-" * min(len(title), 80), sep="\n", file=print_file)
    found = why_unpicklable(base_obj, depth)
    if found is None:
        print("Yes.", file=print_file)
        return True, set()
    error, way = found
    print(f"No: {type(error).__name__}: {error}", file=print_file)
    whole, parent, names = base_obj, None, [name] if name else []
    for level, (how, part_name, part) in enumerate(way, 1):
        quoted = (
            f" {part_name!r}" if part_name and not part_name.startswith("[") else f" {part_name}".rstrip()
        )
        print(f"{'    ' * level}{_brief(whole)} {how}{quoted}: {_brief(part)}", file=print_file)
        parent, whole = whole, part
        names.append(part_name or type(part).__name__)
    if way:
        print("Make that part where it is used, in the function itself, or leave it out.", file=print_file)
    return False, {FailureTuple(whole, tuple(names), parent)}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
