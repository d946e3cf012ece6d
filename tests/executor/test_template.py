"""The template process, alone: what it forks, what it says of its children's ends, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from executor.support import PATIENCE, SECRET, Gone, NodeDirs, SharedPipe

from nbray.core.messages import Message
from nbray.exceptions import RaySystemError
from nbray.executor import boot as frames
from nbray.executor import linux, template_link
from nbray.executor.boot import Boot
from nbray.executor.loss import tail_of
from nbray.executor.template_link import TemplateLink
from nbray.executor.threads import VARIABLES


class Client:
    """A node agent reduced to its template."""

    def __init__(self, dirs: NodeDirs, link: TemplateLink) -> None:
        self.dirs = dirs
        self.link = link
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.link.attach(asyncio.get_running_loop(), self._came, self.gone.set)

    def _came(self, message: Message) -> None:
        if message[0] != frames.PONG:  # the answer to a link's question whether it lives
            self.messages.put_nowait(message)

    async def next(self, kind: int) -> Message:
        message = await asyncio.wait_for(self.messages.get(), PATIENCE)
        assert message[0] == kind, message
        return message

    async def fork(self, number: int, entry: str, **changes: object) -> int:
        self.link.send(frames.FORK, self.dirs.boot(number, entry, **changes).pack())
        _, forked, pid = await self.next(frames.FORKED)
        assert forked == number
        return pid

    async def exited(self, number: int) -> int:
        _, which, status = await self.next(frames.EXITED)
        assert which == number
        return os.waitstatus_to_exitcode(status)

    async def facts(self, number: int, **changes: object) -> dict:
        await self.fork(number, "report", **changes)
        assert await self.exited(number) == 0
        return json.loads((self.dirs.session / "log" / f"{number}.out").read_text())

    async def ended(self) -> None:
        await asyncio.wait_for(self.gone.wait(), PATIENCE)


@asynccontextmanager
async def serve(dirs: NodeDirs, link: TemplateLink) -> AsyncIterator[Client]:
    client = Client(dirs, link)
    try:
        yield client
    finally:
        link.dismiss()
        await client.ended()
        link.bury()


def template(dirs: NodeDirs, **changes: object) -> AbstractAsyncContextManager[Client]:
    return serve(dirs, TemplateLink(dirs.boot(**changes)))


async def started(client: Client, method: str = "fork") -> int:
    _, pid, how = await client.next(frames.STARTED)
    assert how == method
    return pid


def run(test: Coroutine[None, None, None]) -> None:
    asyncio.run(test)


def test_each_fork_has_random_streams_of_its_own(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            facts = [await client.facts(number) for number in (1, 2, 3)]
            assert len({fact["random"] for fact in facts}) == 3
            assert len({fact["numpy"] for fact in facts}) == 3

    run(test())


def test_the_template_has_one_thread_with_numpy_imported_and_nothing_of_dask(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            pid = await started(client)
            assert len(os.listdir(f"/proc/{pid}/task")) == 1
            facts = await client.facts(1)
            assert facts["threads"] == 1
            assert {"numpy", "cloudpickle", "fake_executor"} <= set(facts["modules"])
            assert not {"dask", "distributed", "asyncio", "tornado"} & set(facts["modules"])

    run(test())


def test_a_fork_starts_from_a_clean_slate(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            pid = await started(client)
            facts = await client.facts(1)
            log = str(dirs.session / "log" / "1")
            assert facts["descriptors"] == {"0": os.devnull, "1": f"{log}.out", "2": f"{log}.err"}
            assert facts["blocked"] == []
            assert facts["handlers"]["SIGCHLD"] == facts["handlers"]["SIGTERM"] == repr(signal.SIG_DFL)
            assert facts["handlers"]["SIGINT"] == repr(signal.default_int_handler)
            assert facts["group"] and facts["parent"] == pid
            assert facts["session"] == pid != os.getsid(0)
            assert not [
                name
                for name in facts["main"]
                if not name.startswith("__") and name not in ("os", "sys", "main")
            ]

    run(test())


def test_a_fork_gets_the_environment_directory_and_path_it_is_told(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            odd = "not utf-8: \udcff"
            path = ("/somewhere", *client.link.boot.sys_path)
            facts = await client.facts(
                1, env=(("COLOUR", "blue"), ("ODD", odd)), cwd=str(dirs.store), sys_path=path
            )
            assert facts["environ"]["COLOUR"] == "blue"
            assert facts["environ"]["ODD"] == odd
            assert facts["cwd"] == str(dirs.store)
            assert facts["sys_path"] == list(path)

    run(test())


def test_numerical_libraries_use_as_many_threads_as_the_lane_has_cpus(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            one, two = await client.facts(1, threads=1), await client.facts(2, threads=2)
            assert {one["environ"][name] for name in VARIABLES} == {"1"}
            assert {two["environ"][name] for name in VARIABLES} == {"2"}
            assert (one["blas"], two["blas"]) == (1, 2)

    run(test())


def test_the_users_own_number_of_threads_wins(dirs: NodeDirs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")

    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            facts = await client.facts(1, threads=1)
            assert facts["environ"]["OPENBLAS_NUM_THREADS"] == "2"
            assert facts["environ"]["OMP_NUM_THREADS"] == "1"
            assert facts["blas"] == 2

    run(test())


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        ("leave_by_exit", 7, "last words"),
        ("leave_by_segfault", -signal.SIGSEGV, "Segmentation fault"),
        ("leave_by_exception", 1, "LookupError: no such luck"),
        ("leave_by_sys_exit", 5, ""),
        ("nothing", 0, ""),
    ],
)
def test_an_end_is_reported_with_its_status_and_leaves_its_last_words(
    dirs: NodeDirs, entry: str, code: int, words: str
) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            await client.fork(1, entry)
            assert await client.exited(1) == code
            assert words in tail_of(str(dirs.session / "log" / "1.err"))

    run(test())


def test_kill_reaches_the_executor_and_its_children_and_is_ignored_afterwards(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            gone = Gone(await client.fork(1, "sleep"))
            client.link.send(frames.KILL, 1, signal.SIGKILL.value)
            assert await client.exited(1) == -signal.SIGKILL
            gone.wait()
            client.link.send(frames.KILL, 1, signal.SIGKILL.value)
            await client.facts(2)

    run(test())


def test_what_an_executor_started_dies_with_it_even_daemons_and_other_executors_stay(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            await started(client)
            pipe = SharedPipe(dirs.session / "pipe")
            await client.fork(1, "sleep")
            await client.fork(2, "leave_family")
            assert await client.exited(2) == 0
            pipe.wait_for_end()
            client.link.send(frames.KILL, 1, signal.SIGKILL.value)
            assert await client.exited(1) == -signal.SIGKILL

    run(test())


def test_the_end_of_the_agents_socket_ends_everything_and_removes_the_files(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            gone = Gone(await started(client), await client.fork(1, "sleep"))
            client.link.dismiss()
            gone.wait()
            assert not dirs.session.exists()
            assert not dirs.store.exists()

    run(test())


def test_sigterm_ends_the_processes_but_leaves_the_files_to_the_living_agent(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            pid = await started(client)
            gone = Gone(pid, await client.fork(1, "sleep"))
            os.kill(pid, signal.SIGTERM)
            gone.wait()
            assert dirs.session.exists()
            assert dirs.store.exists()

    run(test())


def test_killing_the_template_kills_its_executors(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            pid = await started(client)
            gone = Gone(pid, await client.fork(1, "sleep"), await client.fork(2, "sleep"))
            os.kill(pid, signal.SIGKILL)
            gone.wait()

    run(test())


def test_burying_a_killed_template_also_ends_what_its_executors_started(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            pid = await started(client)
            pipe = SharedPipe(dirs.session / "pipe")
            await client.fork(1, "hold_with_child")
            pipe.wait_for_word()
            os.kill(pid, signal.SIGKILL)
            await client.ended()
            client.link.bury()
            pipe.wait_for_end()

    run(test())


def test_the_template_outlives_the_thread_that_started_it(dirs: NodeDirs) -> None:
    links: list[TemplateLink] = []
    thread = threading.Thread(target=lambda: links.append(TemplateLink(dirs.boot())))
    thread.start()

    async def test() -> None:
        async with serve(dirs, links[0]) as client:
            # Whether the thread's end precedes the template's asking for the signal or not: it gets one.
            os.kill(await started(client), signal.SIGUSR1)
            await client.facts(1)

    thread.join()
    run(test())


def seen_by_others(pid: int, place: str) -> bytes:
    return Path(f"/proc/{pid}/{place}").read_bytes()


def test_the_secret_is_in_no_argument_variable_or_repr(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            for pid in (await started(client), await client.fork(1, "sleep")):
                for place in ("cmdline", "environ"):
                    text = seen_by_others(pid, place)
                    assert SECRET not in text
                    assert SECRET.hex().encode() not in text
            assert SECRET.hex() not in repr(dirs.boot())
            assert repr(SECRET) not in repr(dirs.boot())

    run(test())


def test_many_forks_leave_no_descriptor_open(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs) as client:
            pid = await started(client)
            before = len(os.listdir(f"/proc/{pid}/fd"))
            numbers = range(1, 101)
            for number in numbers:
                client.link.send(frames.FORK, dirs.boot(number, "nothing").pack())
            kinds = [
                (await asyncio.wait_for(client.messages.get(), PATIENCE))[0] for _ in range(2 * len(numbers))
            ]
            assert sorted(kinds) == [frames.FORKED] * 100 + [frames.EXITED] * 100
            assert len(os.listdir(f"/proc/{pid}/fd")) == before

    run(test())


def test_a_template_with_a_second_thread_spawns_instead_of_forking(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs, module="fake_threaded") as client:
            pid = await started(client, "spawn")
            facts = await client.facts(1, module="fake_threaded", threads=2, env=(("COLOUR", "blue"),))
            assert facts["parent"] == pid and facts["group"]
            assert facts["environ"]["COLOUR"] == "blue"
            assert facts["blas"] == 2
            log = str(dirs.session / "log" / "1")
            assert facts["descriptors"] == {"0": os.devnull, "1": f"{log}.out", "2": f"{log}.err"}
            gone = Gone(await client.fork(2, "sleep"))
            client.link.send(frames.KILL, 2, signal.SIGKILL.value)
            assert await client.exited(2) == -signal.SIGKILL
            gone.wait()

    run(test())


def test_a_template_that_cannot_import_says_why_in_its_log(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with template(dirs, module="no_such_module") as client:
            await client.ended()
            assert "No module named 'no_such_module'" in tail_of(client.link.boot.log_path)

    run(test())


def test_how_executors_are_made_on_each_system() -> None:
    assert linux.start_method("linux", 1) == "fork"
    assert linux.start_method("linux", 2) == "spawn"
    assert linux.start_method("darwin", 1) == "spawn"
    with pytest.raises(RaySystemError, match="WSL"):
        linux.start_method("win32", 1)


def test_a_boot_survives_the_wire_whole(dirs: NodeDirs) -> None:
    boot = dirs.boot(3, env=(("A", "\udcff"),), threads=4, sys_path=("\udcfe", *sys.path))
    assert Boot.unpack(boot.pack()) == boot


def test_a_template_is_asked_whether_it_is_there_and_nobody_else_hears_of_it(
    dirs: NodeDirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(
            template_link, "_LOOK", 1e6
        )  # it may take long to start, and is not to be asked then
        async with template(dirs) as client:
            await started(client)
            monkeypatch.setattr(template_link, "_LOOK", 0.001)
            client.link._patience = 1 << 30
            answered = asyncio.Event()
            heard = client.link._heard
            monkeypatch.setattr(client.link, "_heard", lambda: (heard(), answered.set()))
            # There is no such executor: only the question is answered.
            client.link.send(frames.KILL, 77, signal.SIGKILL)
            await asyncio.wait_for(answered.wait(), PATIENCE)
            assert client.link._look is None
            assert client.link._silent >= 1
            assert client.messages.empty()
            await client.fork(1, "nothing")

    run(test())
