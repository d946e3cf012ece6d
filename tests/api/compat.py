"""The README's table of Ray's public names: which nbray has.

    python tests/api/compat.py            print it
    python tests/api/compat.py --write    put it into the README

What Ray has lies in ``ray_names.json``, recorded from Ray by introspection; what nbray has is looked up in nbray; what to say
beside lies in ``compat_remarks.json``. A name that is there and has a remark is "differently".
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path

import nbray
from nbray._session import _WITHOUT_EFFECT

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- compatibility: written by tests/api/compat.py -->", "<!-- /compatibility -->"

_RECORDED = json.loads((HERE / "ray_names.json").read_text(encoding="utf-8"))
RAY: str = _RECORDED["ray"]
NAMES: dict[str, list[str]] = _RECORDED["names"]
EXCEPTION_BASES: dict[str, list[str]] = _RECORDED["exception bases"]
REMARKS: dict[str, dict[str, str]] = json.loads((HERE / "compat_remarks.json").read_text(encoding="utf-8"))


class _Actor:
    def method(self):
        pass


def _member_of():
    """Where the members of Ray's types are to be found in nbray."""
    from nbray import _actor_handle, runtime_context

    meta = _actor_handle.Meta("Actor", _actor_handle._methods_of(_Actor, {}))
    return {
        "ObjectRef": nbray.ObjectRef,
        "ObjectRefGenerator": getattr(nbray, "ObjectRefGenerator", None),
        "ActorHandle": _actor_handle.ActorHandle(None, meta),
        "ActorMethod": _actor_handle.ActorHandle(None, meta).method,
        "ActorClass": nbray.remote(_Actor),
        "RemoteFunction": nbray.remote(lambda: None),
        "RuntimeContext": runtime_context.RuntimeContext,
    }


def _takes(accept) -> bool:
    """Whether an option is known: unknown ones are a ValueError, known ones with a value of a wrong type a TypeError."""
    try:
        accept()
    except ValueError as error:
        return not ("not supported" in str(error) or "unknown" in str(error))
    except TypeError:
        pass
    return True


def has(group: str, name: str) -> bool:
    """Whether nbray has that name."""
    if group == "init":
        return name in inspect.signature(nbray.init).parameters or name in _WITHOUT_EFFECT
    if group == "task options":
        return _takes(lambda: nbray.remote(lambda: None).options(**{name: object()}))
    if group == "actor options":
        return _takes(lambda: nbray.remote(_Actor).options(**{name: object()}))
    if group == "method options":
        return _takes(lambda: nbray.method(**{name: object()}))
    if not group.startswith("ray"):
        try:
            return hasattr(_member_of()[group], name)
        except Exception:
            return False
    try:
        module = importlib.import_module("nb" + group)
    except ModuleNotFoundError:
        return False
    return hasattr(module, name)


def rows() -> list[tuple[str, list[str], list[str], list[str]]]:
    """Of each group: what is there, what is there differently, what is not."""
    found = []
    for group, names in NAMES.items():
        yes, differently, no = [], [], []
        for name in names:
            remark = REMARKS.get(group, {}).get(name)
            told = f"`{name}`" + (f" ({remark})" if remark else "")
            (no if not has(group, name) else differently if remark else yes).append(told)
        found.append((group, yes, differently, no))
    return found


def table() -> str:
    """The section of the README between its marks."""
    lines = []
    for group, yes, differently, no in rows():
        count = len(yes) + len(differently)
        lines += [
            f"<details><summary><code>{group}</code>: {count} of {count + len(no)}</summary>",
            "",
            "| | |",
            "|---|---|",
        ]
        for word, names in (("yes", yes), ("differently", differently), ("no", no)):
            if names:
                lines.append(f"| {word} | {', '.join(names)} |")
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def written(readme: str) -> str:
    """The README with the table as it should be."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())
