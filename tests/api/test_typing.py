"""What a type checker knows of programs that use nbray."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
from collections.abc import Iterator
import nbray as ray
from nbray import ObjectRef

@ray.remote
def text(x: int) -> str:
    return str(x)

@ray.remote(num_cpus=2)
def pair(x: int, y: str = "") -> tuple[int, str]:
    return x, y

@ray.remote
def items(n: int) -> Iterator[float]:
    yield from map(float, range(n))

@ray.remote
def unsaid(x, y):  # type: ignore[no-untyped-def]
    return x

class Count:
    def add(self, by: int) -> int:
        return by

Counter = ray.remote(Count)
ref: ObjectRef[str] = text.remote(1)
number = ray.put(3)
handle = Counter.remote()

reveal_type(text.remote(1))  # ObjectRef[str]
reveal_type(ray.get(ref))  # str
reveal_type(ray.get([ref, ref]))  # list[str]
reveal_type(ray.get(pair.options(num_cpus=1).remote(1, y="a")))  # tuple[int, str]
reveal_type(number)  # ObjectRef[int]
reveal_type(ray.wait([ref])[0])  # list[ObjectRef[str]]
reveal_type(text.remote(number))  # ObjectRef[str]
reveal_type(pair.remote(1, ref))  # ObjectRef[tuple[int, str]]
reveal_type([ray.get(item) for item in items.remote(number)])  # list[float]
reveal_type(ray.get(unsaid.remote(1, ref)))  # Any
reveal_type(handle)  # ActorHandle[Count]
ray.get(handle.add.remote(1))

async def waits() -> None:
    reveal_type(await ref)  # str

text.remote("one")  # error
text.remote()  # error
text.remote(1, 2)  # error
text.remote(z=1)  # error
pair.remote(1, y=2)  # error
ray.get(1)  # error
wrong: int = ray.get(ref)  # error
"""


def test_a_checker_knows_arguments_of_remote_and_what_get_gives(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-color-output", str(program)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not found.stderr
    told = {}
    for line, kind, said in re.findall(r"program\.py:(\d+): (error|note): (.*)", found.stdout):
        if kind == "error":
            told[int(line)] = "error"
        elif revealed := re.match(r'Revealed type is "(.*)"', said):
            told[int(line)] = re.sub(r"\b[a-z_]+\.(?:[a-z_]+\.)*", "", revealed[1])
    expected = {
        n: line.rpartition("# ")[2]
        for n, line in enumerate(PROGRAM.splitlines(), 1)
        if line.strip().startswith("reveal_type") or line.endswith("# error")
    }
    assert told == expected
