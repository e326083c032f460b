"""Every error that a user can cause, in one tree.

Each class is also a child of the built-in error that a caller of the Python API expects. The message is one line: the
fault, its place, and the remedy. The command line prints that line and exits with status 2.
"""

import re

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys, that turn the direction of text, or that no encoding holds."""

_LONGEST = 2000
"""Characters of a message; the text after them is left out."""


class DycktuneError(Exception):
    """The user's input cannot be used; the message says why and what to do."""

    def __str__(self) -> str:
        """One printable line, whatever text of a file or of another library is in the message."""
        line = " ".join(super().__str__()[: 2 * _LONGEST].splitlines())
        shown = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), line)
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


class ItemError(DycktuneError, ValueError):
    """A question that is none of its task's, such as brackets without a completion, or too long for a model."""


class CorpusError(DycktuneError, ValueError):
    """A corpus that does not exist, such as more items than a split holds."""


class DataError(DycktuneError, ValueError):
    """A data file or row that cannot be read or trained on."""


class ConfigError(DycktuneError, ValueError):
    """A recipe or option with an unknown field or an impossible value."""


class ModelError(DycktuneError, ValueError):
    """A model reference, tokenizer or chat template that cannot be used."""


class RunError(DycktuneError, ValueError):
    """A run folder or training log that cannot be used."""


class EndpointError(DycktuneError, ConnectionError):
    """A server of a model that cannot be reached or used."""
