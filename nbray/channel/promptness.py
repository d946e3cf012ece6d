"""Whether an answer is so near that sleeping until it comes would take longer than the answer.

To put a thread to sleep and to wake it again takes the system 10 to 30 µs, a virtual CPU that goes idle meanwhile 50 µs and more:
as long as a short call. So who has asked looks for the answer again and again for a moment (``LOOK``) before it sleeps, like the
adaptive locks of operating systems and the halt polling of hypervisors, but only while answers have been coming as quickly as
that: a single one that takes longer ends it. Who waits without having asked, as for the results of calls sent long ago, sleeps:
those who work for it need the CPU.
"""

from __future__ import annotations

#: Seconds that may go into looking. Calls one by one: 6,200/s without, 8,700/s with 150 to 250 µs (two virtual CPUs).
LOOK = 200e-6
#: A sleep counts as short up to this: it contains the wake-up that looking would have spared.
_SHORT = 2 * LOOK
#: Short waits in a row before the first look.
_ROW = 2


class Promptness:
    """
    Attributes:
        asked: something was sent since the last wait. Set by whoever sends.
    """

    __slots__ = ("_row", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._row = 0

    @property
    def expected(self) -> bool:
        """Whether to look rather than to sleep."""
        return self.asked and self._row >= _ROW

    def waited(self, seconds: float) -> None:
        """A wait, with or without a look, took so long."""
        if self.asked:
            self.asked = False
            self._row = self._row + 1 if seconds < _SHORT else 0
