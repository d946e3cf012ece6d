"""Every task and actor sees the GPUs that are its own, and no others."""

import os

import pytest
from gates import Gate, until
from leaks import census, leaks

import nbray


@pytest.fixture(scope="module", autouse=True)
def two_gpus():
    before = census()
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        nbray.init(num_cpus=4, num_gpus=2)
        yield
        nbray.shutdown()
    assert not leaks(before)


@pytest.fixture(autouse=True)
def no_lease_is_left():
    """An owner keeps a lease for a while; the next task of the same shape would have its GPU, whichever that is."""
    until(lambda: nbray.available_resources().get("GPU") == 2)


def seen():
    return nbray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")


@nbray.remote
def look():
    return seen()


@nbray.remote
def look_and_stay(gate):
    gate.wait()
    return seen()


@nbray.remote
class Trainer:
    def look(self):
        return seen()


def test_a_driver_has_no_gpus_of_its_own():
    assert nbray.get_gpu_ids() == []


def test_a_task_sees_the_gpus_it_asked_for():
    assert nbray.get(look.options(num_gpus=1).remote()) == ([0], "0")
    assert nbray.get(look.options(num_gpus=2).remote()) == ([0, 1], "0,1")


def test_a_task_that_asks_for_none_has_none_and_its_environment_is_left_alone():
    assert nbray.get(look.options(num_gpus=2).remote())[0] == [0, 1]
    assert nbray.get(look.remote()) == ([], None)


def test_tasks_at_a_time_have_gpus_of_their_own(tmp_path):
    gate = Gate(tmp_path)
    refs = [look_and_stay.options(num_gpus=1).remote(gate) for _ in range(2)]
    gate.until_came(2)
    gate.open()
    assert sorted(nbray.get(refs)) == [([0], "0"), ([1], "1")]


def test_tasks_with_shares_of_a_gpu_are_on_the_same(tmp_path):
    gate = Gate(tmp_path)
    refs = [look_and_stay.options(num_gpus=0.5).remote(gate) for _ in range(2)]
    gate.until_came(2)
    assert nbray.get(look.options(num_gpus=1).remote()) == ([1], "1")
    gate.open()
    assert nbray.get(refs) == [([0], "0")] * 2


def test_an_actor_keeps_its_gpu_while_it_lives():
    first, second = (Trainer.options(num_gpus=1).remote() for _ in range(2))
    assert sorted(nbray.get([first.look.remote(), second.look.remote()])) == [([0], "0"), ([1], "1")]
    ((freed,), _) = nbray.get(first.look.remote())
    waiting = look.options(num_gpus=1).remote()
    assert nbray.wait([waiting], timeout=0.05) == ([], [waiting])
    del first
    assert nbray.get(waiting) == ([freed], str(freed))


def test_a_restarted_actor_has_a_gpu_again():
    trainer = Trainer.options(num_gpus=2, max_restarts=1, max_task_retries=-1).remote()
    assert nbray.get(trainer.look.remote())[0] == [0, 1]
    nbray.kill(trainer, no_restart=False)
    assert nbray.get(trainer.look.remote())[0] == [0, 1]


def test_a_task_that_waits_keeps_its_gpu():
    @nbray.remote(num_gpus=1)
    def parent():
        inside = nbray.get(look.options(num_gpus=1).remote())
        return inside, seen()

    assert sorted(nbray.get(parent.remote())) == [([0], "0"), ([1], "1")]


def test_a_tasks_own_environment_says_which_gpus_it_may_have():
    own = {"env_vars": {"CUDA_VISIBLE_DEVICES": "7,8"}}
    assert nbray.get(look.options(num_gpus=2, runtime_env=own).remote()) == (["7", "8"], "7,8")
