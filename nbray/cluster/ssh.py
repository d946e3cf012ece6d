"""A pool on hosts that SSH reaches: Dask's scheduler on the first one, a worker on each, for as long as the driver lives.

asyncssh logs in as ``ssh`` would, with the user's keys, agent and ``~/.ssh/config``. Each host is looked at first, so that
what is wrong is said with its name. Dask's own connections are not encrypted: the hosts' network must be one to trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

from nbray.cluster.loop import LoopThread
from nbray.exceptions import RaySystemError

SCHEME = "ssh://"
#: Seconds to log in, to start a Python there and look around, and to start Dask there.
LOGIN, LOOK, START = 20.0, 60.0, 60.0
#: Which Python runs on the hosts (default: the path of this process's own).
PYTHON = "NBRAY_SSH_PYTHON"

_FACTS = "import distributed, nbray, platform; print(nbray.__version__, platform.python_version())"
_TOLD = 20  # lines of a host's stderr


class Host(NamedTuple):
    """``text``: as the user wrote it."""

    text: str
    name: str
    user: str | None
    port: int | None

    @property
    def options(self) -> dict[str, Any]:
        """For ``asyncssh.connect``."""
        given = {"username": self.user, "port": self.port}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def is_here(self) -> bool:
        return self.name == "localhost" or self.name.startswith("127.")


def hosts_of(address: str) -> list[Host]:
    """The hosts of ``ssh://[user@]host[:port],...``.

    Raises:
        ValueError: there is none, or one is not of that form.
    """
    texts = [text.strip() for text in address.removeprefix(SCHEME).strip("/").split(",")]
    return [_host(text) for text in texts if text] or [_host("")]


def _host(text: str) -> Host:
    user, _, rest = text.rpartition("@")
    name, colon, port = rest.partition(":")
    wrong = not name or name.startswith("-") or any(letter.isspace() for letter in text)
    if wrong or (colon and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ValueError(f"SSH hosts are written as [user@]host[:port], with commas between, not {text!r}")
    return Host(text, name, user or None, int(port) if colon else None)


class SshPool:
    """The Dask cluster on the hosts.

    Attributes:
        address: of its scheduler.
    """

    def __init__(self, thread: LoopThread, cluster: Any) -> None:
        self._thread = thread
        self._cluster = cluster
        self.address: str = cluster.scheduler_address

    def close(self) -> None:
        """End what runs on the hosts."""
        with contextlib.suppress(TimeoutError):
            self._thread.call(_close(self._cluster), 15)
        self._thread.stop()


def start(address: str) -> SshPool:
    """Start a Dask cluster on hosts.

    Args:
        address: ``ssh://[user@]host[:port],...``; the scheduler goes to the first, too.

    Raises:
        ValueError: the address is not of that form. RaySystemError: asyncssh is missing, or a host did not do; the text names it,
            how far it came, and what it said.
    """
    hosts = hosts_of(address)
    try:
        import asyncssh  # noqa: F401
    except ImportError:
        raise RaySystemError(
            "pools over SSH need the package asyncssh: pip install 'nbray[ssh]' has it"
        ) from None
    thread = LoopThread("nbray-ssh")
    try:
        return SshPool(thread, thread.call(_start(hosts)))
    except BaseException:
        thread.stop()
        raise


async def _start(hosts: list[Host]) -> Any:
    from distributed.deploy.spec import SpecCluster

    python = os.environ.get(PYTHON) or sys.executable
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(_look(host, python)) for host in dict.fromkeys(hosts)]
    failures = [failure for look in looks if (failure := look.result())]
    if failures:
        raise RaySystemError("\n".join(failures))
    with _heard() as lines:
        make: Any = SpecCluster  # Dask's classes are half typed
        cluster = make(
            {number: _worker(host, python) for number, host in enumerate(hosts)},
            _scheduler(hosts[0], python),
            asynchronous=True,
            name="nbray-ssh",
        )
        try:
            await asyncio.wait_for(cluster, START)
            # A worker says where it is before the scheduler knows it.
            await cluster.wait_for_workers(len(hosts), timeout=START)
            return cluster
        except BaseException as error:
            with contextlib.suppress(Exception):
                await _close(cluster)
            if not isinstance(error, Exception):
                raise
            where = ", ".join(dict.fromkeys(host.text for host in hosts))
            raise RaySystemError(_failure(where, "start Dask", "\n".join(lines) or str(error))) from None


async def _close(cluster: Any) -> None:
    await cluster.close(timeout=5)


# --- looking at a host -----------------------------------------------------------------------------------------------


async def _look(host: Host, python: str) -> str:
    """Log in and ask for versions; answers what is wrong, or ""."""
    import asyncssh

    try:
        connection = await asyncio.wait_for(asyncssh.connect(host.name, **host.options), LOGIN)
    except asyncssh.HostKeyNotVerifiable as error:
        return _failure(host.text, "trust its key", f"{error}; log in once with ssh {host.name}")
    except asyncssh.PermissionDenied as error:
        return _failure(host.text, "log in", str(error))
    except TimeoutError:
        return _failure(host.text, "connect", f"no answer within {LOGIN:g} s")
    except (OSError, asyncssh.Error) as error:
        return _failure(host.text, "connect", str(error))
    async with connection:
        try:
            done = await asyncio.wait_for(
                connection.run(f"{shlex.quote(python)} -c {shlex.quote(_FACTS)}", stdin=asyncssh.DEVNULL),
                LOOK,
            )
        except TimeoutError:
            return _failure(host.text, "start Python", f"no answer within {LOOK:g} s")
        except (OSError, asyncssh.Error) as error:
            return _failure(host.text, "start Python", str(error))
    if done.exit_status:
        return _failure(
            host.text, f"start {python} with nbray (the variable {PYTHON} names another)", str(done.stderr)
        )
    return _differs(host, str(done.stdout).split())


def _differs(host: Host, facts: list[str]) -> str:
    here = [version("nbray"), platform.python_version()]
    if len(facts) == 2 and facts[0] == here[0] and facts[1].rpartition(".")[0] == here[1].rpartition(".")[0]:
        return ""
    there = f"it has nbray and Python {' and '.join(facts)}, this process {' and '.join(here)}"
    return _failure(host.text, "be used", there)


def _failure(host: str, stage: str, text: str) -> str:
    lines = text.strip().splitlines()[-_TOLD:]
    return f"SSH host {host} could not {_STAGES.get(stage, stage)}: " + "\n  ".join(
        lines or ["it said nothing"]
    )


_STAGES = {"connect": "be connected to", "log in": "be logged in to", "trust its key": "be trusted"}


# --- Dask on the hosts -----------------------------------------------------------------------------------------------


def _scheduler(host: Host, python: str) -> dict[str, Any]:
    from distributed.deploy.ssh import Scheduler

    options = {"port": 0, "dashboard": False, **({"host": "127.0.0.1"} if host.is_here else {})}
    return {"cls": Scheduler, "options": {**_common(host, python), "kwargs": options}}


def _worker(host: Host, python: str) -> dict[str, Any]:
    from distributed.deploy.ssh import Worker

    options = {"dashboard": False, **({"host": "127.0.0.1"} if host.is_here else {})}
    return {"cls": Worker, "options": {**_common(host, python), "kwargs": options}}


def _common(host: Host, python: str) -> dict[str, Any]:
    quoted = shlex.quote(python)
    return {
        "address": host.name,
        "connect_options": {**host.options, "connect_timeout": LOGIN},
        "remote_python": f"{quoted} -m nbray.cluster.leash {quoted}",
    }


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """What the hosts' processes write to stderr while they start. Dask logs it."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("distributed.deploy.ssh")
    keep, level, propagate = Keep(), logger.level, logger.propagate
    logger.addHandler(keep)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(keep)
        logger.setLevel(level)
        logger.propagate = propagate
