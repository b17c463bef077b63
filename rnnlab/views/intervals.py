"""A mean over seeds with its confidence interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% confidence interval (Student t), in the unit of what was measured."""

    mean: float  # the sample mean
    low: float | None  # where the interval begins; None with fewer than two values
    high: float | None  # where it ends
    count: int  # number of values [seeds]

    @property
    def half_width(self) -> float | None:
        """What stands behind the ±; None with fewer than two values."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of at least one finite value, with its Student t interval from two values on."""
    assert len(values) > 0, "a mean needs a value"
    sample = np.asarray(values, dtype=np.float64)
    assert np.isfinite(sample).all(), "a mean over values that are not finite means nothing"
    mean, n = float(sample.mean()), len(sample)
    if n < 2:
        return Interval(mean, None, None, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * sample.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)
