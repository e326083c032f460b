"""Every error a user can cause, in one tree.

Each class is also a child of the built-in a caller of the Python API would expect. The message is one line:
what is wrong, where, and what to do. The command line prints that line and exits with status 2.
"""


class DycktuneError(Exception):
    """What the user gave cannot be used; the message says why and what to do."""


class SequenceError(DycktuneError, ValueError):
    """A bracket sequence that is not a completable prefix."""


class CorpusError(DycktuneError, ValueError):
    """A corpus specification that cannot be met, such as more problems than exist."""


class DataError(DycktuneError, ValueError):
    """A data file or row that cannot be read or trained on."""


class ConfigError(DycktuneError, ValueError):
    """A recipe or option with an unknown field or an impossible value."""


class ModelError(DycktuneError, ValueError):
    """A model reference, tokenizer or chat template that cannot be used."""


class RunError(DycktuneError, ValueError):
    """A run folder or training log that cannot be used."""
