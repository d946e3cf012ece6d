"""The tests with 1,024 descriptors and 64 MiB of shared memory:  python tests/limits.py [arguments of pytest]

The shared memory is a tmpfs of that size on /dev/shm, in a mount namespace of this run. Where none can be made (that takes root,
or a system that lets users make namespaces), that is said, and the tests run with the other limit alone. Browsers want more of
both than there is, so their tests are left out.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys

DESCRIPTORS = 1024
MEGABYTES = 64

#: Run in the namespace, before what follows on the command line.
MOUNT = f'mount -t tmpfs -o size={MEGABYTES}m,mode=1777 tmpfs /dev/shm && exec "$@"'


def in_namespace(command: list[str]) -> list[str] | None:
    """The command in a mount namespace with little shared memory; None if there can be none."""
    if shutil.which("unshare") is None:
        return None
    prefix = [
        "unshare",
        "--mount",
        *([] if os.geteuid() == 0 else ["--map-root-user"]),
        "sh",
        "-c",
        MOUNT,
        "sh",
    ]
    possible = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return [*prefix, *command] if possible else None


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, min(hard, DESCRIPTORS)))
    arguments = sys.argv[1:]
    if not any(os.path.exists(argument.partition("::")[0]) for argument in arguments):
        arguments = ["tests", "--ignore=tests/browser", *arguments]
    command = [sys.executable, "-m", "pytest", *arguments]
    limited = in_namespace(command)
    if limited is None:
        print(f"NO MOUNT NAMESPACE: shared memory is not limited to {MEGABYTES} MiB in this run", flush=True)
    command = limited or command
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
