"""Sizes, durations and counts in words."""

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_PERIODS = ((86400, "days"), (3600, "hours"), (60, "minutes"))


def size_in_words(size: float) -> str:
    """Bytes in the unit that suits them."""
    unit, name = next(((u, n) for u, n in _UNITS if size >= u), (1, "bytes"))
    return f"{size / unit:.3g} {name}"


def duration_in_words(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    unit, name = next(((u, n) for u, n in _PERIODS if seconds >= 2 * u), (1, "seconds"))
    return f"{seconds / unit:.2g} {name}" if seconds < 99 * unit else f"{seconds / unit:.0f} {name}"


def counted(count: int, noun: str) -> str:
    """A count and its noun, in the plural with an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
