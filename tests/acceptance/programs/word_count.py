"""Map-reduce: each mapper returns one ref a reducer."""

import collections

import ray

TEXTS = [
    "the owner keeps the value and the place of the value",
    "a lane is a lease and an executor",
    "the lease is the right to use a node",
    "an executor runs a task and the task gives a value",
]
REDUCERS = 3


@ray.remote(num_returns=REDUCERS)
def split(text):
    parts = [collections.Counter() for _ in range(REDUCERS)]
    for word in text.split():
        parts[sum(word.encode()) % REDUCERS][word] += 1
    return parts


@ray.remote
def merge(*parts):
    return sum(parts, collections.Counter())


ray.init(num_cpus=2)
mapped = [split.remote(text) for text in TEXTS]
print("refs", [len(refs) for refs in mapped])
merged = ray.get([merge.remote(*(refs[number] for refs in mapped)) for number in range(REDUCERS)])
counts = sum(merged, collections.Counter())
print("words", sum(counts.values()), sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:5])
print("again", len(split.options(num_returns=1).remote(TEXTS[0]).hex()) > 0)


@ray.remote(num_returns=2)
def too_few():
    return (1,)


try:
    ray.get(too_few.remote())
except ValueError:
    print("too few values: ValueError")
ray.shutdown()
