"""Which column is the step, the train loss, the eval loss: the names loggers give, as the names Trainer gives.

The result of Trainer's own names is those names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dycktune.diagnosis.readers.source import Refusal
from dycktune.diagnosis.readers.words import EVAL_WORDS, Meaning, Rank, meaning, words
from dycktune.diagnosis.reinforcement.names import POLICY_LOSSES, is_reward, plain

STEP_NAMES = (
    "train_global_step",
    "trainer_global_step",
    "global_step",
    "global_steps",
    "step",
    "steps",
    "current_steps",
    "train_step",
    "training_step",
    "training_iteration",
    "iteration",
    "iterations",
    "iter",
    "iters",
    "it",
    "num_updates",
    "updates",
    "update",
    "batch",
)
EPOCH_NAMES = ("epoch", "epochs", "train_epoch", "current_epoch", "epoch_num")
ALIASES = {
    "learning_rate": {"learning_rate", "lr"},
    "grad_norm": {"grad_norm", "gradient_norm", "gnorm", "norm"},
}
MEAN_OF_RUN = {"train_loss", "train/train_loss"}
_EVAL_RANKS = [Rank.PLAIN, Rank.TRAIN, Rank.MEAN, Rank.LIKELIHOOD, Rank.BATCH, Rank.NAMED, None]
"""Order in which the ranks of eval losses are chosen: a mean over the set before the loss of a batch."""

Columns = Mapping[str, str]
"""Trainer's name of a column to its name in the file, where the user gave it."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How the columns of a file are called from here on."""

    names: Mapping[str, str]
    """Name in the file to Trainer's name; a column that is not in it is left out."""

    steps: tuple[str, ...]
    """Columns that may hold the step, the likeliest first."""

    epochs: tuple[str, ...]

    def sources(self, name: str) -> list[str]:
        """The columns that became `name`."""
        return [raw for raw, new in self.names.items() if new == name]

    @property
    def eval_losses(self) -> dict[str, str]:
        """Name in the file of each eval loss, by Trainer's name."""
        return {new: raw for raw, new in self.names.items() if is_eval_loss(new)}


def is_eval_loss(name: str) -> bool:
    """Whether a column of Trainer's is the eval loss of some set."""
    return name.startswith("eval_") and name.endswith("_loss")


def is_step(name: str) -> bool:
    """Whether a column may hold the step."""
    return _flat(name) in STEP_NAMES


def is_epoch(name: str) -> bool:
    """Whether a column may hold the epoch."""
    return _flat(name) in EPOCH_NAMES


def naming(counts: Counter[str], columns: Columns) -> Naming:
    """Decide the meaning of every column; `counts` says how many values each has.

    Raises:
        Refusal: a column that the user named is not there, or no column can be chosen for the train loss.
    """
    given = {new: _find(raw, counts) for new, raw in columns.items()}
    free = [name for name in counts if name not in given.values()]
    names = {raw: new for new, raw in given.items() if new not in ("step", "epoch")}
    steps = [given["step"]] if "step" in given else _ordered(free, STEP_NAMES)
    epochs = [given["epoch"]] if "epoch" in given else _ordered(free, EPOCH_NAMES)
    meanings = {name: meaning(name) for name in free if name not in steps and name not in epochs}
    if "loss" not in given:
        names |= _train_loss(meanings, counts)
    names |= {raw: new for raw, new in _evals(meanings, counts).items() if new not in given}
    for name, split in meanings.items():
        names.setdefault(name, _alias(split.rest, name))
    return Naming(names=_distinct(names), steps=tuple(steps), epochs=tuple(epochs))


def _train_loss(meanings: Mapping[str, Meaning], counts: Counter[str]) -> dict[str, str]:
    """The column to be called `loss`; Trainer's `train_loss`, the mean over the whole run, is not one."""
    is_trainer = bool({"train_runtime", "train/train_runtime"} & set(counts))
    ranks = {
        name: (meant.rank, -counts[name])
        for name, meant in meanings.items()
        if meant.rank is not None
        and meant.split in ("", "train")
        and not (is_trainer and name in MEAN_OF_RUN)
    }
    name = min(ranks, key=ranks.__getitem__, default=None)
    if name is None:
        return {}
    if ranks[name][0] == Rank.NAMED and any(map(is_reward, meanings)):
        policies = [name for known in POLICY_LOSSES for name in ranks if plain(name) == known]
        return dict.fromkeys(policies[:1], "loss")
    if ranks[name][0] == Rank.NAMED and len(ranks) > 1:
        listed = ", ".join(map(repr, list(ranks)[:6]))
        raise Refusal(f"{listed} could each be the train loss; name it with --columns loss=NAME")
    return {name: "loss"}


def _evals(meanings: Mapping[str, Meaning], counts: Counter[str]) -> dict[str, str]:
    """Names of the columns measured on data that is not trained on; the main set's have no set in their name."""
    found = {name: split for name, split in meanings.items() if split.split in EVAL_WORDS}
    with_loss = {split.split for split in found.values() if split.is_loss}
    order = [word for word in EVAL_WORDS if word in (with_loss or {split.split for split in found.values()})]
    names: dict[str, str] = {}
    for name in sorted(found, key=lambda name: (_EVAL_RANKS.index(found[name].rank), -counts[name])):
        split = found[name]
        group = "" if split.split == order[0] else f"{split.split}_"
        new = f"eval_{group}{_of_loader(split.rest)}"
        if new not in names.values():
            names[name] = new
    return names


def _of_loader(rest: str) -> str:
    """`loss/dataloader_idx_1`, Lightning's name for the second eval set, as `set1_loss`."""
    match = re.fullmatch(r"(.+?)(?:_epoch|_step)?[/_]dataloader_idx_(\d+)", rest)
    return f"set{match[2]}_{match[1]}" if match else rest


def _alias(rest: str, name: str) -> str:
    """Trainer's name of a rate or a norm; another column keeps its own, without the group `train/`."""
    flat = "_".join(words(rest))
    for new, known in ALIASES.items():
        if flat in known or any(flat.startswith(f"{start}_") for start in known - {"norm"}):
            return new
    return name.removeprefix("train/")


def _distinct(names: dict[str, str]) -> dict[str, str]:
    """The first column of each name alone: a second learning rate is that of another group of weights."""
    kept: dict[str, str] = {}
    for raw, new in names.items():
        if new not in kept.values():
            kept[raw] = new
    return kept


def _ordered(names: Iterable[str], known: tuple[str, ...]) -> list[str]:
    """Those of the names that are in `known`, in its order; one with a leading underscore last (W&B's own count)."""
    found = [name for name in names if _flat(name) in known]
    return sorted(found, key=lambda name: (name.startswith("_"), known.index(_flat(name))))


def _flat(name: str) -> str:
    return "_".join(words(name.removesuffix("/max_steps")))


def _find(raw: str, counts: Counter[str]) -> str:
    for name in counts:
        if name == raw:
            return name
    for name in counts:
        if name.lower() == raw.lower():
            return name
    listed = ", ".join(map(repr, list(counts)[:20])) or "none"
    raise Refusal(f"--columns: no column {raw!r}; the log has {listed}")
