"""joblib and scikit-learn on nbray."""

import os

import joblib
import numpy as np
import pytest
from gates import Gate, until

import nbray
from nbray.util.joblib import register_ray

pytestmark = pytest.mark.usefixtures("pool")


@pytest.fixture(autouse=True)
def registered():
    register_ray()


@pytest.mark.parametrize("backend", ["ray", "nbray"])
def test_calls_run_in_tasks_and_keep_their_order(backend):
    with joblib.parallel_config(backend):
        found = joblib.Parallel()(joblib.delayed(lambda n: (n, os.getpid()))(n) for n in range(50))
    assert [n for n, _ in found] == list(range(50))
    assert os.getpid() not in {pid for _, pid in found}


def test_the_older_context_manager_works_too():
    with joblib.parallel_backend("ray"):
        assert joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(5)) == list(range(5))
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.effective_n_jobs(5) == 5


def test_results_can_be_had_as_they_come(tmp_path):
    gate = Gate(tmp_path)
    first_waits = lambda n: gate.wait() if n == 0 else n
    with joblib.parallel_config("ray"):
        results = joblib.Parallel(return_as="generator_unordered", batch_size=1)(
            joblib.delayed(first_waits)(n) for n in range(3)
        )
        assert sorted([next(results), next(results)]) == [1, 2]
        gate.open()
        assert list(results) == [None]


def test_a_failure_is_raised_and_the_backend_goes_on():
    def fail(n):
        if n == 3:
            raise ValueError(n)
        return n

    with joblib.parallel_config("ray"):
        with pytest.raises(ValueError):
            joblib.Parallel()(joblib.delayed(fail)(n) for n in range(10))
        assert joblib.Parallel()(joblib.delayed(fail)(n) for n in range(3)) == [0, 1, 2]


def test_a_failure_cancels_what_is_under_way(tmp_path):
    gate = Gate(tmp_path)

    def stand_or_fail(n):
        if n == 0:
            gate.until_came()
            raise ValueError(n)
        gate.wait()

    before = nbray.feed().end
    with joblib.parallel_config("ray"), pytest.raises(ValueError):
        joblib.Parallel(n_jobs=2, batch_size=1)(joblib.delayed(stand_or_fail)(n) for n in range(2))
    until(lambda: any(getattr(each, "state", "") == "cancelled" for each in nbray.feed().since(before)[0]))


def test_an_argument_that_calls_share_is_stored_once():
    shared = np.ones(200_000)
    before, records = nbray.feed().end, []
    with joblib.parallel_config("ray"):
        found = joblib.Parallel(batch_size=1)(
            joblib.delayed(lambda a, n: float(a.sum()) + n)(shared, n) for n in range(8)
        )
    assert found == [200_000.0 + n for n in range(8)]
    records, _ = nbray.feed().since(before)
    stored = [
        record for record in records if type(record).__name__ == "ObjectChanged" and record.state == "stored"
    ]
    assert len(stored) == 1


def test_tasks_have_the_options_that_were_given():
    with joblib.parallel_config("ray", ray_remote_args={"runtime_env": {"env_vars": {"JOBLIB": "yes"}}}):
        assert joblib.Parallel()(joblib.delayed(os.getenv)("JOBLIB") for _ in range(2)) == ["yes"] * 2


def test_calls_may_be_nested():
    def outer(n):
        return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(n, k) for k in range(3)))

    with joblib.parallel_config("ray"):
        assert joblib.Parallel()(joblib.delayed(outer)(n) for n in range(4)) == [1, 3, 7, 13]


def test_scikit_learn_finds_the_same_model():
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    X, y = datasets.load_iris(return_X_y=True)
    search = lambda: GridSearchCV(SVC(), {"C": [0.1, 1, 10], "gamma": ["scale", 0.1]}, cv=3).fit(X, y)
    with joblib.parallel_config("ray"):
        parallel = search()
    assert parallel.best_params_ == search().best_params_


def test_without_work_for_two_it_runs_here():
    with joblib.parallel_config("ray", n_jobs=1):
        assert joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2
    with joblib.parallel_config("ray"), pytest.raises(ValueError, match="n_jobs"):
        joblib.Parallel(n_jobs=0)(joblib.delayed(abs)(n) for n in range(2))
