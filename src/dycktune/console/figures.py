"""Numbers and times as a person reads them."""

import math


def figure(value: float) -> str:
    """A number of any scale in three significant digits, such as 12.3, 0.0477 or 7.95e-07."""
    size = abs(value)
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if not 1e-3 <= size < 9999.5:
        return f"{value:.2e}"
    return f"{value:.0f}" if size >= 99.95 else f"{value:#.3g}"


def duration(seconds: float) -> str:
    """Minutes and seconds, 3:02, or with hours, 1:02:33."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def speed(per_second: float, unit: str) -> str:
    """Units of work in a second, such as 2.3 steps/s; the seconds for each where they are slower than that."""
    if per_second >= 1:
        return f"{figure(per_second)} {unit}/s"
    return f"{figure(1 / per_second)} s each"
