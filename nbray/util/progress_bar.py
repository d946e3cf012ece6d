"""``nbray.util.tqdm``: tqdm's bars for code that runs somewhere else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Generic, Literal, TypeVar

from nbray import _reports

T = TypeVar("T")

#: Arguments of tqdm and of Ray's tqdm about how a bar looks and where it is written: here the driver decides.
_LOOKS = frozenset(
    (
        "ascii", "bar_format", "colour", "delay", "dynamic_ncols", "file", "flush_interval_s", "gui", "lock_args",
        "maxinterval", "miniters", "ncols", "nrows", "position", "smoothing", "unit_divisor", "unit_scale", "write_bytes",
    )
)  # fmt: skip

#: Seconds between two looks at the clock in a loop.
_LOOK = 0.01

_open_here = threading.local()


class tqdm(Generic[T]):  # noqa: N801 - its name everywhere
    """A progress bar of a task, an actor or any other code, with tqdm's methods: it shows in the driver, under the cell that
    submitted the work or at the bottom of the terminal, several at once.

    Reports go to the driver ten times a second at most. A bar that is not closed ends with its task, also if that crashes.
    In the driver itself it shows there. How it looks is the driver's business: tqdm's other arguments have no effect.

    Args:
        iterable: what to iterate over; None: call ``update``.
        desc: what stands before the bar (default: the function's name).
        total: how many there will be (default: ``len(iterable)``, if it has one).
        leave: its last line stays when it is done.
        mininterval: seconds between two reports.
        disable: show nothing.
        unit: of what is counted.
        initial: where the count begins.
        postfix: a dict of what else to show.

    Raises:
        TypeError: an argument that tqdm does not have, either.

    Example:
        >>> @nbray.remote
        ... def train(epochs):
        ...     for epoch in nbray.util.tqdm(range(epochs), desc="epochs"):
        ...         step(epoch)
    """

    def __init__(
        self,
        iterable: Iterable[T] | None = None,
        desc: str | None = None,
        total: float | None = None,
        leave: bool | None = True,
        *looks_too: Any,
        mininterval: float = 0.1,
        disable: bool | None = False,
        unit: str = "it",
        initial: float = 0,
        postfix: Any = None,
        **looks: Any,
    ) -> None:
        for name in looks:
            if name not in _LOOKS:
                near = get_close_matches(
                    name, [*_LOOKS, "desc", "total", "unit", "leave", "initial", "disable"], 1
                )
                raise TypeError(
                    f"tqdm() has no argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                )
        if total is None and iterable is not None:
            try:
                total = len(iterable)  # type: ignore[arg-type]
            except (TypeError, AttributeError):
                pass
        self.iterable = iterable
        self.desc = desc or ""
        self.total = None if total == float("inf") else total
        self.leave = True if leave is None else leave
        self.mininterval = max(float(mininterval), 0.02)
        self.disable = bool(disable)
        self.unit = unit
        self.initial = initial
        self.n: float = initial
        self.postfix = ""
        self.start_t = time.monotonic()
        self._id = os.urandom(8)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._sent = 0.0
        self._told: float = initial
        self._closed = self.disable
        if postfix:
            self.set_postfix(postfix, refresh=False)
        if not self.disable:
            self._origin, self._task, self._process, self._name = _reports.identity()
            stack: list[tqdm[Any]] = _open_here.__dict__.setdefault("bars", [])
            self._depth = len(stack)
            stack.append(self)
            self._stack = stack
            self._sent = time.monotonic()
            self._report("running")
            _reports.watch(self)

    # -- counting ----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("this bar has nothing to iterate over: give tqdm() an iterable, or call update()")
        # Looking at the clock costs more than many an item: so many at a time that it is a hundred looks a second or so.
        count, enough, looked = 0, 1, time.monotonic()
        try:
            for item in self.iterable:
                yield item
                count += 1
                self.n += 1  # at once: the next item may take long, and then this is asked for
                if count >= enough:
                    self.update(0)
                    now = time.monotonic()
                    enough = min(2 * enough, max(1, int(count * _LOOK / max(now - looked, 1e-6))))
                    count, looked = 0, now
        finally:
            self.close()

    def update(self, n: float | None = 1) -> bool | None:
        """Count ``n`` more (less, if it is negative); True if that was reported."""
        if self._closed:
            return None
        with self._lock:
            self.n += n or 0
            if time.monotonic() - self._sent < self.mininterval:
                return None
            self._sent = time.monotonic()
        self._report("running")
        return True

    def reset(self, total: float | None = None) -> None:
        """Begin anew, with another total if one is given."""
        with self._lock:
            self.n = self.initial
            self.start_t = time.monotonic()
            if total is not None:
                self.total = total
        self.refresh()

    def close(self) -> None:
        """The bar is over. Idempotent."""
        self._close("done" if self.total is None or self.n >= self.total else "ended")

    def _close(self, how: Literal["done", "ended", "failed"]) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self in self._stack:
            self._stack.remove(self)
        self._report(how)

    # -- what it says ------------------------------------------------------------------------------------------------

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """What stands before the bar."""
        self.desc = desc or ""
        self._say(refresh)

    set_description_str = set_description

    def set_postfix(self, ordered_dict: Any = None, refresh: bool | None = True, **kwargs: Any) -> None:
        """Show values beside the description, such as a loss: a dict, and names with values."""
        values = {**dict(ordered_dict or {}), **kwargs}
        self.set_postfix_str(
            ", ".join(f"{name}={_short(value)}" for name, value in values.items()), refresh=refresh
        )

    def set_postfix_str(self, s: str = "", refresh: bool | None = True) -> None:
        """Show a text beside the description."""
        self.postfix = str(s)
        self._say(refresh)

    def _say(self, refresh: bool | None) -> None:
        if refresh and time.monotonic() - self._sent >= self.mininterval:
            self.refresh()

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        """Report now."""
        if not self._closed:
            self._sent = time.monotonic()
            self._report("running", now=True)

    def display(self, *args: Any, **kwargs: Any) -> None:
        """Report now."""
        self.refresh()

    def clear(self, *args: Any, **kwargs: Any) -> None:
        """No effect: in the driver, bars make room for what is printed by themselves."""

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:  # noqa: ARG003 - tqdm's
        """Print, without getting in the way of bars."""
        print(s, file=sys.stdout if file is None else file, end=end)

    @property
    def format_dict(self) -> dict[str, Any]:
        """The bar's figures, as tqdm names them."""
        elapsed = time.monotonic() - self.start_t
        return {
            "n": self.n,
            "total": self.total,
            "elapsed": elapsed,
            "rate": (self.n - self.initial) / elapsed if elapsed and self.n else None,
            "unit": self.unit,
            "prefix": self.desc,
            "postfix": self.postfix,
            "initial": self.initial,
        }

    def _report(self, state: str, now: bool = False) -> None:
        if os.getpid() == self._pid:  # and no fork of user code
            _reports.report(self._state(state), now)

    def tell_news(self, put: Callable[[tuple[Any, ...]], None]) -> None:
        """Give ``put`` what was counted and not reported; not once the bar is over, whose last report would be overtaken."""
        with self._lock:
            if not self._closed and self.n != self._told:
                put(self._state("running"))

    def _state(self, state: str) -> tuple[Any, ...]:
        self._told = self.n
        where = f" (pid {self._pid})" if self._process else ""
        label = ": ".join(filter(None, (self._name, self.desc))) + where
        if self.postfix:
            label += f" {self.postfix}"
        return (
            self._id, self._origin, self._task, self._process, label, float(self.n),
            None if self.total is None else float(self.total), self.unit, self._depth,
            time.monotonic() - self.start_t, self.leave, state,
        )  # fmt: skip

    # -- the rest ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> tqdm[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._close("failed")

    def __len__(self) -> int:
        if self.total is None:
            raise TypeError("the bar has no total")
        return int(self.total)

    def __bool__(self) -> bool:
        return True

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # half made, or the interpreter ends
            pass

    def __repr__(self) -> str:
        total = "?" if self.total is None else f"{self.total:g}"
        return f"<tqdm {self.desc + ' ' if self.desc else ''}{self.n:g}/{total}>"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
