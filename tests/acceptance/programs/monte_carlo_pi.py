"""Tasks draw points and tell an actor how far they are; the driver watches it."""

import random
import time

import ray


@ray.remote
class Progress:
    def __init__(self, total):
        self.total = total
        self.done = {}

    def report(self, task, count):
        self.done[task] = count

    def fraction(self):
        return sum(self.done.values()) / self.total


@ray.remote
def inside(task, count, progress):
    generator = random.Random(task)
    hits = 0
    for number in range(1, count + 1):
        x, y = generator.random(), generator.random()
        hits += x * x + y * y <= 1
        if number % 1000 == 0:
            progress.report.remote(task, number)
    return hits


ray.init(num_cpus=2)
TASKS, POINTS = 6, 5000
progress = Progress.remote(TASKS * POINTS)
refs = [inside.remote(task, POINTS, progress) for task in range(TASKS)]
while ray.get(progress.fraction.remote()) < 1:
    time.sleep(0.01)
print("progress", ray.get(progress.fraction.remote()))
print("pi", round(4 * sum(ray.get(refs)) / (TASKS * POINTS), 4))
ray.shutdown()
