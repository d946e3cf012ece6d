"""Utilities where there is no session yet, or no more."""

import threading

import pytest

import nbray
from nbray.exceptions import RaySystemError
from nbray.util.multiprocessing import Pool


def test_a_pool_starts_a_session_of_its_size():
    with Pool(1) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert nbray.cluster_resources()["CPU"] == 1
    pool.join()
    nbray.shutdown()


def test_a_pool_ends_with_its_session():
    nbray.init(num_cpus=1)
    pool = Pool(1)
    never = pool.apply_async(lambda: threading.Event().wait())
    nbray.shutdown()
    pool.join()
    with pytest.raises((RaySystemError, ValueError)):
        pool.apply(abs, (1,))
    with pytest.raises(RaySystemError):
        never.get()
    pool.terminate()
    assert not nbray.is_initialized()
