"""What hosts and cgroups say of memory."""

import os

import pytest

from nbray import machine as of_machine
from nbray.machine import CpuFigures, Memory, MemoryFigures, cpu_count

GIB = 1 << 30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n"  # half of 16 GiB


@pytest.fixture
def machine(tmp_path):
    """Write files below a root of one's own, and read the figures there."""

    def write(**files):
        for path, text in {"proc/meminfo": MEMINFO, **files}.items():
            at = tmp_path / path
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(str(text))
        return MemoryFigures(str(tmp_path))

    return write


def version2(limit, current, cache=0, path=""):
    at = f"sys/fs/cgroup{path}/memory"
    return {
        f"{at}.max": f"{limit}\n",
        f"{at}.current": f"{current}\n",
        f"{at}.stat": f"anon {current - cache}\ninactive_file {cache}\nactive_file 0\n",
    }


def version1(limit, current, cache=0, path=""):
    at = f"sys/fs/cgroup/memory{path}/memory"
    return {
        f"{at}.limit_in_bytes": f"{limit}\n",
        f"{at}.usage_in_bytes": f"{current}\n",
        f"{at}.stat": f"inactive_file 1\ntotal_inactive_file {cache}\n",
    }


def test_without_cgroups_the_host_counts(machine):
    figures = machine()
    assert figures.read() == Memory(8 * GIB, 16 * GIB) and figures.total() == 16 * GIB


@pytest.mark.parametrize("version", [version1, version2])
def test_a_limit_counts_without_the_cache_that_the_kernel_takes_back(machine, version):
    figures = machine(**version(4 * GIB, 3 * GIB, cache=GIB // 2))
    assert figures.total() == 4 * GIB
    assert figures.read() == Memory(5 * GIB // 2, 4 * GIB)


@pytest.mark.parametrize("files", [version2("max", 3 * GIB), version1(9223372036854771712, 3 * GIB)])
def test_no_limit_is_none(machine, files):
    figures = machine(**files)
    assert figures.read() == Memory(8 * GIB, 16 * GIB) and figures.total() == 16 * GIB


def test_the_host_counts_when_it_is_fuller_than_the_cgroup(machine):
    figures = machine(**version2(4 * GIB, GIB))
    assert figures.read() == Memory(8 * GIB, 16 * GIB) and figures.total() == 4 * GIB


@pytest.mark.parametrize(
    ("line", "version"), [("0::/user/me/app\n", version2), ("5:cpu,memory:/user/me/app\n0::/\n", version1)]
)
def test_the_tightest_of_the_cgroups_above_counts(machine, line, version):
    files = {
        "proc/self/cgroup": line,
        **version(8 * GIB, GIB, path="/user/me/app"),
        **version(2 * GIB, GIB + GIB // 2, path="/user"),
    }
    figures = machine(**files)
    assert figures.total() == 2 * GIB
    assert figures.read() == Memory(GIB + GIB // 2, 2 * GIB)


def test_a_cgroup_that_vanishes_is_passed_over(machine, tmp_path):
    figures = machine(**version2(4 * GIB, 3 * GIB))
    for name in ("max", "current"):
        os.unlink(tmp_path / f"sys/fs/cgroup/memory.{name}")
    assert figures.read() == Memory(8 * GIB, 16 * GIB)


def test_this_machine_has_memory_and_cpus():
    used, total = MemoryFigures().read()
    assert 0 < used < total and MemoryFigures().total() > 0
    assert cpu_count() >= 1


def test_a_cgroup_with_a_quota_counts_its_own_cpus_and_one_without_leaves_that_to_the_host(
    machine, tmp_path, monkeypatch
):
    now = 100.0
    monkeypatch.setattr(of_machine.time, "monotonic", lambda: now)
    group = {"proc/self/cgroup": "0::/pod/box\n", "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n"}
    machine(
        **group,
        **{"sys/fs/cgroup/pod/cpu.max": "200000 100000\n"},
        **{"sys/fs/cgroup/pod/cpu.stat": "usage_usec 1000000\n"},
    )
    figures = CpuFigures(str(tmp_path))
    now += 2.0
    (tmp_path / "sys/fs/cgroup/pod/cpu.stat").write_text("usage_usec 4000000\nuser_usec 1\n")
    assert figures.busy() == pytest.approx(1.5)
    (tmp_path / "sys/fs/cgroup/pod/cpu.max").write_text("max 100000\n")
    figures = CpuFigures(str(tmp_path))
    now += 1.0
    assert 0.0 <= figures.busy() < 1e6
