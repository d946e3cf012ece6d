"""Which GPUs a process sees."""

from __future__ import annotations

from collections.abc import Mapping

#: CUDA reads it once, when it is first used, and numbers what is listed there from 0 on.
VARIABLE = "CUDA_VISIBLE_DEVICES"


def listed(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """The GPUs that the variable leaves visible; None if it is not set."""
    value = environment.get(VARIABLE)
    if value is None:
        return None
    return tuple(value.split(",")) if value not in ("", "NoDevFiles") else ()


def names(indices: tuple[int | str, ...], environment: Mapping[str, str]) -> tuple[int | str, ...]:
    """What some of the node's GPUs are called: where the variable is set it lists them, and they may have UUIDs.

    One that lists fewer, of the task's own environment, is as far as it goes the user's word.
    """
    visible = listed(environment)
    if visible is None or not indices:
        return indices
    if max(map(int, indices)) < len(visible):
        return tuple(visible[int(index)] for index in indices)
    return visible


def variables(names: tuple[int | str, ...]) -> dict[str, str]:
    """The environment of a process for these GPUs. Without any it stays what it was: the task may look at what there is."""
    return {VARIABLE: ",".join(map(str, names))} if names else {}


def check_visible(wanted: float, environment: Mapping[str, str]) -> None:
    """
    Raises:
        ValueError: a node shall have more GPUs than the variable leaves visible there.
    """
    visible = listed(environment)
    if visible is not None and wanted > len(visible):
        raise ValueError(
            f"num_gpus is {wanted:g}, but {VARIABLE}={environment[VARIABLE]!r} leaves {len(visible)} visible"
        )
