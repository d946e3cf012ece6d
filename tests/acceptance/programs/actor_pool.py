"""A pool of actors with state that is expensive to make."""

import ray
from ray.util import ActorPool


@ray.remote
class Model:
    def __init__(self, factor):
        self.table = [factor * number for number in range(100)]

    def predict(self, number):
        return self.table[number]

    def pair(self, number):
        return number, self.table[number]


ray.init(num_cpus=2)
pool = ActorPool([Model.remote(3), Model.remote(3)])
print("ordered", list(pool.map(lambda actor, number: actor.predict.remote(number), range(8))))
print("any order", sorted(pool.map_unordered(lambda actor, number: actor.pair.remote(number), range(5))))
pool.submit(lambda actor, number: actor.predict.remote(number), 10)
pool.submit(lambda actor, number: actor.predict.remote(number), 11)
pool.submit(lambda actor, number: actor.predict.remote(number), 12)
print("free", pool.has_free(), "next", pool.has_next())
print("one by one", pool.get_next(), pool.get_next(), pool.get_next())
idle = pool.pop_idle()
pool.push(idle)
try:
    pool.push(idle)
except ValueError as error:
    print("twice:", type(error).__name__)
try:
    pool.get_next()
except StopIteration:
    print("empty: StopIteration")
ray.shutdown()
