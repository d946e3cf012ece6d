"""Pools on hosts that SSH reaches, here all on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sshd

import nbray
from nbray.cluster.ssh import PYTHON, Host, hosts_of
from nbray.exceptions import RaySystemError


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("ssh://one", [Host("one", "one", None, None)]),
        ("ssh://me@one:22, two/", [Host("me@one:22", "one", "me", 22), Host("two", "two", None, None)]),
        ("ssh://10.0.0.1,10.0.0.1", [Host("10.0.0.1", "10.0.0.1", None, None)] * 2),
    ],
)
def test_hosts_are_written_as_for_ssh(address, hosts):
    assert hosts_of(address) == hosts


@pytest.mark.parametrize(
    "address", ["ssh://", "ssh://a b", "ssh://a:b", "ssh://a:0", "ssh://@:1", "ssh://-oProxyCommand=x"]
)
def test_what_is_no_host_is_named(address):
    with pytest.raises(ValueError, match=r"\[user@\]host\[:port\]"):
        hosts_of(address)


needs_sshd = pytest.mark.skipif(
    sshd.SERVER is None, reason="NO SSHD: on Debian, apt-get install openssh-server"
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Server]:
    pytest.importorskip("asyncssh")
    with sshd.sshd(tmp_path) as server:
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        yield server


def gone(server: sshd.Server) -> None:
    """Wait until nothing runs any more for anybody who had logged in."""
    sessions = psutil.Process(server.pid).children(recursive=True)
    _, alive = psutil.wait_procs(sessions, timeout=60)
    assert not alive


@needs_sshd
def test_two_workers_run_tasks_and_end_with_the_session(server):
    with nbray.init(f"ssh://127.0.0.1:{server.port},127.0.0.1:{server.port}") as context:
        assert context["address"].startswith("tcp://127.0.0.1:")
        assert len(nbray.nodes()) == 2
        data = nbray.put(bytes(1_000_000))
        ref = nbray.remote(lambda: 1).remote()
        both = nbray.remote(lambda refs, one: (len(nbray.get(refs[0])), one))
        assert nbray.get([both.remote([data], ref) for _ in range(4)]) == [(1_000_000, 1)] * 4
        with pytest.raises(RaySystemError, match="scale"):
            nbray.scale(3)
    gone(server)


@needs_sshd
def test_a_driver_that_is_killed_leaves_nothing_on_the_hosts(server):
    program = f"import nbray; nbray.init('ssh://127.0.0.1:{server.port}'); print(len(nbray.nodes()), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "1\n"
        os.kill(driver.pid, signal.SIGKILL)
    gone(server)


@needs_sshd
def test_what_is_wrong_is_said_with_the_host_and_how_far_it_came(server, monkeypatch, tmp_path):
    good = f"127.0.0.1:{server.port}"
    with pytest.raises(
        RaySystemError,
        match=r"SSH host 127.0.0.1:1 could not be connected to: .*refused|.*Connect call failed",
    ):
        nbray.init(f"ssh://{good},127.0.0.1:1")
    with pytest.raises(RaySystemError, match=f"SSH host nobody@{good} could not be logged in to"):
        nbray.init(f"ssh://nobody@{good}")
    python = tmp_path / "python"
    monkeypatch.setenv(PYTHON, str(python))
    with pytest.raises(RaySystemError, match=f"SSH host {good} could not start {python} .*No such file"):
        nbray.init(f"ssh://{good}")
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\necho no Dask today >&2; exit 3\n'
    )
    python.chmod(0o755)
    with pytest.raises(RaySystemError, match=f"SSH host {good} could not start Dask: .*"):
        nbray.init(f"ssh://{good}")
    python.write_text("#!/bin/sh\necho 0.0.1 2.7.18\n")
    with pytest.raises(
        RaySystemError, match=r"could not be used: it has nbray and Python 0\.0\.1 and 2\.7\.18"
    ):
        nbray.init(f"ssh://{good}")
    (server.home / ".ssh/known_hosts").write_text("")
    with pytest.raises(RaySystemError, match=f"SSH host {good} could not be trusted: .*log in once"):
        nbray.init(f"ssh://{good}")
    assert not nbray.is_initialized()
    gone(server)
