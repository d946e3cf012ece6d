"""The JavaScript that is shipped is the one in the sources."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nbray_widgets.shell import bundle

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "widgets" / "js"
STATIC = ROOT / "widgets" / "nbray_widgets" / "static"


@pytest.fixture(scope="module")
def node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    return node


@pytest.fixture(scope="module")
def packages(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the packages of the lock file."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    copy = tmp_path_factory.mktemp("js") / "js"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"],
        cwd=copy,
        check=False,
        capture_output=True,
        text=True,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install the packages: {installed.stderr.strip()[-300:]}")
    return copy


def test_the_committed_bundle_is_what_its_sources_give(packages: Path, node: str, tmp_path: Path):
    subprocess.run([node, "build.js", str(tmp_path)], cwd=packages, check=True, capture_output=True)
    for built in tmp_path.iterdir():
        assert (STATIC / built.name).read_bytes() == built.read_bytes(), (
            f"static/{built.name} is stale: run npm ci && npm run build in widgets/js"
        )
    assert {path.name for path in STATIC.iterdir()} == {path.name for path in tmp_path.iterdir()}


BUNDLES = sorted(path.stem for path in (SOURCES / "src").glob("*.js"))


@pytest.mark.parametrize("name", BUNDLES)
def test_nothing_is_fetched_from_elsewhere(name: str):
    script, style = (STATIC / f"{name}.js").read_text(), (STATIC / f"{name}.css").read_text()
    addresses = (script + style).replace("http://www.w3.org/2000/svg", "")  # a namespace, never fetched
    assert "http://" not in addresses and "https://" not in addresses
    assert "@import" not in style and "url(" not in style
    assert "import(" not in script and "innerHTML" not in script and "eval(" not in script


@pytest.mark.parametrize("name", BUNDLES)
def test_each_view_can_load_its_bundle(name: str):
    script, style = bundle(name)
    assert "export{" in script
    assert ".nbray-view" in style


def test_the_licences_of_what_is_bundled_are_there():
    lock = json.loads((SOURCES / "package-lock.json").read_text())
    text = (STATIC / "LICENSES.txt").read_text()
    shipped = [path for path, package in lock["packages"].items() if path and not package.get("dev")]
    assert shipped
    for path in shipped:
        assert f"{path.removeprefix('node_modules/')} {lock['packages'][path]['version']} (in " in text
    assert all("resolved" not in package for package in lock["packages"].values())


def test_the_units_of_the_browser_side_pass_their_own_tests(packages: Path, node: str):
    done = subprocess.run([node, "--test"], cwd=packages, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_browser_applies_changes_and_writes_numbers_as_python_does(node: str):
    from nbray_widgets.picture.svg import short
    from nbray_widgets.reducers.delta import applied, delta
    from nbray_widgets.text import seconds

    old = {"groups": {"0": {"n": 1}, "1": {"n": 2}}, "edges": {"0>1": 3}}
    new = {"groups": {"0": {"n": 5}, "2": {"n": 1}}, "edges": {}, "actors": {"0": {"queue": 1}}}
    numbers = [0, 7, 999, 1_000, 1_050, 12_345, 99_949, 99_960, 999_999, 1_234_567, 2_000_000_000]
    durations = [0, 0.00034, 0.0012, 0.0095, 0.0123, 0.99949, 0.9996, 3.2, 9.996, 59.94, 59.96, 250]
    program = f"""
      import {{ apply }} from {json.dumps((SOURCES / "src" / "shell" / "delta.js").as_uri())};
      import {{ short, seconds }} from {json.dumps((SOURCES / "src" / "shell" / "words.js").as_uri())};
      const [state, change, numbers, durations] = {json.dumps([old, delta(old, new), numbers, durations])};
      console.log(JSON.stringify([apply(state, change), numbers.map(short), durations.map(seconds)]));
    """
    done = subprocess.run(
        [node, "--input-type=module", "-e", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [
        applied(old, delta(old, new)),
        [short(n) for n in numbers],
        [seconds(d) for d in durations],
    ]


@pytest.mark.parametrize("name", BUNDLES)
def test_a_view_styles_only_what_is_inside_of_it(name: str):
    """All views of a notebook are on one page, and the style sheet of one must not reach into another."""
    root = f".nbray-{'bench' if name == 'benchmark' else name}"
    text = re.sub(
        r"/\*.*?\*/|@import[^;]*;|@keyframes[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}",
        "",
        _style(name),
        flags=re.DOTALL,
    )
    selectors = [
        selector.strip()
        for head in re.findall(r"([^{}]+)\{", text)
        if not head.strip().startswith("@")
        for selector in re.split(r",(?![^(]*\))", head)
    ]
    assert selectors
    assert [
        each
        for each in selectors
        if not re.match(rf"(\.nbray-(view|still))?{re.escape(root)}(?![\w-])", each)
    ] == []


def _style(name: str) -> str:
    return (SOURCES / "src" / f"{name}.css").read_text()
