"""Every error that a user can cause, in one tree.

Each class is also a child of the built-in error that a caller of the Python API expects. The message is one line: the
fault, its place, and the remedy. The command line prints that line and exits with status 2.
"""


class DycktuneError(Exception):
    """The user's input cannot be used; the message says why and what to do."""


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


class StoreError(DycktuneError, OSError):
    """An object store that cannot be reached or used."""
