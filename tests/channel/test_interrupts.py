"""Ctrl-C: between transitions, never inside one, and never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from channel.support import LIMIT
from channel.test_leader import Home, in_thread

import nbray.channel
from nbray.channel import leader as leader_module
from nbray.channel.interrupts import DeferringLock, Interrupts, put_off
from nbray.exceptions import RaySystemError

CHANNEL = os.path.dirname(nbray.channel.__file__)


class Pressed(KeyboardInterrupt):
    """What the handler of these tests raises."""


class Keyboard:
    """The handler that stood there first."""

    def __init__(self) -> None:
        self.presses = 0
        self.raises = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.presses += 1
        if self.raises:
            raise Pressed


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    before = signal.getsignal(signal.SIGINT)
    made = Keyboard()
    signal.signal(signal.SIGINT, made)
    yield made
    made.raises = False
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupts(keyboard: Keyboard) -> Interrupts:
    made = Interrupts()
    made.install()
    return made


@pytest.fixture
def home(keyboard: Keyboard, tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    made.interrupts.install()
    yield made
    made.close()
    made.interrupts.uninstall()


def press() -> None:
    signal.raise_signal(signal.SIGINT)


# -- sections ----------------------------------------------------------------------------------------------------------


def test_outside_of_sections_it_comes_at_once(interrupts: Interrupts, keyboard: Keyboard) -> None:
    with pytest.raises(Pressed):
        press()
    assert not interrupts.pending


def test_inside_of_a_section_it_waits_for_the_end(interrupts: Interrupts, keyboard: Keyboard) -> None:
    lock = DeferringLock(interrupts)
    reached = False
    with pytest.raises(Pressed), lock:
        press()
        assert interrupts.pending
        assert keyboard.presses == 0
        reached = True
    assert reached
    assert not lock._lock.locked()
    assert interrupts._held == 0


def test_pressed_twice_in_one_section_it_comes_once(interrupts: Interrupts, keyboard: Keyboard) -> None:
    with pytest.raises(Pressed), DeferringLock(interrupts):
        press()
        press()
    assert keyboard.presses == 1
    with DeferringLock(interrupts):
        pass


def test_sections_within_sections_end_with_the_outermost(interrupts: Interrupts, keyboard: Keyboard) -> None:
    assert interrupts.enter()
    with DeferringLock(interrupts):
        press()
    assert keyboard.presses == 0
    with pytest.raises(Pressed):
        interrupts.leave()


def test_it_ends_the_poll_in_which_the_main_thread_may_be(interrupts: Interrupts, keyboard: Keyboard) -> None:
    woken: list[int] = []
    interrupts.wake = lambda: woken.append(1)
    with pytest.raises(Pressed), DeferringLock(interrupts):
        press()
        assert woken == [1]


def test_other_threads_are_not_its_business(interrupts: Interrupts, keyboard: Keyboard) -> None:
    lock = DeferringLock(interrupts)
    inside, go = threading.Event(), threading.Event()

    def section() -> int:
        with lock:
            inside.set()
            go.wait(LIMIT)
            return interrupts._held

    thread, answers = in_thread(section)
    assert inside.wait(LIMIT)
    with pytest.raises(Pressed):
        press()
    go.set()
    thread.join()
    assert answers == [0]


# -- other handlers ------------------------------------------------------------------------------------------------------


def test_a_handler_installed_meanwhile_is_respected_and_held_back_too(
    interrupts: Interrupts, keyboard: Keyboard
) -> None:
    """Jupyter installs one for each cell."""
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with DeferringLock(interrupts):
        press()
        assert seen == []
    assert seen == [signal.SIGINT]
    assert keyboard.presses == 0


def test_a_wait_stands_before_a_handler_installed_meanwhile(home: Home, keyboard: Keyboard) -> None:
    other = Keyboard()
    signal.signal(signal.SIGINT, other)
    thread, _ = in_thread(lambda: (home.polls("MainThread"), os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(Pressed):
        home.lead.run_until(lambda: False)
    thread.join()
    assert (other.presses, keyboard.presses) == (1, 0)


def test_a_handler_that_calls_the_one_before_it_ends_in_no_circle(
    interrupts: Interrupts, keyboard: Keyboard
) -> None:
    before: Any = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda number, frame: before(number, frame))
    with DeferringLock(interrupts):
        pass  # ours stands before it again, and it would call ours
    with pytest.raises(KeyboardInterrupt):
        press()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_without_it_the_handler_from_before_is_back(interrupts: Interrupts, keyboard: Keyboard) -> None:
    interrupts.uninstall()
    assert signal.getsignal(signal.SIGINT) is keyboard
    interrupts.install()
    other = Keyboard()
    signal.signal(signal.SIGINT, other)
    interrupts.uninstall()
    assert signal.getsignal(signal.SIGINT) is other


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_no_function_is_left_alone(handler: Any, keyboard: Keyboard) -> None:
    signal.signal(signal.SIGINT, handler)
    interrupts = Interrupts()
    interrupts.install()
    with DeferringLock(interrupts):
        assert signal.getsignal(signal.SIGINT) is handler


def test_other_threads_install_nothing(keyboard: Keyboard) -> None:
    interrupts = Interrupts()
    in_thread(interrupts.install)[0].join()
    assert signal.getsignal(signal.SIGINT) is keyboard


# -- waiting ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_module, "TICK", 3600.0)


def test_a_wait_ends_at_once_and_the_next_works(home: Home, keyboard: Keyboard, patient: None) -> None:
    home.lead.start()
    for _ in range(3):
        home.steps.clear()
        thread, _ = in_thread(lambda: (home.polls("MainThread", 3600.0), os.kill(os.getpid(), signal.SIGINT)))
        with pytest.raises(Pressed):
            home.lead.run_until(lambda: False)
        thread.join()
        assert home.interrupts._held == 0
    done: list[int] = []
    thread, _ = in_thread(lambda: home.tell(lambda: done.append(1)))
    assert home.lead.run_until(lambda: bool(done))
    thread.join()


def test_a_following_main_thread_is_interrupted_too(home: Home, keyboard: Keyboard, patient: None) -> None:
    done: list[int] = []
    leader, answers = in_thread(lambda: home.lead.run_until(lambda: bool(done)))
    home.polls("other", 3600.0)
    killer, _ = in_thread(
        lambda: (home.wait(lambda: bool(home.lead._followers)), os.kill(os.getpid(), signal.SIGINT)), "killer"
    )
    with pytest.raises(Pressed):
        home.lead.run_until(lambda: False)
    killer.join()
    home.tell(lambda: done.append(1))
    leader.join(LIMIT)
    assert answers == [True], "the other thread goes on"


def test_waits_of_other_threads_go_on(home: Home, keyboard: Keyboard, patient: None) -> None:
    done: list[int] = []
    thread, answers = in_thread(lambda: home.lead.run_until(lambda: bool(done)))
    home.polls("other", 3600.0)
    with pytest.raises(Pressed):
        press()
    home.tell(lambda: done.append(1))
    thread.join(LIMIT)
    assert answers == [True]


def test_a_handler_that_raises_nothing_ends_nothing(home: Home, keyboard: Keyboard, patient: None) -> None:
    """A program may take Ctrl-C for a request to finish: what it waits for still comes."""
    keyboard.raises = False
    done: list[int] = []

    def twice() -> None:
        for presses in (1, 2):
            home.polls("MainThread")
            os.kill(os.getpid(), signal.SIGINT)
            home.wait(lambda: keyboard.presses == presses)  # noqa: B023
        home.tell(lambda: done.append(1))

    thread, _ = in_thread(twice)
    assert home.lead.run_until(lambda: bool(done))
    thread.join()


def test_a_handler_that_raises_nothing_does_not_move_the_deadline(home: Home, keyboard: Keyboard) -> None:
    keyboard.raises = False
    home.held_back.append(press)
    assert not home.lead.run_until(lambda: False, time.monotonic() + 0.05)
    assert keyboard.presses == 1


# -- code that runs in the middle of a section -----------------------------------------------------------------------------


def test_who_comes_back_to_the_lock_in_the_same_thread_gets_an_error(
    interrupts: Interrupts, keyboard: Keyboard
) -> None:
    lock = DeferringLock(interrupts)
    with lock:
        assert lock.held_here
        with pytest.raises(RaySystemError, match="in the middle"), lock:
            pytest.fail("entered twice")
        assert lock._lock.locked()
        thread, answers = in_thread(lambda: lock.held_here)
        thread.join()
        assert answers == [False]
    assert not lock.held_here
    assert not lock._lock.locked()
    assert interrupts._held == 0


# -- at every point ---------------------------------------------------------------------------------------------------------


def pressed_at(point: int, run: Callable[[], Any]) -> bool:
    """Run with Ctrl-C pressed before the bytecode number ``point`` in ``nbray.channel``; False if there are not so many."""
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.startswith(CHANNEL):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == point:
                press()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return seen >= point


def at_every_point(run: Callable[[], Any], check: Callable[[bool], None], limit: int = 3000) -> int:
    """``check(whether it was interrupted)`` after each; answers the number of points."""
    for point in range(1, limit):
        try:
            reached, interrupted = pressed_at(point, run), False
        except Pressed:
            reached, interrupted = True, True
        check(interrupted)
        if not reached:
            return point - 1
    pytest.fail("no end of it")


def test_a_section_is_whole_or_not_begun_wherever_it_is_pressed(
    interrupts: Interrupts, keyboard: Keyboard
) -> None:
    lock = DeferringLock(interrupts)
    begun: list[int] = []
    finished: list[int] = []

    def run() -> None:
        with lock:
            begun.append(1)
            finished.append(1)

    def check(interrupted: bool) -> None:
        assert begun == finished
        assert not lock._lock.locked()
        assert interrupts._held == 0
        assert not interrupts.pending

    points = at_every_point(run, check)
    assert points > 30
    assert keyboard.presses == points, "none was lost, none came twice"


def test_a_wait_leaves_nothing_behind_wherever_it_is_pressed(home: Home, keyboard: Keyboard) -> None:
    lead = home.lead
    rounds = 0

    def run() -> None:
        nonlocal rounds
        rounds = 0
        home.reactor.wake()

        def done() -> bool:
            nonlocal rounds
            rounds += 1
            return rounds == 3

        lead.run_until(done, time.monotonic() + LIMIT)

    def check(interrupted: bool) -> None:
        assert not lead._leading.locked()
        assert lead._leader == 0
        assert lead._followers == []
        assert home.interrupts._held == 0
        assert not home.interrupts.pending

    points = at_every_point(run, check)
    assert points > 100
    assert keyboard.presses == points


def test_one_that_is_put_off_is_raised_at_the_end_of_the_block():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with put_off():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            steps.append("end")
        steps.append("behind")
    assert steps == ["end"]
    with put_off():
        pass


def test_ctrl_c_while_init_imports_leaves_modules_whole():
    program = """
        import os, signal, sys

        class Press:
            pressed = False

            def find_spec(self, name, path=None, target=None):
                if name == "asyncio.events" and not Press.pressed:
                    Press.pressed = True
                    os.kill(os.getpid(), signal.SIGINT)

        import nbray as ray
        sys.meta_path.insert(0, Press())
        try:
            ray.init(num_cpus=1)
        except KeyboardInterrupt:
            print("interrupted")
        with ray.init(num_cpus=1):
            print(ray.get(ray.put(1)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n1\n", "")
