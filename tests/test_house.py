"""The house is in order: what is exported, what is shipped, what an import costs."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["nbray", "nbray_magics", "nbray_widgets"]


HOOKS = {"load_ipython_extension", "unload_ipython_extension"}  # IPython calls them, nobody imports them


def is_own(value: object) -> bool:
    """Not a module, and not something that the package imports for itself."""
    return not inspect.ismodule(value) and getattr(value, "__module__", "").startswith("nbray")


@pytest.mark.parametrize("name", PACKAGES)
def test_all_names_just_what_is_public(name):
    package = importlib.import_module(name)
    exported = package.__all__
    assert len(exported) == len(set(exported))
    for each in exported:
        assert getattr(package, each) is not None or each == "None"
    public = {each for each, value in vars(package).items() if not each.startswith("_") and is_own(value)}
    assert public - HOOKS - set(exported) == set()


def test_importing_nbray_does_not_import_what_only_some_need():
    program = "import nbray, sys; print(*sorted(m for m in sys.modules if '.' not in m))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        "dask",
        "distributed",
        "IPython",
        "ipywidgets",
        "ipykernel",
        "anywidget",
        "tornado",
        "pandas",
        "sklearn",
        "ray",
    }
    assert heavy & set(finished.stdout.split()) == set()


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"{package}/__init__.py" for package in PACKAGES} <= names
    assert "nbray/py.typed" in names
    shipped = {
        path.parent.name + "/" + path.name for path in (ROOT / "widgets/nbray_widgets").glob("static/*")
    }
    assert {name for name in shipped if not name.startswith(".")} <= {
        "/".join(name.split("/")[-2:]) for name in names if name.startswith("nbray_widgets/static/")
    }
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_changelog_knows_the_version_or_says_unreleased():
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}]" in changelog or "## [Unreleased]" in changelog


def test_the_design_names_no_file_that_there_is_not():
    text = (ROOT / "nbray/core/DESIGN.md").read_text(encoding="utf-8")
    named = {name.removeprefix("nbray/") for name in re.findall(r"`([a-z]+/[a-z_]+\.py)`", text)}
    table = text.partition("## Where things are")[2].partition("\n## ")[0]
    for package, files in re.findall(
        r"^\| `(?:nbray/)?([a-z_]*)/?(?:\*\.py)?` \|[^|]*\|([^|]*)\|", table, re.MULTILINE
    ):
        # What stands in brackets are words of the field.
        names = re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", files))
        named |= {f"{package}/{name}.py".lstrip("/") for name in names}
    assert len(named) > 80
    assert {name for name in named if not (ROOT / "nbray" / name).is_file()} == set()
