"""A throwaway SSH server on loopback, with keys of its own and a home directory that has them."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SERVER = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class Server(NamedTuple):
    """``home``: a HOME whose keys it takes. ``port``: of 127.0.0.1."""

    home: Path
    port: int
    pid: int


@contextmanager
def sshd(directory: Path) -> Iterator[Server]:
    """Runs until the block ends."""
    assert SERVER is not None
    keys = directory / ".ssh"
    keys.mkdir(mode=0o700)
    for name in ("host", "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {(keys / 'host.pub').read_text()}")
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/id_ed25519.pub\n"
        f"StrictModes no\nPasswordAuthentication no\nUsePAM no\nPidFile none\nAllowUsers {getpass.getuser()}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it parts with its rights
    # -D: in the foreground; -r: without starting itself anew for each connection, which not every container lets it.
    process = subprocess.Popen(
        [SERVER, "-D", "-r", "-e", "-f", str(config)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert any("listening" in line for line in process.stderr), "sshd does not start"
        yield Server(directory, port, process.pid)
    finally:
        process.kill()
        process.stderr.close()
        process.wait()
