"""What the value of a single option may be.

A check takes the option's name and value; a wrong type is a TypeError, a wrong value a ValueError. None: it was not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbray.core import labels
from nbray.core.ids import STRIDE
from nbray.core.messages import RESOURCE_UNIT


def _wrong_type(name: str, value: Any, wanted: str) -> TypeError:
    return TypeError(f"option {name!r} must be {wanted}, not {type(value).__name__} ({value!r})")


def units(name: str, quantity: Any) -> int:
    """A resource quantity in units of 1/10000.

    Raises:
        TypeError: it is no number. ValueError: it is negative, not finite, or finer than 0.0001.
    """
    if isinstance(quantity, complex) or not hasattr(quantity, "__float__"):
        raise _wrong_type(name, quantity, "a number")
    quantity = float(quantity)
    if not 0 <= quantity < float("inf"):
        raise ValueError(f"the quantity of {name!r} cannot be negative or endless, got {quantity:g}")
    whole: int = round(quantity * RESOURCE_UNIT)
    if abs(whole - quantity * RESOURCE_UNIT) > 1e-6:
        raise ValueError(f"the quantity of {name!r} has steps of 0.0001, got {quantity!r}")
    return whole


def quantity(name: str, value: Any) -> None:
    if value is not None:
        amount = units(name, value)
        if name == "num_gpus" and amount > RESOURCE_UNIT and amount % RESOURCE_UNIT:
            raise ValueError(f"'num_gpus' above 1 must be a whole number, got {value!r}")


#: Resources that are no custom ones, and the options that ask for them.
_OWN_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def resources(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _wrong_type(name, value, "a dict of quantities")
    for resource, quantity in value.items():
        if not isinstance(resource, str) or not resource:
            raise TypeError(f"names in option 'resources' must be non-empty strings, got {resource!r}")
        if resource in _OWN_OPTIONS:
            raise ValueError(f"use {_OWN_OPTIONS[resource]!r} instead of {resource!r} in option 'resources'")
        units(resource, quantity)


def count(name: str, value: Any) -> None:
    """An int from 0 on, or -1 for no end."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, "an int")
    if value < -1:
        raise ValueError(f"option {name!r} must be 0 or more, or -1 for no end; got {value}")


def max_calls(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, "an int")
    if not 0 <= value < 1 << 63:
        raise ValueError(f"option 'max_calls' must be 1 or more, or 0 for no limit; got {value}")


def priority(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, "an int")
    if abs(value) >= 1 << 31:
        raise ValueError(f"option 'priority' must fit into 32 bits, got {value}")


def timeout(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type(name, value, "a number of seconds")
    if not 0 < value < float("inf"):
        raise ValueError(f"option 'timeout' must be more than 0 seconds, or None for no end; got {value}")


def num_returns(name: str, value: Any) -> None:
    if value is None or value == "streaming":
        return
    if value == "dynamic":
        raise ValueError(
            "num_returns='dynamic' is for tasks only; methods that are generators have 'streaming'"
        )
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, "an int or 'streaming'")
    if not 0 <= value < STRIDE:
        raise ValueError(f"option 'num_returns' must be 0 or more, got {value}")


def task_returns(name: str, value: Any) -> None:
    if value != "dynamic":
        num_returns(name, value)


def ahead(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, "an int")
    if value < -1 or value == 0:
        raise ValueError(f"option {name!r} must be 1 or more, or -1 for no limit; got {value}")


def retry_exceptions(name: str, value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    if not isinstance(value, list | tuple):
        raise _wrong_type(name, value, "a bool or a list of exception types")
    for kind in value:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError(
                f"option 'retry_exceptions' must be a bool or a list of exception types, got {kind!r}"
            )


def text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise _wrong_type(name, value, "a str")


def actor_name(name: str, value: Any) -> None:
    text(name, value)
    if value == "":
        raise ValueError(f"option {name!r} cannot be an empty string")


def flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise _wrong_type(name, value, "a bool")


def flag_or_none(name: str, value: Any) -> None:
    if value is not None:
        flag(name, value)


def lifetime(name: str, value: Any) -> None:
    text(name, value)
    if value not in (None, "detached", "non_detached"):
        raise ValueError(f"option {name!r} must be 'detached', 'non_detached' or None, got {value!r}")


def label_selector(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _wrong_type(name, value, "a dict of labels and conditions")
    for label, condition in value.items():
        if not isinstance(label, str) or not isinstance(condition, str):
            raise TypeError(
                f"labels and conditions in option {name!r} must be strings, got {label!r}: {condition!r}"
            )
        labels.rule(label, condition)


def node_labels(name: str, value: Any) -> None:
    """Labels that a node is to have."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name!r} must be a dict of names and values, not {type(value).__name__} ({value!r})"
        )
    for label, text in value.items():
        if not isinstance(label, str) or not isinstance(text, str):
            raise TypeError(f"names and values in {name!r} must be strings, got {label!r}: {text!r}")
        labels.check_name(label)
        labels.check_value(text)


def scheduling_strategy(name: str, value: Any) -> None:
    text(name, value)
    if value not in (None, "DEFAULT"):
        raise ValueError(
            f"{name}={value!r} is not supported yet; 'DEFAULT' is, and 'label_selector' says by labels where to run"
        )


def concurrency(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, "an int")
    if value < 1:
        raise ValueError(f"option 'max_concurrency' must be 1 or more, got {value}")


def groups(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _wrong_type(name, value, "a dict of group names and numbers of calls")
    for group, size in value.items():
        if not isinstance(group, str) or not group:
            raise TypeError(f"names in option {name!r} must be non-empty strings, got {group!r}")
        if not isinstance(size, int) or isinstance(size, bool):
            raise _wrong_type(f"{name}[{group!r}]", size, "an int")
        if size < 1:
            raise ValueError(f"concurrency group {group!r} must take 1 call or more at a time, got {size}")


def runtime_env(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _wrong_type(name, value, "a dict")
    for field in value:
        if field != "env_vars":
            raise ValueError(f"runtime_env field {field!r} is not supported yet; 'env_vars' is")
    variables = value.get("env_vars") or {}
    if not isinstance(variables, Mapping):
        raise TypeError(f"runtime_env['env_vars'] must be a dict of strings, not {type(variables).__name__}")
    for variable, text in variables.items():
        if not isinstance(variable, str) or not isinstance(text, str):
            raise TypeError(f"runtime_env['env_vars'] must map str to str, got {variable!r}: {text!r}")
        if not variable or "=" in variable or "\0" in variable + text:
            raise ValueError(f"{variable!r} cannot be an environment variable")
