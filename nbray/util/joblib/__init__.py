"""nbray as a backend of joblib, and so of scikit-learn."""

from __future__ import annotations

__all__ = ["register_ray"]


def register_ray() -> None:
    """Have joblib know the backends "ray" and "nbray", which are the same: ``Parallel`` runs its calls as tasks.

    Raises:
        ImportError: joblib is not installed.

    Example:
        >>> nbray.util.joblib.register_ray()
        >>> with joblib.parallel_config("ray"):
        ...     search.fit(X, y)
    """
    try:
        from joblib.parallel import register_parallel_backend
    except ImportError:
        raise ImportError(
            "joblib is not installed (it comes with scikit-learn): pip install joblib"
        ) from None
    from nbray.util.joblib.ray_backend import RayBackend

    for name in ("ray", "nbray"):
        register_parallel_backend(name, RayBackend)
