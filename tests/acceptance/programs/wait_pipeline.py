"""Two stages with wait between them: the second starts on whatever the first has ready, a few at a time."""

import ray


@ray.remote
def load(number):
    return {"number": number, "rows": list(range(number))}


@ray.remote
def digest(loaded):
    return loaded["number"], sum(loaded["rows"])


ray.init(num_cpus=2)
waiting = list(range(20))
loading, digesting, found = [], [], {}
most = 0
while waiting or loading or digesting:
    while waiting and len(loading) < 4:
        loading.append(load.remote(waiting.pop(0)))
    most = max(most, len(loading))
    if loading:
        ready, loading = ray.wait(loading, num_returns=1)
        digesting += [digest.remote(ref) for ref in ready]
    ready, digesting = ray.wait(digesting, num_returns=len(digesting), timeout=0 if loading else None)
    found.update(ray.get(ready))
print("at a time", most)
print("digests", [found[number] for number in sorted(found)])
print("nothing to wait for", ray.wait([]))
ray.shutdown()
