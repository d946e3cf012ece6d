"""Tasks that wait for tasks, far deeper than there are CPUs."""

import ray


@ray.remote
def depth(levels):
    return 0 if levels == 0 else 1 + ray.get(depth.remote(levels - 1))


@ray.remote
def fibonacci(n):
    return n if n < 2 else sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))


@ray.remote
def quicksort(numbers):
    if len(numbers) < 4:
        return sorted(numbers)
    pivot, *rest = numbers
    low = quicksort.remote([n for n in rest if n < pivot])
    high = quicksort.remote([n for n in rest if n >= pivot])
    return ray.get(low) + [pivot] + ray.get(high)


ray.init(num_cpus=1)
print("depth", ray.get(depth.remote(64)))
print("fibonacci", ray.get(fibonacci.remote(7)))
print("sorted", ray.get(quicksort.remote([n * 7 % 23 for n in range(23)])))
ray.shutdown()
