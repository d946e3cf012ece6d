"""The labels of Dask's own workers."""

from __future__ import annotations

import dask
import pytest
from distributed import LocalCluster

import nbray


@pytest.mark.parametrize(
    ("said", "labels", "warned"),
    [
        ({"zone": "a", "number": 3}, {"zone": "a", "number": "3"}, False),
        ({"zo ne": "a", "zone": "b"}, {"zone": "b"}, True),
        ("a", {}, True),
    ],
)
def test_a_dask_worker_has_the_labels_of_its_configuration(
    caplog, said: object, labels: dict[str, str], warned: bool
) -> None:
    with (
        dask.config.set({"nbray.labels": said}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as workers,
        nbray.init(workers),
    ):
        (node,) = nbray.nodes()
        assert node["Labels"] == {**labels, "ray.io/node-id": node["NodeID"]}
        answer = nbray.remote(label_selector=labels)(lambda: 1)
        assert nbray.get(answer.remote()) == 1
    assert any("nbray.labels" in record.message for record in caplog.records) == warned
