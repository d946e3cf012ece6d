"""Fixtures of all tests: nothing may be left behind, and a pool for those that want one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest
from hypothesis import HealthCheck, settings
from leaks import KINDS, census, leaks

import nbray

# No test is about time: on a machine that is busy with something else, generating an example takes a second, too.
settings.register_profile("nbray", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nbray")


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What the modules of these tests define goes by value, as what a notebook defines: an executor that had to import the module
    would import pytest and all else first, a quarter of the CPU time of such a file and more."""
    module = getattr(item, "module", None)
    if module is None or item.path.parent.name not in ("acceptance", "api"):
        return
    for made in vars(module).values():
        if isinstance(made, FunctionType | type) and made.__module__ == module.__name__:
            for part in (made, *filter(lambda part: isinstance(part, FunctionType), vars(made).values())):
                part.__module__ = "__main__"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's tests go last: Playwright leaves an event loop running on the main thread, and Chromium starts processes
    whenever it likes."""
    items.sort(key=lambda item: "browser" in item.path.parts)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves threads, processes, descriptors or nbray's directories behind.

    Where a pool with a wider scope is up, its own ways are its business until it ends; see `pool`.
    """
    allowed: set[str] = set()
    for marker in request.node.iter_markers("may_leak"):
        assert set(marker.args) <= set(KINDS), f"may_leak takes {KINDS}, not {marker.args}"
        assert marker.kwargs.get("why"), "may_leak wants a reason: why=..."
        allowed.update(marker.args or KINDS)
    pool = nbray.is_initialized()
    before = census()
    yield
    left = leaks(before, frozenset(allowed), pool=pool)
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(scope="module")
def pool() -> Iterator[ModuleType]:
    """nbray with a local pool of 2 CPUs, for all tests of the module; afterwards nothing of it may be left."""
    before = census()
    nbray.init(num_cpus=2)
    yield nbray
    nbray.shutdown()
    left = leaks(before)
    if left:
        pytest.fail("the pool left behind:\n  " + "\n  ".join(left), pytrace=False)
