"""Text from models and files, safe to print."""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, and those that change the direction of text."""


def visible(text: str) -> str:
    """`text` with each control character as a printable escape: a terminal would obey it."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
