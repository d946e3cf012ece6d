"""A node's processes: leases and actors get executors, and every end has its reason."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from executor.support import HERE, PATIENCE, SECRET, Gone, NodeDirs, SharedPipe

from nbray.channel.reactor import Reactor
from nbray.core import messages
from nbray.core.ids import Address
from nbray.core.messages import Loss, Message
from nbray.executor.supervisor import Node, StartError
from nbray.store.store import Store

ONE_CPU = ((("CPU", 10_000),), (), ())
BLUE = ((("CPU", 10_000),), (("COLOUR", "blue"),), ())
OWNER = b"owner---"


class Placement:
    """Who uses the node, and hears from it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.up: asyncio.Queue[tuple[bytes, Message]] = asyncio.Queue()
        self.exits: asyncio.Queue[tuple[int | None, bytes, Loss]] = asyncio.Queue()
        self.hosted: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        node.on_up = lambda *event: self.up.put_nowait(event)
        node.on_exit = lambda *event: self.exits.put_nowait(event)
        node.on_hosted = lambda *event: self.hosted.put_nowait(event)

    async def told(self, process: bytes, *message: object) -> None:
        """The executor says that this is the next message that it got."""
        assert await soon(self.up.get()) == (process, ("told", message))

    def tell(self, process: bytes, source: str) -> None:
        self.node.down(process, ("eval", source))

    async def evaluate(self, process: bytes, source: str) -> Any:
        self.tell(process, source)
        while True:
            who, (kind, value) = await soon(self.up.get())
            if kind == "value":
                assert who == process
                return value

    async def exit(self) -> tuple[int | None, bytes, Loss]:
        return await soon(self.exits.get())


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE)


@asynccontextmanager
async def running(dirs: NodeDirs, **changes: object) -> AsyncIterator[Placement]:
    node = Node(dirs.config(**changes))
    node.start_template()
    await node.start()
    try:
        yield Placement(node)
    finally:
        await node.close()


def run(test: Coroutine[None, None, None]) -> None:
    asyncio.run(test)


def test_a_lease_gets_an_executor_that_knows_it(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(7, BLUE, OWNER))
            await placement.told(address.process, messages.LEASE, 7, OWNER, BLUE[0])
            assert await placement.evaluate(address.process, "os.environ['COLOUR']") == "blue"
            assert await placement.evaluate(address.process, "os.environ['OMP_NUM_THREADS']") == "1"

    run(test())


def test_an_ended_lease_leaves_its_executor_to_the_next_of_the_same_shape(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            node = placement.node
            first, second = [await soon(node.lane(lease, ONE_CPU, OWNER)) for lease in (1, 2)]
            assert first.process != second.process
            node.end_lane(2, kill=False)
            node.end_lane(1, kill=False)
            other = await soon(node.lane(3, BLUE, OWNER))
            assert other.process not in (first.process, second.process)
            assert await soon(node.lane(4, ONE_CPU, OWNER)) == first
            assert await soon(node.lane(5, ONE_CPU, OWNER)) == second
            heard = [await soon(placement.up.get()) for _ in range(7)]
            assert [message[1] for process, message in heard if process == first.process] == [
                (messages.LEASE, 1, OWNER, ONE_CPU[0]),
                (messages.UNLEASE, 1),
                (messages.LEASE, 4, OWNER, ONE_CPU[0]),
            ]

    run(test())


def test_idle_executors_beyond_those_kept_retire(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs, keep=1, linger=0.0) as placement:
            node = placement.node
            first, second = [await soon(node.lane(lease, ONE_CPU, OWNER)) for lease in (1, 2)]
            node.end_lane(1, kill=False)
            node.end_lane(2, kill=False)
            lease, process, loss = await placement.exit()
            assert (lease, process, loss[:2]) == (None, first.process, ("killed", "retired"))
            assert await soon(node.lane(3, ONE_CPU, OWNER)) == second

    run(test())


def test_a_lease_that_ends_with_a_kill_takes_its_executor_along(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(1, ONE_CPU, OWNER))
            placement.node.end_lane(1, kill=True)
            lease, process, loss = await placement.exit()
            assert (lease, process, loss[0]) == (None, address.process, "killed")
            assert (await soon(placement.node.lane(2, ONE_CPU, OWNER))).process != address.process

    run(test())


@pytest.mark.parametrize(
    ("source", "kind", "text", "code", "words"),
    [
        ("ctypes.string_at(0)", "signal", "SIGSEGV", 11, "Segmentation fault"),
        ("(print('last words', file=sys.stderr), os._exit(3))", "exit", "exit code 3", 3, "last words"),
        ("os.kill(os.getpid(), 9)", "signal", "SIGKILL", 9, ""),
        ("[].pop()", "exit", "exit code 1", 1, "IndexError: pop from empty list"),
    ],
)
def test_a_crash_is_reported_with_lease_process_reason_and_last_words(
    dirs: NodeDirs, source: str, kind: str, text: str, code: int, words: str
) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(1, ONE_CPU, OWNER))
            pid = await placement.evaluate(address.process, "os.getpid()")
            placement.tell(address.process, source)
            lease, process, loss = await placement.exit()
            assert (lease, process, loss[:4]) == (1, address.process, (kind, text, pid, code))
            assert words in loss[4]
            assert not list((dirs.session / "log").glob("[0-9]*"))

    run(test())


def test_a_kill_that_was_asked_for_says_so(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(1, ONE_CPU, OWNER))
            placement.node.end_lane(1, kill=True)
            lease, process, loss = await placement.exit()
            assert (lease, process) == (None, address.process)
            assert (loss[0], loss[1], loss[3]) == ("killed", "its lease ended", 9)

    run(test())


def test_who_says_that_it_leaves_did_not_crash_whatever_comes_first(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            for lease in range(20):
                address = await soon(placement.node.lane(lease, ONE_CPU, OWNER))
                placement.tell(
                    address.process, f"(agent.send(({messages.LEAVING}, 'exit_actor')), os._exit(0))"
                )
                which, process, loss = await placement.exit()
                assert (which, process, loss[:2]) == (lease, address.process, ("killed", "exit_actor"))

    run(test())


def test_a_retired_executor_leaves_by_itself(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(1, ONE_CPU, OWNER))
            placement.node.retire(1)
            lease, process, loss = await placement.exit()
            assert (lease, process, loss[:2]) == (1, address.process, ("killed", "retired"))

    run(test())


def test_a_retired_executor_that_crashes_has_crashed(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(1, ONE_CPU, OWNER))
            placement.tell(address.process, "ctypes.string_at(0)")
            placement.node.retire(1)
            _, _, loss = await placement.exit()
            assert loss[:2] == ("signal", "SIGSEGV")

    run(test())


def test_an_actor_gets_an_executor_of_its_own_and_reports_its_init(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            node = placement.node
            lane = await soon(node.lane(1, ONE_CPU, OWNER))
            node.end_lane(1, kill=False)
            good = await soon(node.host(b"actor", 1, 2, ONE_CPU, b""))
            assert await soon(placement.hosted.get()) == (b"actor", 1, good, None)
            bad = await soon(node.host(b"actor", 2, 3, ONE_CPU, b"failure"))
            assert await soon(placement.hosted.get()) == (b"actor", 2, bad, b"failure")
            assert len({lane.process, good.process, bad.process}) == 3

    run(test())


def test_an_executor_that_dies_before_it_is_ready_fails_its_lease_with_its_last_words(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs, entry="fake_executor:leave_by_exception") as placement:
            with pytest.raises(StartError, match="no such luck") as caught:
                await soon(placement.node.lane(1, ONE_CPU, OWNER))
            assert caught.value.loss[:2] == ("exit", "exit code 1")
            with pytest.raises(StartError):
                await soon(placement.node.host(b"actor", 1, 2, ONE_CPU, b""))
            assert placement.exits.empty()

    run(test())


def test_a_cancelled_lease_gives_its_starting_executor_to_the_next(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            waiting = asyncio.create_task(placement.node.lane(1, ONE_CPU, OWNER))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            address = await soon(placement.node.lane(2, ONE_CPU, OWNER))
            await placement.told(address.process, messages.LEASE, 1, OWNER, ONE_CPU[0])
            await placement.told(address.process, messages.UNLEASE, 1)
            await placement.told(address.process, messages.LEASE, 2, OWNER, ONE_CPU[0])

    run(test())


def test_an_executor_that_dies_before_it_is_ready_takes_no_objects_with_it(
    dirs: NodeDirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbray.executor.estates.HEIRS", -1.0)

    async def test() -> None:
        async with running(dirs, entry="fake_executor:leave_by_exception") as placement:
            removed: list[set[bytes]] = []
            monkeypatch.setattr(placement.node._server, "remove_heirless", removed.append)
            with pytest.raises(StartError):
                await soon(placement.node.lane(1, ONE_CPU, OWNER))
            await asyncio.sleep(0)  # whatever is due at once is called now
            await asyncio.sleep(0)
            assert removed == []

    run(test())


def test_a_cancelled_actor_is_ended(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            waiting = asyncio.create_task(placement.node.host(b"actor", 1, 1, ONE_CPU, b""))
            await asyncio.sleep(0)
            ready = placement.node._leases[1].ready
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert not placement.node._leases
            with pytest.raises(StartError, match="its lease ended"):
                await soon(ready)

    run(test())


def test_a_killed_template_is_replaced_and_its_executors_are_lost(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            node = placement.node
            addresses = {lease: await soon(node.lane(lease, ONE_CPU, OWNER)) for lease in (1, 2)}
            pipe = SharedPipe(dirs.session / "pipe")
            source = f"start_family(os.open({str(dirs.session / 'pipe')!r}, os.O_WRONLY))"
            for address in addresses.values():
                await placement.evaluate(address.process, source)
            os.kill(node._processes._link.process.pid, signal.SIGKILL)
            exits = [await placement.exit() for _ in addresses]
            pipe.wait_for_end()
            assert {lease: process for lease, process, _ in exits} == {
                n: a.process for n, a in addresses.items()
            }
            assert {loss[:2] for _, _, loss in exits} == {("signal", "SIGKILL")}
            assert all("template" in loss[4] for _, _, loss in exits)
            again = await soon(node.lane(3, ONE_CPU, OWNER))
            assert await placement.evaluate(again.process, "1 + 1") == 2

    run(test())


def test_a_template_that_cannot_start_fails_every_lease_with_the_reason(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs, entry="no_such_module:run") as placement:
            for lease in (1, 2):
                with pytest.raises(StartError, match="No module named 'no_such_module'"):
                    await soon(placement.node.lane(lease, ONE_CPU, OWNER))

    run(test())


def test_an_executor_that_gives_up_its_channel_is_ended(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            address = await soon(placement.node.lane(1, ONE_CPU, OWNER))
            placement.tell(address.process, "agent.close()")
            lease, process, loss = await placement.exit()
            assert (lease, process, loss[0]) == (1, address.process, "killed")

    run(test())


def test_a_node_agent_sends_and_frees_objects_of_its_store(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs, tcp_host="127.0.0.1") as placement:
            node = placement.node
            store = Store(node.config.store_dir)
            made = store.write(bytes(16), b"pickle", [])
            elsewhere = Reactor(Address(b"peer----", b"elsewher", "", ""), SECRET)
            peer = elsewhere.connect(node.address)
            chunks: list[messages.Message] = []
            peer.on_message = lambda _, message: chunks.append(message)

            async def pull(request: int) -> messages.Message:
                peer.send((messages.PULL, request, bytes(16), made.name, 0, 1 << 20))
                while not chunks:
                    elsewhere.step(0)
                    await asyncio.sleep(0)
                return chunks.pop()

            kind, _, offset, data, total = await soon(asyncio.create_task(pull(1)))
            assert (kind, offset, len(data), total) == (messages.CHUNK, 0, made.size, made.size)
            peer.send((messages.FREE, [(bytes(16), made.name)]))
            assert (await soon(asyncio.create_task(pull(2))))[4] == -1
            elsewhere.close()
            store.close()

    run(test())


def test_a_process_that_is_no_executor_cannot_become_one(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            node = placement.node
            address = await soon(node.lane(1, ONE_CPU, OWNER))
            stranger = Reactor(Address(b"stranger", b"nodenode", "", ""), SECRET)
            connection = stranger.connect(node.address)
            closed = []
            connection.on_close = lambda *event: closed.append(event)
            connection.send((messages.READY, 1, os.getpid(), tuple(stranger.address)))
            while not closed:
                stranger.step(0)
                await asyncio.sleep(0)
            stranger.close()
            assert await placement.evaluate(address.process, "boot.number") == 1

    run(test())


def test_closing_ends_everything_within_two_seconds_whatever_runs(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            node = placement.node
            pipe = SharedPipe(dirs.session / "pipe")
            pids = []
            for lease in (1, 2):
                address = await soon(node.lane(lease, ONE_CPU, OWNER))
                source = f"start_family(os.open({str(dirs.session / 'pipe')!r}, os.O_WRONLY))"
                pids.append(await placement.evaluate(address.process, source))
            placement.tell(address.process, "os.kill(os.getpid(), signal.SIGSTOP)")
            gone = Gone(*pids)
            waiting = asyncio.create_task(node.lane(3, ONE_CPU, OWNER))
            await asyncio.sleep(0)
            begun = time.monotonic()
            await node.close()
            assert time.monotonic() - begun < 2
            gone.wait()
            pipe.wait_for_end()
            with pytest.raises(StartError, match="closed"):
                await waiting
            assert not dirs.session.exists()
            assert not dirs.store.exists()
            await node.close()

    run(test())


def test_a_node_that_never_ran_closes_too(dirs: NodeDirs) -> None:
    async def test() -> None:
        node = Node(dirs.config())
        node.start_template()
        await node.close()
        assert not dirs.session.exists()

    run(test())


@pytest.mark.parametrize("child", ["", "fork"])
def test_nothing_is_left_when_the_owner_is_killed_even_if_its_child_lives(dirs: NodeDirs, child: str) -> None:
    pipe = SharedPipe(dirs.session / "pipe")
    command = [
        sys.executable,
        str(Path(HERE) / "owner_process.py"),
        str(dirs.session),
        str(dirs.store),
        child,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        pids = json.loads(owner.stdout.readline())
        inheritor = pids.pop() if child else None
        gone = Gone(*pids)
        owner.kill()
    gone.wait()
    pipe.wait_for_end()
    assert not dirs.session.exists()
    assert not dirs.store.exists()
    if inheritor:
        os.kill(inheritor, signal.SIGKILL)
        Gone(inheritor).wait()


def test_executors_that_come_and_go_leave_no_descriptor_or_record(dirs: NodeDirs) -> None:
    async def test() -> None:
        async with running(dirs) as placement:
            node = placement.node
            before = len(os.listdir("/proc/self/fd"))
            for lease in range(30):
                await soon(node.lane(lease, ONE_CPU, OWNER))
                node.end_lane(lease, kill=True)
                await placement.exit()
            assert len(os.listdir("/proc/self/fd")) == before
            assert not (
                node._processes.by_number or node._processes.by_process or node._leases or len(node._pool)
            )

    run(test())
