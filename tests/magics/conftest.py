from __future__ import annotations

from collections.abc import Iterator

import kernels
import pytest


def _environment(patch: pytest.MonkeyPatch, directory: object) -> None:
    patch.setenv("IPYTHONDIR", str(directory))
    patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kernels.Kernel]:
    """One kernel with nbray loaded for all tests of a module; the first one that needs it starts the pool."""
    directory = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        _environment(patch, directory)
        with kernels.kernel(directory) as kernel:
            kernel.ok("import nbray\n%load_ext nbray")
            yield kernel


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> Iterator[kernels.Kernel]:
    """A kernel of the test's own."""
    _environment(monkeypatch, tmp_path)
    with kernels.kernel(tmp_path) as kernel:
        yield kernel
