"""``python -m nbray.cluster.leash COMMAND...``: runs a command on a host for as long as the SSH connection lasts.

sshd ends nothing when a connection goes, so a driver that is killed would leave a scheduler and workers on its hosts. This
process reads its input, which ends with the connection, and ends the command then. If it is killed itself, Linux tells the
command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

from nbray.executor import linux

#: Seconds in which the command may end well.
PATIENCE = 5.0


def main(command: Sequence[str]) -> int:
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: linux.signal_when_parent_dies(signal.SIGTERM),  # noqa: PLW1509  # no thread yet
    )

    def end(*_: object) -> None:
        _signal_all(child.pid, signal.SIGTERM)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        _signal_all(child.pid, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        end()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=end).start())
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


def _signal_all(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except OSError:  # all of it has ended
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
