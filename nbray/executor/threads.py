"""How many threads BLAS and OpenMP use in an executor: as many as its lane has CPUs, unless the user said otherwise."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

#: OpenBLAS, MKL, BLIS and numexpr fall back to the first one where their own is not set.
_OPENMP = "OMP_NUM_THREADS"
_OTHERS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
VARIABLES = (_OPENMP, *_OTHERS)

_OPENBLAS_SETTERS = (
    "scipy_openblas_set_num_threads64_",  # NumPy's wheels
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def thread_variables(environ: Mapping[str, str], threads: int) -> dict[str, str]:
    """The variables to set for ``threads`` threads: none that the user has set, and none that would overrule one."""
    if _OPENMP in environ:
        return {}
    return {name: str(threads) for name in VARIABLES if name not in environ}


def openblas_threads(environ: Mapping[str, str]) -> int:
    """What OpenBLAS would read from these variables at its start."""
    for name in ("OPENBLAS_NUM_THREADS", _OPENMP):
        value = environ.get(name, "").strip()
        if value.isdigit() and int(value):
            return int(value)
    return 1


def set_loaded_openblas(threads: int) -> None:
    """Tell an OpenBLAS that is already loaded: it read its variables in the template, where they said 1."""
    try:
        with open("/proc/self/maps") as file:
            paths = {line.split(maxsplit=5)[5].strip() for line in file if "openblas" in line}
    except OSError:
        return
    for path in paths:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for name in _OPENBLAS_SETTERS:
            setter = getattr(library, name, None)
            if setter is not None:
                setter(ctypes.c_int(threads))
                break
