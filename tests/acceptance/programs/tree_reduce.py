"""Sums arrays in a tree: results go from task to task and never to the driver."""

import numpy as np
import ray


@ray.remote
def leaf(number):
    return np.full(50_000, number, dtype=np.int64)


@ray.remote
def add(left, right):
    return left + right


@ray.remote
def total(refs):
    return sum(int(ray.get(ref).sum()) for ref in refs)


ray.init(num_cpus=2)
level = [leaf.remote(number) for number in range(16)]
while len(level) > 1:
    level = [add.remote(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
(root,) = level
result = ray.get(root)
print("sum", result.shape, int(result[0]), int(result[-1]))
print("nested refs", ray.get(total.remote([leaf.remote(1), root])))
ray.shutdown()
