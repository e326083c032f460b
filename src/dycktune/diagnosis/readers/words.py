"""What the name of a column says: on which data it was measured, and whether it is the loss of that data."""

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

TRAIN_WORDS = frozenset({"train", "training", "trn"})
EVAL_WORDS = ("eval", "evaluation", "val", "valid", "vali", "validation", "dev", "heldout", "test", "testing")
"""Words for data that is not trained on, the one that names the main set first."""

LIKELIHOOD = {"lm", "nll", "ce", "token", "cross", "entropy", "crossentropy", "total"}
"""Words beside `loss` that still name the loss that is trained."""

NOT_A_LOSS = {
    *("best", "min", "max", "lowest", "patience", "delta"),
    *("scale", "scaler", "scaling", "weight", "coef", "ratio"),
}
LOSSES = {"loss", "losses", "nll", "crossentropy"}
MEANS = {"epoch", "avg", "average", "mean"}
PASSING = {"step", "batch", "value", "current", "running"}


class Rank(IntEnum):
    """How sure it is that a column is the loss of its data, the surest first."""

    PLAIN = 0
    """`loss`"""

    TRAIN = 1
    """`train_loss`"""

    BATCH = 2
    """`train_loss_step`: of the last batch alone"""

    MEAN = 3
    """`train_loss_epoch`: of a whole epoch, so there are few"""

    LIKELIHOOD = 4
    """`lm_loss`"""

    NAMED = 5
    """`aux_loss`: perhaps a part of the loss, perhaps that of a set of this name"""


class Meaning(NamedTuple):
    """What a column's name says."""

    split: str
    """`train`, one of `EVAL_WORDS`, or empty."""

    rest: str
    """The name without the split."""

    rank: Rank | None
    """None for what is no loss."""

    @property
    def is_loss(self) -> bool:
        """Whether this is, or may be, the loss of its split."""
        return self.rank is not None

    @property
    def is_own_loss(self) -> bool:
        """Whether this is the loss of its split, whatever other losses there are."""
        return self.rank is not None and self.rank < Rank.NAMED


@lru_cache(maxsize=4096)
def meaning(name: str) -> Meaning:
    """Split a column's name into the data it was measured on and the quantity."""
    group, _, rest = ("eval", "", name[5:]) if name.startswith("eval_") else name.partition("/")
    if rest and group in ("eval", "train"):
        rank = _rank(words(rest), group)
        return Meaning(group, rest if rank is None else rest.replace("/", "_"), rank)
    parts = words(name)
    evals = [word for word in parts if word in EVAL_WORDS and "std" not in parts]
    split = evals[0] if evals else "train" if TRAIN_WORDS & set(parts) else ""
    kept = [word for word in parts if word not in {split, *TRAIN_WORDS}]
    meant = Meaning(split, "_".join(word for word in kept if word != "epoch"), _rank(kept, split))
    return meant._replace(rest="loss") if meant.is_own_loss else meant


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """The lower-case words of a name: `trainLoss`, `train/loss` and `Train Loss` are the same two."""
    return tuple(re.findall(r"[a-z]+|[0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name[:200]).lower()))


def _rank(parts: Sequence[str], split: str) -> Rank | None:
    kept = [word for word in parts if word not in MEANS | PASSING]
    if not kept or kept[-1] not in LOSSES or NOT_A_LOSS & set(parts):
        return None
    if len(kept) > 1 or kept[0] not in ("loss", "losses"):
        return Rank.LIKELIHOOD if set(kept[:-1]) <= LIKELIHOOD else Rank.NAMED
    if MEANS & set(parts):
        return Rank.MEAN
    if PASSING & set(parts):
        return Rank.BATCH
    return Rank.TRAIN if split == "train" else Rank.PLAIN
