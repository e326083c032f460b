"""Robust statistics on short, noisy series: each resists a minority of wild points."""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal law."""

BLOCKS = 200
"""Values of which a trend is computed: longer series are reduced to block medians, as all pairs are compared."""


def median_of_three(values: Array) -> Array:
    """Running median of three, which removes every lone outlier and keeps every trend.

    The ends follow Tukey's end-point rule (Exploratory Data Analysis, 1977, ch. 7): the median of the end itself,
    its smoothed neighbour, and the line through the two smoothed neighbours.
    """
    if len(values) < 3:
        return values.copy()
    smooth = values.copy()
    smooth[1:-1] = np.median([values[:-2], values[1:-1], values[2:]], axis=0)
    smooth[0] = np.median([values[0], smooth[1], 3 * smooth[1] - 2 * smooth[2]])
    smooth[-1] = np.median([values[-1], smooth[-2], 3 * smooth[-2] - 2 * smooth[-3]])
    return smooth


def running_median(values: Array, width: int) -> Array:
    """Centred running median over `width` points (odd); the window shrinks at the ends.

    A sorted window moves along, so that a log of 100,000 rows takes a second and no memory to speak of.
    """
    half, numbers = width // 2, values.tolist()
    window = sorted(numbers[:half])
    medians = np.empty_like(values)
    for i in range(len(numbers)):
        if i + half < len(numbers):
            insort(window, numbers[i + half])
        if i > half:
            del window[bisect_left(window, numbers[i - half - 1])]
        low, high = window[(len(window) - 1) // 2], window[len(window) // 2]
        medians[i] = low + (high - low) / 2
    return medians


def noise(values: Array) -> float:
    """Standard deviation of the noise around any smooth trend, from second differences.

    The difference filter (1, -2, 1)/√6 of Gasser, Sroka & Jennen-Steinmetz (Biometrika 73, 1986), taken with a
    median in place of the mean so that spikes do not count. Zero for fewer than three points.
    """
    if len(values) < 3:
        return 0.0
    return float(MAD_TO_SIGMA * np.median(np.abs(np.diff(values, n=2))) / np.sqrt(6))


def extrapolate(steps: Array, values: Array, step: float) -> float:
    """The Theil-Sen line (Sen, JASA 63, 1968) through the points, read at `step`; at least two distinct steps."""
    i, j = np.triu_indices(len(steps), k=1)
    slope = np.median((values[j] - values[i]) / (steps[j] - steps[i]))
    return float(np.median(values - slope * steps) + slope * step)


def expected_minimum(count: int) -> float:
    """How far below its level the lowest of `count` normal values lies, in standard deviations.

    The leading term √(2 ln n) of extreme-value theory (Fisher & Tippett, 1928), an upper bound.
    """
    return float(np.sqrt(2 * np.log(max(count, 1))))


def trend(values: Array) -> float:
    """Mann-Kendall statistic (Mann, Econometrica 13, 1945) in standard deviations: positive for a rising series."""
    if len(values) > BLOCKS:
        values = np.array([np.median(block) for block in np.array_split(values, BLOCKS)])
    count = len(values)
    if count < 3:
        return 0.0
    signs = np.sign(values[None, :] - values[:, None])
    total = float(np.triu(signs, k=1).sum())
    return total / float(np.sqrt(count * (count - 1) * (2 * count + 5) / 18))
