"""Producers and consumers share a bounded queue; one None a consumer ends it."""

import asyncio

import ray
from ray.util.queue import Empty, Full, Queue


@ray.remote(num_cpus=0)
def produce(queue, name, count):
    for number in range(count):
        queue.put((name, number))
    return name


@ray.remote(num_cpus=0)
def consume(queue):
    found = []
    while (item := queue.get()) is not None:
        found.append(item)
    return found


ray.init(num_cpus=2)
queue = Queue(maxsize=5)
consumers = [consume.remote(queue) for _ in range(2)]
print("producers", ray.get([produce.remote(queue, name, 15) for name in "ab"]))
for _ in consumers:
    queue.put(None)
items = sorted(item for found in ray.get(consumers) for item in found)
print("items", len(items), items[0], items[-1], len(set(items)))
print("left", queue.qsize(), queue.empty(), queue.full())
try:
    queue.get_nowait()
except Empty:
    print("Empty")
queue.put_nowait_batch([1, 2, 3, 4, 5])
try:
    queue.put_nowait(6)
except Full:
    print("Full")
print("batch", queue.get_nowait_batch(3))


async def both():
    await queue.put_async("later")
    return [await queue.get_async() for _ in range(3)]


print("async", asyncio.run(both()))
queue.shutdown()
ray.shutdown()
