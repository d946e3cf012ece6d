"""Who polls a process's sockets: order by what the threads do, never by time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from channel.support import LIMIT, Side, World

from nbray.channel import leader as leader_module
from nbray.channel.interrupts import DeferringLock, Interrupts
from nbray.channel.leader import Leadership

NEVER = 3600.0


class Home(Side):
    """A process as the owner makes it: its steps, flushes and ticks are counted."""

    def __init__(self, directory: Path) -> None:
        self.interrupts = Interrupts()
        super().__init__("home", directory, False, lock=DeferringLock(self.interrupts))
        self.interrupts.wake = self.reactor.wake
        self.steps: list[tuple[str, float]] = []
        self.changed = threading.Condition()
        self.held_back: list[Callable[[], None]] = []
        self.on_flush: Callable[[], Any] = lambda: None
        self.flushes = 0
        self.ticks = 0
        step = self.reactor.step

        def counted(timeout: float, eager: bool = False) -> int:
            # A background thread is never eager: user code runs beside it.
            assert not eager or threading.current_thread().name != BACKGROUND
            with self.changed:
                self.steps.append((threading.current_thread().name, timeout))
                self.changed.notify_all()
            return step(timeout, eager)

        self.reactor.step = counted  # type: ignore[method-assign]
        self.lead = Leadership(self.reactor, self.interrupts, self._flush, self._tick)

    def _flush(self) -> None:
        self.flushes += 1
        while self.held_back:
            self.held_back.pop(0)()
        self.on_flush()

    def _tick(self) -> None:
        with self.changed:
            self.ticks += 1
            self.changed.notify_all()

    def wait(self, done: Callable[[], bool]) -> None:
        """Until the threads have got there."""
        deadline = time.monotonic() + LIMIT
        with self.changed:
            while not done():
                assert time.monotonic() < deadline, f"waited in vain; the last steps: {self.steps[-5:]}"
                self.changed.wait(0.01)

    def polls(self, thread: str, timeout: float | None = None) -> None:
        """Until that thread leads (and polls for so long)."""
        seen = len(self.steps)
        self.wait(
            lambda: any(t == thread and timeout in (None, s) for t, s in self.steps[max(seen - 1, 0) :])
        )

    def tell(self, change: Callable[[], Any]) -> None:
        """What a thread that has changed something does."""
        change()
        self.reactor.wake()

    def close(self) -> None:
        self.lead.close()
        self.reactor.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No poll ends by itself: who goes on was woken."""
    monkeypatch.setattr(leader_module, "TICK", NEVER)


BACKGROUND = "nbray-io"


def in_thread(target: Callable[[], Any], name: str = "other") -> tuple[threading.Thread, list[Any]]:
    """A thread that runs it, and where its answer will be."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(target()), name=name)
    thread.start()
    return thread, answers


# -- one waiting thread --------------------------------------------------------------------------------------------------


def test_who_has_what_he_wants_does_not_poll(home: Home) -> None:
    assert home.lead.run_until(lambda: True)
    assert home.steps == []


def test_who_has_no_time_looks_once(home: Home) -> None:
    assert not home.lead.run_until(lambda: False, time.monotonic() - 1)
    assert home.steps == [("MainThread", 0)]


def test_a_turn_looks_once_and_waits_for_nothing(home: Home) -> None:
    home.lead.take_turn()
    assert home.steps == [("MainThread", 0)] and home.flushes == 0


def test_there_is_no_turn_while_another_thread_leads(home: Home, patient: None) -> None:
    home.lead.start()
    home.polls(BACKGROUND)
    home.lead.take_turn()
    assert ("MainThread", 0) not in home.steps


def test_there_is_no_turn_within_a_turn(home: Home) -> None:
    step, depth = home.reactor.step, []

    def again(timeout: float) -> int:
        depth.append(timeout)
        home.lead.take_turn()
        return step(timeout)

    home.reactor.step = again  # type: ignore[method-assign]
    home.lead.take_turn()
    assert depth == [0]


def test_the_background_thread_stays_parked_while_others_take_turns(home: Home) -> None:
    looks, taken = threading.Semaphore(0), threading.Semaphore(0)

    def look() -> None:
        """Before each look of the background thread this one takes a turn."""
        looks.release()
        taken.acquire()

    home.on_flush = look
    home.lead.start()
    for _ in range(5):
        looks.acquire()
        home.lead.take_turn()
        taken.release()
    looks.acquire()
    assert {thread for thread, _ in home.steps} == {"MainThread"}
    home.on_flush = lambda: None
    taken.release()


def test_a_wait_ends_at_its_deadline(home: Home) -> None:
    assert not home.lead.run_until(lambda: False, time.monotonic() + 0.05)
    assert all(timeout <= 0.05 for _, timeout in home.steps)


def test_the_thread_that_waits_reads_its_answer_itself(home: Home, local: World, patient: None) -> None:
    other = local.side()
    home.lead.start()
    home.polls(BACKGROUND)
    connection = home.connect(other)
    readers: list[str] = []
    connection.on_message = lambda c, message: readers.append(threading.current_thread().name)
    home.send(connection, 1)

    def answer() -> None:
        local.until(lambda: bool(other.got))
        home.polls("MainThread", NEVER)
        other.send(other.accepted[0], 2)

    thread, _ = in_thread(answer)
    assert home.lead.run_until(lambda: bool(readers))
    thread.join()
    assert readers == ["MainThread"]


def test_what_was_held_back_is_sent_before_polling(home: Home) -> None:
    done: list[int] = []
    home.held_back.append(lambda: done.append(1))
    assert home.lead.run_until(lambda: bool(done))
    assert home.steps == []


def test_a_change_by_another_thread_ends_the_wait(home: Home, patient: None) -> None:
    done: list[int] = []
    thread, _ = in_thread(lambda: (home.polls("MainThread", NEVER), home.tell(lambda: done.append(1))))
    assert home.lead.run_until(lambda: bool(done))
    thread.join()


# -- foreground and background ---------------------------------------------------------------------------------------------


def test_the_background_leads_when_nobody_waits(home: Home) -> None:
    home.lead.start()
    home.polls(BACKGROUND)


def test_the_foreground_takes_over_and_the_background_comes_back(home: Home, patient: None) -> None:
    home.lead.start()
    for _ in range(5):
        home.polls(BACKGROUND, NEVER)
        home.steps.clear()
        done: list[int] = []
        thread, _ = in_thread(lambda: (home.polls("MainThread", NEVER), home.tell(lambda: done.append(1))))  # noqa: B023
        assert home.lead.run_until(lambda: bool(done))  # noqa: B023
        thread.join()


def test_a_quiet_background_polls_without_waking(home: Home, patient: None) -> None:
    home.lead.start()
    home.polls(BACKGROUND, NEVER)
    steps = len(home.steps)
    assert home.lead._patient
    assert len(home.steps) == steps


def test_beside_a_quiet_foreground_the_background_sleeps_without_time_out(home: Home, patient: None) -> None:
    home.lead.start()
    done: list[int] = []
    thread, _ = in_thread(lambda: home.lead.run_until(lambda: bool(done)))
    home.polls("other", NEVER)
    home.wait(lambda: home.lead._asleep)
    assert home.steps[-1] == ("other", NEVER), "nobody has a reason to wake"
    home.tell(lambda: done.append(1))
    thread.join()
    home.polls(BACKGROUND)


def test_housekeeping_is_done_whoever_leads(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_module, "TICK", 0.01)
    assert home.lead.run_until(lambda: home.ticks >= 3)
    home.lead.start()
    so_far = home.ticks
    home.wait(lambda: home.ticks >= so_far + 3)


def test_the_background_is_started_once(home: Home) -> None:
    home.lead.ensure_background()
    home.lead.ensure_background()
    assert [thread.name for thread in threading.enumerate()].count(BACKGROUND) == 1


def test_a_nudge_reaches_a_background_that_polls_for_long(home: Home, patient: None) -> None:
    home.lead.start()
    for _ in range(3):
        home.polls(BACKGROUND, NEVER)
        home.wait(lambda: home.lead._patient)
        sent = threading.Event()
        home.held_back.append(sent.set)
        home.lead.nudge()
        assert sent.wait(LIMIT)


def test_a_nudge_reaches_a_foreground_that_polls_for_long(home: Home, patient: None) -> None:
    sent = threading.Event()
    thread, _ = in_thread(lambda: home.lead.run_until(sent.is_set))
    home.polls("other", NEVER)
    home.held_back.append(sent.set)
    home.lead.nudge()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_who_follows_sends_what_he_held_back(home: Home, patient: None) -> None:
    done: list[int] = []
    thread, _ = in_thread(lambda: home.lead.run_until(lambda: bool(done)))
    home.polls("other", NEVER)
    home.held_back.append(lambda: home.tell(lambda: done.append(1)))
    assert home.lead.run_until(lambda: bool(done))
    thread.join()


def test_the_background_outlives_a_defect(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.lead.start()
    home.polls(BACKGROUND)
    home.held_back.append(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    sent = threading.Event()
    home.held_back.append(sent.set)
    home.reactor.wake()
    assert sent.wait(LIMIT)
    assert "ZeroDivisionError" in caplog.text


# -- waiting inside a wait ---------------------------------------------------------------------------------------------------


def test_what_a_leader_calls_may_wait_itself(home: Home) -> None:
    """A callback of one future that gets another: the thread that polls is the one that waits."""
    seen: list[str] = []
    thread, _ = in_thread(lambda: (home.polls("MainThread"), home.tell(lambda: seen.append("inner"))))

    def callback() -> None:
        assert home.lead.run_until(lambda: "inner" in seen)
        seen.append("outer")

    home.held_back.append(callback)
    assert home.lead.run_until(lambda: "outer" in seen)
    thread.join()
    assert seen == ["inner", "outer"]


def test_what_the_background_calls_may_wait_itself(home: Home) -> None:
    seen: list[str] = []
    over = threading.Event()

    def callback() -> None:
        home.lead.run_until(lambda: "inner" in seen)
        over.set()

    home.lead.start()
    home.polls(BACKGROUND)
    home.held_back.append(callback)
    home.tell(lambda: None)
    home.tell(lambda: seen.append("inner"))
    assert over.wait(LIMIT)
    home.polls(BACKGROUND)


def test_a_wait_inside_a_wait_ends_at_its_own_deadline(home: Home) -> None:
    seen: list[Any] = []
    home.held_back.append(lambda: seen.append(home.lead.run_until(lambda: False, time.monotonic() + 0.01)))
    assert home.lead.run_until(lambda: bool(seen))
    assert seen == [False]


# -- many threads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True])
def test_many_threads_wait_at_once_and_each_gets_its_own(home: Home, local: World, background: bool) -> None:
    """Requests over one connection to an echo, from many threads; whoever leads reads everybody's answers."""
    if background:
        home.lead.start()
    echo = local.side()
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            echo.reactor.step(0.05)

    server, _ = in_thread(serve)
    connection = home.connect(echo)
    echo.reactor.on_accept = lambda c: setattr(c, "on_message", lambda c, message: c.send(message))
    answers: set[Any] = set()
    connection.on_message = lambda c, message: answers.add(message)
    threads = 8

    def ask(thread: int) -> bool:
        for n in range(30):
            home.send(connection, thread, n)
            if not home.lead.run_until(lambda: (thread, n) in answers, time.monotonic() + LIMIT):  # noqa: B023
                return False
        return True

    waiting = [in_thread(lambda n=n: ask(n), f"asks{n}") for n in range(threads)]
    for thread, answer in waiting:
        thread.join(LIMIT)
        assert answer == [True]
    assert len(answers) == threads * 30
    assert home.lead._followers == []
    stop.set()
    server.join()


def test_when_the_leader_leaves_a_follower_leads(home: Home, patient: None) -> None:
    done: set[str] = set()
    threads = [in_thread(lambda n=n: home.lead.run_until(lambda: n in done), n)[0] for n in "abc"]
    for _ in threads:
        home.wait(lambda: any(home.steps) and home.steps[-1][1] == NEVER)
        leader = home.steps[-1][0]
        home.steps.clear()
        home.tell(lambda: done.add(leader))  # noqa: B023
        next(thread for thread in threads if thread.name == leader).join(LIMIT)
    assert done == set("abc")


def test_followers_keep_their_deadlines(home: Home, patient: None) -> None:
    done: list[int] = []
    thread, _ = in_thread(lambda: home.lead.run_until(lambda: bool(done)))
    home.polls("other", NEVER)
    assert not home.lead.run_until(lambda: False, time.monotonic() + 0.05)
    home.tell(lambda: done.append(1))
    thread.join()


# -- the end -------------------------------------------------------------------------------------------------------------------


def test_close_ends_every_wait(home: Home, patient: None) -> None:
    home.lead.start()
    waiting = [in_thread(lambda: home.lead.run_until(lambda: False), f"waits{n}") for n in range(5)]
    home.wait(lambda: any(thread.startswith("waits") and timeout == NEVER for thread, timeout in home.steps))
    home.close()
    for thread, answers in waiting:
        thread.join(LIMIT)
        assert answers == [False]
    assert not any(thread.name == BACKGROUND for thread in threading.enumerate())


def test_close_waits_until_nobody_polls(home: Home, patient: None) -> None:
    in_step = threading.Event()
    go = threading.Event()
    home.held_back.append(lambda: (in_step.set(), go.wait(LIMIT)))  # type: ignore[arg-type, return-value]
    thread, _ = in_thread(lambda: home.lead.run_until(lambda: False))
    assert in_step.wait(LIMIT)
    closer, _ = in_thread(home.close, "closer")
    home.wait(lambda: home.lead._closing)
    assert closer.is_alive()
    go.set()
    closer.join(LIMIT)
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_after_close_nobody_waits(home: Home) -> None:
    home.close()
    assert not home.lead.run_until(lambda: False)
    home.lead.ensure_background()
    assert not any(thread.name == BACKGROUND for thread in threading.enumerate())


def test_whoever_leads_may_close(home: Home) -> None:
    home.held_back.append(home.lead.close)
    assert not home.lead.run_until(lambda: False)
    assert not home.lead._leading.locked()


# -- an asyncio loop ------------------------------------------------------------------------------------------------------------


class Served:
    """What a loop is told to look at."""

    def __init__(self, home: Home, peer: Side) -> None:
        self.home = home
        self.queue: list[Any] = []
        self.taken: list[Any] = []
        self.threads: list[str] = []
        self.more = asyncio.Event()
        self.connection = peer.connect(home)
        home.reactor.on_accept = self._accepted

    def _accepted(self, connection: Any) -> None:
        connection.on_message = self._heard

    def _heard(self, connection: Any, message: Any) -> None:
        self.threads.append(threading.current_thread().name)
        self.queue.append(message)

    def served(self) -> None:
        while self.queue:
            self.taken.append(self.queue.pop(0))
            self.more.set()

    async def until(self, n: int) -> None:
        async with asyncio.timeout(LIMIT):
            while len(self.taken) < n:
                self.more.clear()
                await self.more.wait()


def run_served(home: Home, local: World, test: Callable[[Served, Callable[..., None]], Any]) -> None:
    """Run ``test(served, say)`` on a loop that serves; ``say`` sends from the peer."""
    peer = local.side()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        served = Served(home, peer)

        def say(*message: Any) -> None:
            peer.send(served.connection, *message)

        home.lead.serve_from(loop, served.served)
        try:
            async with asyncio.timeout(LIMIT):
                while not served.connection.peer:
                    peer.reactor.step(0)
                    await asyncio.sleep(0)
            await test(served, say)
        finally:
            home.lead.leave_loop(loop)

    asyncio.run(main())


def test_a_loop_serves_what_comes(home: Home, local: World) -> None:
    async def test(served: Served, say: Any) -> None:
        for n in range(5):
            say(1, n)
            await served.until(n + 1)
        assert set(served.threads) == {"MainThread"}

    home.lead.start()
    run_served(home, local, test)


def test_a_loop_hears_of_what_the_background_read_as_it_took_over(
    home: Home, local: World, patient: None
) -> None:
    async def test(served: Served, say: Any) -> None:
        say(1)
        await served.until(1)

    home.lead.start()
    home.polls(BACKGROUND, NEVER)
    run_served(home, local, test)


def test_a_loop_hears_of_what_another_waiting_thread_read(home: Home, local: World) -> None:
    async def test(served: Served, say: Any) -> None:
        done: list[int] = []
        thread, _ = in_thread(lambda: home.lead.run_until(lambda: bool(done)))
        home.polls("other")
        for n in range(20):
            say(1, n)
            await served.until(n + 1)
        home.tell(lambda: done.append(1))
        await asyncio.to_thread(thread.join)
        assert served.taken == [(1, n) for n in range(20)]

    home.lead.start()
    run_served(home, local, test)


def test_a_loop_hears_of_what_its_own_thread_read_while_it_waited(home: Home, local: World) -> None:
    async def test(served: Served, say: Any) -> None:
        say(1)
        assert home.lead.run_until(lambda: bool(served.queue))  # user code that calls get in a coroutine
        await served.until(1)

    run_served(home, local, test)


def test_beside_a_stuck_loop_the_background_serves(
    home: Home, local: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_module, "_STUCK", 0.01)

    async def test(served: Served, say: Any) -> None:
        say(1)
        deadline = time.monotonic() + LIMIT
        while not served.queue:  # a coroutine that computes
            assert time.monotonic() < deadline
        assert served.threads == [BACKGROUND]
        await served.until(1)

    home.lead.start()
    run_served(home, local, test)


def test_what_is_held_back_goes_after_what_the_loop_runs_now(home: Home, local: World) -> None:
    async def test(served: Served, say: Any) -> None:
        sent = asyncio.Event()
        home.held_back.append(sent.set)
        home.lead.nudge()
        assert not sent.is_set()
        async with asyncio.timeout(LIMIT):
            await sent.wait()

    run_served(home, local, test)


def test_after_the_loop_the_background_leads_again(home: Home, local: World) -> None:
    async def test(served: Served, say: Any) -> None:
        pass

    home.lead.start()
    run_served(home, local, test)
    home.polls(BACKGROUND)


def test_a_nudge_to_a_closed_loop_does_nothing(home: Home) -> None:
    loop = asyncio.new_event_loop()
    home.lead.serve_from(loop, lambda: None)
    loop.remove_reader(home.reactor.fileno())
    loop.close()
    home.lead.nudge()
