from __future__ import annotations

import nbray
from nbray.bench import sweep


def split(chunk):
    total = nbray.remote(lambda numbers: sum(numbers))
    nbray.get([total.remote(range(start, start + chunk)) for start in range(0, 8, chunk)])


def test_without_a_pool_a_sweep_brings_its_own_and_ends_it():
    found = sweep(split, {"chunk": [4]}, workers=[1], rounds=1)
    assert found.rows[0].account.tasks == 2
    assert not nbray.is_initialized()
