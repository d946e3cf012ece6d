"""Workers fit a line by gradient descent; the parameters live in an actor."""

import numpy as np
import ray


@ray.remote
class ParameterServer:
    def __init__(self, size, rate):
        self.parameters = np.zeros(size)
        self.rate = rate
        self.rounds = 0

    def apply(self, *gradients):
        self.parameters = self.parameters - self.rate * np.mean(gradients, axis=0)
        self.rounds += 1
        return self.parameters

    def state(self):
        return self.rounds, self.parameters


@ray.remote
class Worker:
    def __init__(self, seed):
        random = np.random.default_rng(seed)
        self.x = np.column_stack([np.ones(200), random.uniform(-1, 1, 200)])
        self.y = self.x @ np.array([2.0, -3.0])

    def gradient(self, parameters):
        return self.x.T @ (self.x @ parameters - self.y) / len(self.y)


ray.init(num_cpus=2)
server = ParameterServer.remote(2, 0.5)
workers = [Worker.remote(seed) for seed in range(3)]
parameters = ray.put(np.zeros(2))
for _ in range(60):
    gradients = [worker.gradient.remote(parameters) for worker in workers]
    parameters = server.apply.remote(*gradients)
rounds, found = ray.get(server.state.remote())
print("rounds", rounds)
print("parameters", np.round(found, 3).tolist())
ray.shutdown()
