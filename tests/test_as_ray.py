"""nbray under the name ray."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import nbray

RAY = json.loads((Path(__file__).parent / "api" / "ray_names.json").read_text())["ray"]


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.fixture
def program(tmp_path):
    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return str(path)

    return write


def test_a_program_runs_unchanged_with_its_tasks(program):
    path = program(
        "import sys, ray\n"
        "from ray.util.queue import Queue\n"
        "@ray.remote\n"
        "def task():\n"
        "    import ray\n"
        "    from ray.util import ActorPool\n"
        "    return ray.get(ray.put(ActorPool.__module__))\n"
        "ray.init(num_cpus=1)\n"
        "print(ray.get(task.remote()), Queue.__module__, sys.argv[1:], __name__)\n"
    )
    finished = run("-m", "nbray.as_ray", path, "--flag", "value")
    assert finished.stdout == "nbray.util.actor_pool nbray.util.queue ['--flag', 'value'] __main__\n", (
        finished.stderr
    )


def test_an_error_shows_the_programs_line_and_is_its_exit_code(program):
    finished = run("-m", "nbray.as_ray", program("import ray\n\n1 / 0\n"))
    assert finished.returncode == 1
    assert 'program.py", line 3' in finished.stderr
    assert run("-m", "nbray.as_ray", program("raise SystemExit(5)")).returncode == 5


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_that_the_program_starts_have_what_it_defines(program, method):
    path = program(
        "import multiprocessing, ray\n"
        "@ray.remote\n"
        "def task(x): return x + 1\n"
        "def work(x): return (x * 2, type(task).__name__, __name__)\n"
        "if __name__ == '__main__':\n"
        "    ray.init(num_cpus=1)\n"
        "    print(ray.get(task.remote(1)))\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print(pool.map(work, [1]))\n"
    )
    finished = run("-m", "nbray.as_ray", path)
    name = "__main__" if method == "fork" else "__mp_main__"
    assert finished.stdout == f"2\n[(2, 'RemoteFunction', {name!r})]\n", finished.stderr


def test_the_version_is_that_of_the_ray_it_is_compared_with(program):
    path = program(
        "import ray\ndef told():\n    import ray\n    return ray.__version__\n"
        "print(ray.__version__, ray.get(ray.remote(told).remote()))\n"
    )
    assert run("-m", "nbray.as_ray", path).stdout == f"{RAY} {RAY}\n"
    assert nbray.__version__ == version("nbray")


def test_modules_beside_the_program_are_found(program, tmp_path):
    (tmp_path / "beside.py").write_text("import ray\nname = ray.__name__\n")
    assert run("-m", "nbray.as_ray", program("import beside; print(beside.name)")).stdout == "nbray\n"


def test_what_is_missing_is_named():
    finished = run(
        "-c",
        "import nbray; nbray.as_ray(); nbray.as_ray()\n"
        "import ray, ray.util.queue\n"
        "assert ray is nbray and ray.util.queue.__spec__.name == 'nbray.util.queue'\n"
        "for what in ('import ray.data', 'from ray import tune', 'ray.no_such_name', 'import ray.util.nothing'):\n"
        "    try: exec(what)\n"
        "    except (ImportError, AttributeError) as error: print(error)\n",
    )
    told = finished.stdout.splitlines()
    assert len(told) == 4, finished.stderr
    for line, name in zip(told, ("ray.data", "tune", "no_such_name", "ray.util.nothing"), strict=True):
        assert name in line


def test_it_comes_before_ray_and_before_a_session():
    ray_first = (
        "import sys, types; sys.modules['ray'] = types.ModuleType('ray'); import nbray; nbray.as_ray()"
    )
    assert "imported already" in run("-c", ray_first).stderr
    session_first = "import nbray; nbray.init(num_cpus=1); nbray.as_ray()"
    assert "before init" in run("-c", session_first).stderr


def test_without_it_ray_is_ray():
    finished = run("-c", "import nbray, sys; print('ray' in sys.modules, len(sys.meta_path))")
    plain = run("-c", "import sys; print(len(sys.meta_path))")
    assert finished.stdout.split()[0] == "False"
    assert finished.stdout.split()[1] == plain.stdout.strip()


def test_the_function_is_the_function_whatever_was_imported():
    import nbray.as_ray  # the module for ``python -m``

    assert callable(nbray.as_ray)
    assert nbray.as_ray.__name__ == "as_ray"


def test_usage_is_told():
    assert "usage" in run("-m", "nbray.as_ray").stderr


def test_ray_modules_of_types_are_here():
    from nbray.actor import ActorHandle
    from nbray.remote_function import RemoteFunction

    assert isinstance(nbray.remote(lambda: 1), RemoteFunction)
    assert nbray.actor.ActorHandle is ActorHandle


def test_the_modules_are_here_in_which_libraries_look_for_refs_and_bars(program):
    path = program(
        "import ray\n"
        "from ray.types import ObjectRef\n"
        "from ray.experimental import tqdm_ray\n"
        "ray.init(num_cpus=1)\n"
        "@ray.remote\n"
        "def count(n):\n"
        "    tqdm_ray.safe_print('counting', end='')\n"
        "    bar = tqdm_ray.tqdm(desc='n', total=n, position=1)\n"
        "    for _ in range(n):\n"
        "        bar.update(1)\n"
        "    bar.close()\n"
        "    return n, [type(ref) is ObjectRef is ray._raylet.ObjectRef for ref in (ray.put(1),)]\n"
        "assert ray._raylet.ObjectRefGenerator is ray.ObjectRefGenerator\n"
        "print(ray.get(count.remote(3)))\n"
    )
    assert "(3, [True])" in run("-m", "nbray.as_ray", path).stdout


def test_rays_cloudpickle_is_the_one_that_there_is(program):
    path = program(
        "import ray\n"
        "import ray.cloudpickle as pickle\n"
        "from ray import cloudpickle\n"
        "assert pickle is cloudpickle is ray.cloudpickle\n"
        "ray.init(num_cpus=1)\n"
        "ref = ray.put(4)\n"
        "kept = pickle.dumps((lambda x: x + 1, ref))\n"
        "del ref\n"
        "def use(kept):\n"
        "    add, ref = pickle.loads(kept)\n"
        "    return add(ray.get(ref))\n"
        "print(ray.get(ray.remote(use).remote(kept)))\n"
    )
    finished = run("-W", "ignore", "-m", "nbray.as_ray", path)
    assert finished.stdout == "5\n", finished.stderr
