"""Every error that a user can cause, in one tree.

Each class is also a child of the built-in error that a caller of the Python API expects. The message is one line: the
fault, its place, and the remedy. The command line prints that line and exits with status 2.
"""

import re
from typing import Literal

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


FaultName = Literal[
    "nothing_to_learn",
    "labels_shifted",
    "padding_learned",
    "doubled_bos",
    "another_tokenizer",
    "another_chat_template",
    "prompt_not_masked",
    "reply_partly_masked",
    "completion_cut_off",
    "end_of_turn_not_learned",
    "weight_on_wrong_span",
    "not_in_optimizer",
    "trained_but_not_saved",
    "merge_changes_nothing",
    "dropout_in_evaluation",
    "adapter_not_trained",
    "ranks_share_data",
    "ranks_train_apart",
    "loss_not_normalized",
    "weights_unchanged",
    "learning_rate_frozen",
    "gradients_not_cleared",
]
"""Names of the faults that `training.preflight` finds in a run that would otherwise go on without an error."""


class SilentFaultError(DycktuneError, RuntimeError):
    """A fault that would ruin a training without an error."""

    def __init__(self, name: FaultName, evidence: str, remedy: str):
        super().__init__(name, evidence, remedy)
        self.name: FaultName = name
        self.evidence = evidence
        """What was found, with figures."""
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}; {self.remedy}"


class StoreError(DycktuneError, OSError):
    """An object store that cannot be reached or used."""
