"""scikit-learn's grid search, and multiprocessing's Pool, on the cluster."""

import joblib
import ray
from ray.util.joblib import register_ray
from ray.util.multiprocessing import Pool
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

ray.init(num_cpus=2)
register_ray()
X, y = load_iris(return_X_y=True)
search = GridSearchCV(SVC(), {"C": [0.1, 1, 10], "gamma": [0.01, 0.1, 1]}, cv=3, n_jobs=2)
with joblib.parallel_backend("ray"):
    search.fit(X, y)
print("best", search.best_params_, round(search.best_score_, 4))
with joblib.parallel_backend("ray"):
    print("calls", joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(n, 2) for n in range(6)))


def square(number):
    return number * number


def picky(number):
    if number == 2:
        raise ValueError("two")
    return number


with Pool(2) as pool:
    print("map", pool.map(square, range(6)), pool.starmap(pow, [(2, 3), (3, 2)]))
    print("imap", list(pool.imap(square, range(4))), sorted(pool.imap_unordered(square, range(4))))
    print("apply", pool.apply(square, (7,)), pool.apply_async(square, (8,)).get(timeout=30))
    result = pool.map_async(picky, range(4))
    result.wait()
    print("successful", result.ready(), result.successful())
    try:
        result.get()
    except ValueError as error:
        print("raised", type(error).__name__, error)
try:
    pool.map(square, [1])
except ValueError:
    print("closed: ValueError")
ray.shutdown()
