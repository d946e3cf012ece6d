"""Actors that are found by name, from the driver and from tasks."""

import ray


@ray.remote
class Registry:
    def __init__(self, kind="plain"):
        self.kind = kind
        self.entries = {}

    def set(self, key, value):
        self.entries[key] = value

    def get(self, key):
        return self.entries.get(key)

    def kind_of(self):
        return self.kind


@ray.remote
def register(number):
    registry = ray.get_actor("registry")
    ray.get(registry.set.remote(number, number * number))


def caught(what):
    try:
        what()
    except ValueError:
        return "ValueError"
    return "nothing"


ray.init(num_cpus=2, namespace="program")
registry = Registry.options(name="registry").remote()
ray.get([register.remote(number) for number in range(5)])
print("entries", ray.get([registry.get.remote(number) for number in range(6)]))
print("same", ray.get_actor("registry") == registry, ray.util.list_named_actors())
other = Registry.options(name="registry", namespace="other").remote("other")
print("other namespace", ray.get(ray.get_actor("registry", namespace="other").kind_of.remote()))
print(
    "all",
    sorted((each["namespace"], each["name"]) for each in ray.util.list_named_actors(all_namespaces=True)),
)
again = Registry.options(name="registry", get_if_exists=True).remote("new")
print("get if exists", ray.get(again.kind_of.remote()))
print("taken", caught(lambda: Registry.options(name="registry").remote()))
print("missing", caught(lambda: ray.get_actor("nobody")))
context = ray.get_runtime_context()
print("namespace", context.namespace, context.get_actor_id())


@ray.remote
def seen():
    context = ray.get_runtime_context()
    return context.namespace, context.get_task_id() is not None, context.get_actor_id()


print("in a task", ray.get(seen.remote()))
ray.shutdown()
print("over", ray.is_initialized())
