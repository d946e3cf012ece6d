"""Whether an answer is so near that sleeping until it comes would take longer than the answer.

To put a thread to sleep and to wake it again takes the system 10 to 30 µs, a virtual CPU that goes idle meanwhile 50 µs and more:
as long as a short call. So who has asked looks for the answer again and again for a moment (``LOOK``) before it sleeps, like the
adaptive locks of operating systems and the halt polling of hypervisors, but only while nearly all answers have been coming as
quickly as that: a look in vain costs four times what one that finds the answer spares. So it sleeps between the results of many
calls of a millisecond, some of which come soon after one another. Who waits without having asked, as for the results of calls
sent long ago, sleeps too: those who work for it need the CPU.
"""

from __future__ import annotations

#: Seconds that may go into looking. Calls one by one: 6,200/s without, 8,700/s with 150 to 250 µs (two virtual CPUs).
LOOK = 200e-6
#: A sleep counts as short up to this: it contains the wake-up that looking would have spared.
_SHORT = 2 * LOOK
#: Of the last eight waits, how many must have been short for another look.
_NEARLY_ALL = 7


class Promptness:
    """
    Attributes:
        asked: something was sent since the last wait. Set by whoever sends.
    """

    __slots__ = ("_lately", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._lately = 0  # the last eight waits, a bit each: it was short

    @property
    def expected(self) -> bool:
        """Whether to look rather than to sleep."""
        return self.asked and self._lately.bit_count() >= _NEARLY_ALL

    def waited(self, seconds: float, looked: bool) -> None:
        """A wait took so long, with a look at first or without."""
        if self.asked:
            self.asked = False
            self._lately = (self._lately << 1 | (seconds < (LOOK if looked else _SHORT))) & 0xFF
