"""What is said about samples. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Summary(NamedTuple):
    """The middle of some samples and how far they lie apart."""

    median: float
    low: float
    high: float
    samples: int

    @property
    def spread(self) -> float:
        """From the lowest to the highest, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def summarize(samples: Sequence[float]) -> Summary:
    """Median, lowest and highest.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    return Summary(statistics.median(samples), min(samples), max(samples), len(samples))


def times_as_fast(ours: float, theirs: float, *, higher_is_better: bool) -> float:
    """How many times as fast we are: over 1 where ours is the better figure, whichever way the unit counts."""
    better, worse = (ours, theirs) if higher_is_better else (theirs, ours)
    return better / worse if worse else math.inf


def geometric_mean(ratios: Iterable[float]) -> float | None:
    """The geometric mean of positive ratios, None of none."""
    logs = [math.log(ratio) for ratio in ratios if ratio > 0 and math.isfinite(ratio)]
    return math.exp(sum(logs) / len(logs)) if logs else None
