"""Who polls: one thread at a time, the one that waits, if there is one.

A thread that waits for a result polls the sockets itself, so an answer wakes the very thread that wants it. When nobody waits, a
background thread must poll, but it must not take over between two calls of a quick loop, which would cost two thread switches
and a fight for the GIL a call. So it *parks*: every few milliseconds it looks whether a foreground thread has been there since,
and leads only if not. A foreground leader that has seen no traffic for a while says so (``_quiet``), and the parked thread then
sleeps without time-out, so an idle process uses no CPU.

1. foreground leads, traffic           -> background looks every PARK seconds
2. foreground leads, silent for QUIET  -> background sleeps until the foreground sees traffic or leaves
3. nobody led during one PARK          -> background leads until a foreground thread wants to
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbray.channel.interrupts import Interrupts
from nbray.channel.reactor import Reactor

if TYPE_CHECKING:
    import asyncio  # 40 ms that most processes never need

logger = logging.getLogger("nbray.channel")

PARK = 0.004
QUIET = 0.02
#: How often a background leader without traffic does its housekeeping, seconds.
TICK = 1.0
#: Seconds after which the background thread looks whether an asyncio loop still serves.
_STUCK = 0.25


class Leadership:
    """
    Args:
        reactor: what is polled.
        interrupts: Ctrl-C ends ``run_until`` of the main thread, between two steps.
        flush: called before each poll and by the parked thread: sends what was held back to be batched.
        tick: called about every ``TICK`` seconds.
    """

    def __init__(
        self, reactor: Reactor, interrupts: Interrupts, flush: Callable[[], None], tick: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._interrupts = interrupts
        self._flush = flush
        self._tick = tick
        self._leading = threading.Lock()
        self._leader = 0  # the thread that has it
        self._patient = False  # and polls for long, without looking at what was held back meanwhile
        self._background_leads = False
        self._wanted = 0
        self._turns = 0
        self._quiet = False
        self._asleep = False
        self._alarm = threading.Semaphore(0)
        self._followers: list[threading.Lock] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._ticked = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_served: Callable[[], None] = lambda: None

    # -- foreground ------------------------------------------------------------------------------------------------

    def run_until(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Serve the sockets until ``done()`` is true; False if ``deadline`` (``time.monotonic``) or ``close`` came first.

        ``done`` is called often, without locks, by this thread only. A handler of Ctrl-C that raises nothing ends nothing.
        """
        if done():
            return True
        while True:
            main = self._interrupts.enter()
            try:
                if self._wait(done, deadline, main):
                    return True
            finally:
                if main:
                    self._interrupts.leave()
            if self._closing or (main and self._interrupts.pending):
                return False
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _wait(self, done: Callable[[], bool], deadline: float | None, main: bool) -> bool:
        if self._leader == threading.get_ident():
            # Called by what this thread's own poll has called: a callback of a future that waits for another.
            return self._lead(done, deadline, main)
        if deadline is not None and deadline <= time.monotonic():
            self._flush()
            if self._leading.acquire(False):
                self._lead_once()
            return done()
        while not self._closing and not (main and self._interrupts.pending):
            if self._leading.acquire(False) or self._depose():
                self._leader = threading.get_ident()
                try:
                    if self._lead(done, deadline, main):
                        return True
                finally:
                    self._step_down()
            else:
                self._follow(deadline)
            if done():
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return done()

    def take_turn(self) -> None:
        """Serve the sockets once, without waiting, if nobody else does.

        A thread that submits many calls does so now and then: the background thread sees that and stays parked, where the two
        would fight for the GIL and the owner's lock at each call.
        """
        if self._loop is None and self._leading.acquire(False):
            main = self._interrupts.enter()
            try:
                self._lead_once()
            finally:
                if main:
                    self._interrupts.leave()

    def _lead_once(self) -> None:
        try:
            self._reactor.step(0)
        finally:
            self._step_down()

    def _depose(self) -> bool:
        """Take over from the background thread; False if another foreground thread leads."""
        if not self._background_leads:
            return False
        self._wanted += 1
        try:
            self._reactor.wake()
            return self._leading.acquire(timeout=0.1)
        finally:
            self._wanted -= 1

    def _lead(self, done: Callable[[], bool], deadline: float | None, main: bool) -> bool:
        step, flush = self._reactor.step, self._flush
        patience = QUIET
        while True:
            self._patient = patience == TICK  # first: what is held back after the flush then wakes the poll
            flush()
            if done():
                return True
            if self._closing or (main and self._interrupts.pending):
                return False
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                wait = min(patience, left)
            else:
                wait = patience
            if step(wait, eager=True):
                if self._quiet:
                    self._noise()
                patience = QUIET
                self._tell_loop()
            else:
                self._quiet = True
                patience = TICK
                self._maybe_tick()
            if self._followers:
                self._call_followers()

    def _noise(self) -> None:
        self._quiet = False
        if self._asleep:
            self._asleep = False
            self._alarm.release()

    def _step_down(self) -> None:
        self._turns += 1
        self._patient = False
        self._noise()
        self._leader = 0
        self._leading.release()
        if self._followers:
            self._call_followers()

    def _follow(self, deadline: float | None) -> None:
        self._flush()
        gate = threading.Lock()
        gate.acquire()
        self._followers.append(gate)
        # The leader may have left between our try and the append: whoever finds the lock free tries again.
        if self._leading.locked() and not self._background_leads:
            left = 0.05 if deadline is None else min(0.05, max(deadline - time.monotonic(), 0.0))
            gate.acquire(timeout=left)
        try:
            self._followers.remove(gate)
        except ValueError:
            pass

    def _call_followers(self) -> None:
        while self._followers:
            try:
                gate = self._followers.pop()
            except IndexError:
                return
            gate.release()

    # -- an asyncio loop in the foreground --------------------------------------------------------------------------

    def serve_from(self, loop: asyncio.AbstractEventLoop, served: Callable[[], None]) -> None:
        """From here on ``loop``, running on this thread, polls; ``served`` is called on it whenever something came."""

        def ready() -> None:
            if self._leading.acquire(False):
                try:
                    self._reactor.step(0)
                finally:
                    self._step_down()
            self._flush()
            served()

        self._loop = loop
        self._on_served = served
        self._noise()
        self._reactor.wake()  # the background thread may lead: it makes way
        loop.add_reader(self._reactor.fileno(), ready)

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._reactor.fileno())
        self._loop = None

    def nudge(self) -> None:
        """Something was held back to be batched: a loop flushes it after what runs now, others flush before they poll."""
        if self._loop is not None:
            self._tell_loop()
        elif self._patient:
            self._patient = False
            self._reactor.wake()

    def _tell_loop(self) -> None:
        """Another thread than the loop's has served, or something was held back."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._served_by_others)
            except RuntimeError:
                pass  # it was closed meanwhile

    def _served_by_others(self) -> None:
        self._flush()
        if self._loop is not None:
            self._on_served()

    def _watch_loop(self, seen: int) -> int:
        """The background thread beside a loop: serves only when user code has kept the loop from it for long."""
        self._alarm.acquire(timeout=_STUCK)
        self._maybe_tick()
        if self._turns == seen and not self._closing and self._leading.acquire(False):
            self._leader = threading.get_ident()
            try:
                served = 0
                while self._reactor.step(0) and not self._closing:
                    served += 1
                    self._flush()
            finally:
                self._leader = 0
                self._leading.release()
            if served:
                self._tell_loop()
        return self._turns

    # -- background ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the background thread."""
        self._thread = threading.Thread(target=self._background, name="nbray-io", daemon=True)
        self._thread.start()

    def ensure_background(self) -> None:
        """Start the background thread if it does not run yet."""
        if self._thread is None and not self._closing:
            self.start()

    def _background(self) -> None:
        while not self._closing:
            try:
                self._serve()
            except Exception:  # a callback's defect must not leave the process deaf
                logger.exception("the background thread goes on after an error")
                time.sleep(PARK)

    def _serve(self) -> None:
        seen = -1
        while not self._closing:
            if self._loop is not None:
                seen = self._watch_loop(seen)
                continue
            if self._leading.locked() and self._quiet:
                # Set the flag first, then look again: a leader that hears traffic between the two releases the alarm.
                self._asleep = True
                if self._quiet:
                    self._alarm.acquire()
                self._asleep = False
                continue
            time.sleep(PARK)
            if self._closing:
                return
            self._flush()
            self._maybe_tick()
            if self._turns != seen:
                seen = self._turns
                continue
            if not self._leading.acquire(False):
                continue
            self._background_leads = True
            self._leader = threading.get_ident()
            patience = PARK
            try:
                while not self._wanted and not self._closing and self._loop is None:
                    self._patient = patience == TICK
                    self._flush()
                    patience = PARK if self._reactor.step(patience) else TICK
                    self._maybe_tick()
                    if self._followers:
                        self._call_followers()
            finally:
                self._patient = self._background_leads = False
                self._leader = 0
                self._leading.release()
            self._tell_loop()
            seen = self._turns

    def _maybe_tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked >= TICK:
            self._ticked = now
            self._tick()

    def close(self) -> None:
        """End the background thread and every wait."""
        self._closing = True
        self._alarm.release()
        self._reactor.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)
        # The sockets are closed next: nobody may be polling them.
        if self._leader != threading.get_ident() and self._leading.acquire(timeout=2.0):
            self._leading.release()
        self._call_followers()
