"""An async actor lets so many tasks in at a time; a sync one counts who is inside."""

import asyncio

import ray


@ray.remote
class Semaphore:
    def __init__(self, places):
        self.semaphore = asyncio.Semaphore(places)

    async def acquire(self):
        await self.semaphore.acquire()

    async def release(self):
        self.semaphore.release()


@ray.remote
class Inside:
    def __init__(self):
        self.now = self.most = self.all = 0

    def enter(self):
        self.now += 1
        self.all += 1
        self.most = max(self.most, self.now)

    def leave(self):
        self.now -= 1

    def told(self):
        return self.now, self.most <= 2, self.all


@ray.remote(num_cpus=0)
def visit(semaphore, inside):
    ray.get(semaphore.acquire.remote())
    ray.get(inside.enter.remote())
    ray.get(inside.leave.remote())
    ray.get(semaphore.release.remote())


ray.init(num_cpus=2)
semaphore, inside = Semaphore.remote(2), Inside.remote()
ray.get([visit.remote(semaphore, inside) for _ in range(8)])
print("inside", ray.get(inside.told.remote()))
ray.shutdown()
