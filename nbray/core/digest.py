"""What of all that is printed goes into the feed: all of it, unless somebody prints much.

Views read a feed that keeps so many events; a loop that prints would push everything else out of it. The lines themselves take
another way and are all there.
"""

from __future__ import annotations

#: Characters of one event: what is longer keeps its two ends.
LONGEST = 8_192
#: Events that may come at once, and those that may come a second.
BURST, RATE = 500.0, 50.0


class Digest:
    def __init__(self) -> None:
        self._credit = BURST
        self._then = 0.0
        self._left_out = 0

    def take(self, text: str, now: float) -> str | None:
        """What to say of whole lines that were printed; None: nothing.

        Args:
            now: seconds of any clock that only goes forward.
        """
        self._credit = min(self._credit + (now - self._then) * RATE, BURST)
        self._then = now
        if self._credit < 1.0:
            self._left_out += text.count("\n")
            return None
        self._credit -= 1.0
        if len(text) > LONGEST:
            half = LONGEST // 2
            middle = text[half:-half]
            text = f"{text[:half]}\n... {len(middle)} characters left out ...\n{text[-half:]}"
        if self._left_out:
            text = f"... {self._left_out} lines of several left out ...\n{text}"
            self._left_out = 0
        return text
