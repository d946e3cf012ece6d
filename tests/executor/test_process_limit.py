"""How many processes of a node may run tasks."""

import pytest

from nbray.executor import process_limit
from nbray.executor.process_limit import most_processes


@pytest.fixture
def machine(monkeypatch):
    """Memory in bytes, descriptors, entries of the process table, CPUs."""

    def make(memory=1 << 40, descriptors=1 << 20, table=None, cpus=2):
        figures = type("Figures", (), {"total": lambda self: memory})
        monkeypatch.setattr(process_limit, "MemoryFigures", figures)
        monkeypatch.setattr(process_limit.resource, "getrlimit", lambda what: (descriptors, descriptors))
        monkeypatch.setattr(process_limit, "process_limit", lambda: table)
        monkeypatch.setattr(process_limit, "cpu_count", lambda: cpus)

    return make


@pytest.mark.parametrize(
    ("figures", "most"),
    [({"memory": 16 << 30}, 341), ({"descriptors": 1024}, 224), ({"table": 1600}, 200)],
    ids=lambda value: str(value),
)
def test_the_scarcest_of_memory_descriptors_and_process_table_decides(machine, figures, most):
    machine(**figures)
    assert most_processes({}) == most


def test_recursion_may_go_64_deep_however_small_the_machine(machine):
    machine(memory=1 << 28, descriptors=256, table=100, cpus=1)
    assert most_processes({}) == 72


def test_no_limit_on_descriptors_is_none(machine):
    machine(descriptors=process_limit.resource.RLIM_INFINITY, memory=48 << 30)
    assert most_processes({}) == 1024


def test_the_environment_says_otherwise(machine):
    machine()
    assert most_processes({"NBRAY_MAX_PROCESSES": "3"}) == 3


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_what_is_no_number_of_processes_is_refused_by_name(text):
    with pytest.raises(
        ValueError, match=r"NBRAY_MAX_PROCESSES must be a whole number.*" + text.replace("-", "")
    ):
        most_processes({"NBRAY_MAX_PROCESSES": text})
