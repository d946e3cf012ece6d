"""What the README says about Ray's names is so."""

import importlib.util
from pathlib import Path

import pytest

from nbray import exceptions

_spec = importlib.util.spec_from_file_location("nbray_compat", Path(__file__).parent / "compat.py")
compat = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(compat)


def test_the_readme_says_of_every_name_of_ray_whether_it_is_here():
    text = compat.README.read_text(encoding="utf-8")
    assert compat.BEGIN in text
    assert compat.written(text) == text, "run: python tests/api/compat.py --write"


def test_every_name_is_in_the_table_once():
    table = compat.table()
    for group, names in compat.NAMES.items():
        section = table.partition(f"<code>{group}</code>")[2].partition("</details>")[0]
        for name in names:
            assert section.count(f"| `{name}`") + section.count(f", `{name}`") == 1, (group, name)


def test_remarks_are_about_names_of_ray():
    for group, remarks in compat.REMARKS.items():
        assert set(remarks) <= set(compat.NAMES[group]), group


def test_what_is_looked_up_can_be_missing_and_can_be_there():
    assert compat.has("ray", "get") and not compat.has("ray", "no_such_name")
    assert compat.has("task options", "num_cpus") and not compat.has("task options", "no_such_option")
    assert compat.has("actor options", "get_if_exists") and not compat.has("actor options", "no_such_option")
    assert compat.has("method options", "num_returns") and not compat.has("method options", "no_such_option")
    assert compat.has("init", "num_cpus") and not compat.has("init", "no_such_argument")
    assert compat.has("ObjectRef", "hex") and not compat.has("ObjectRef", "no_such_member")
    assert compat.has("ray.util.queue", "Queue") and not compat.has("ray.no_such_module", "Queue")


@pytest.mark.parametrize("name", compat.EXCEPTION_BASES)
def test_exceptions_are_caught_by_what_catches_rays(name):
    if not compat.has("ray.exceptions", name):
        assert name in compat.REMARKS["ray.exceptions"]
        return
    ours = {base.__name__ for base in getattr(exceptions, name).__mro__}
    assert set(compat.EXCEPTION_BASES[name]) <= ours
