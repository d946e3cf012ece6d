"""An async actor walks a graph of pages; tasks fetch them, and it awaits their refs."""

import asyncio

import ray

PAGES = {
    "/": ["/a", "/b"],
    "/a": ["/a/1", "/a/2", "/"],
    "/b": ["/a", "/b/1", "/missing"],
    "/a/1": [],
    "/a/2": ["/b/1"],
    "/b/1": ["/"],
}


@ray.remote
def fetch(page):
    if page not in PAGES:
        raise KeyError(page)
    return PAGES[page]


@ray.remote
class Crawler:
    def __init__(self):
        self.seen = set()
        self.broken = []

    async def crawl(self, page):
        if page in self.seen:
            return
        self.seen.add(page)
        try:
            links = await fetch.remote(page)
        except KeyError as error:
            self.broken.append((page, type(error.cause).__name__))
            return
        await asyncio.gather(*(self.crawl(link) for link in links))

    async def report(self):
        return sorted(self.seen), self.broken


ray.init(num_cpus=2)
crawler = Crawler.remote()
ray.get(crawler.crawl.remote("/"))
seen, broken = ray.get(crawler.report.remote())
print("seen", seen)
print("broken", broken)


async def at_once():
    return await asyncio.gather(*(fetch.remote(page) for page in ("/", "/a/1")))


print("awaited by the driver", asyncio.run(at_once()))
ray.shutdown()
