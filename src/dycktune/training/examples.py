"""The task and the examples that a recipe names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from dycktune.data.corpus import Corpus
from dycktune.data.rows import Example, Skipped, example_of, read_examples, task_name_for
from dycktune.data.tokens import LossWeights
from dycktune.errors import ConfigError
from dycktune.tasks.base import Task, options_of
from dycktune.tasks.registry import DEFAULT_TASK
from dycktune.training.config import Config
from dycktune.training.recipe import task_of


class Examples(NamedTuple):
    """The training and evaluation examples of a run."""

    train: Sequence[Example]
    eval: Sequence[Example]
    skipped: Mapping[str, Skipped] = MappingProxyType({})
    """The rows that were left out, by split; empty where the recipe leaves none out."""


def with_task(config: Config) -> Config:
    """The recipe with its task and all its options written out.

    A recipe without a task means `dyck`, or `marked_answer` if its training file holds other rows.

    Raises:
        DataError: the training file cannot be read.
    """
    name = config.task.name or _implied_task(config)
    named = replace(config, task=replace(config.task, name=name))
    return replace(named, task=replace(named.task, options=options_of(task_of(named))))


def _implied_task(config: Config) -> str:
    return task_name_for(config.data.train) if config.data.train else DEFAULT_TASK


def require_imitation(config: Config, command: str) -> None:
    """Raise ConfigError where a recipe trains by reinforcement learning, of which `command` knows nothing."""
    if config.train.method == "grpo":
        raise ConfigError(
            f"{command} describes training by imitation, and this recipe has train.method = 'grpo'; start it with "
            "dycktune train, which measures pass@k first and can be stopped with Ctrl-C"
        )


def loss_weights(config: Config) -> LossWeights:
    """The weights of a recipe's tokens in the loss."""
    loss = config.loss
    return LossWeights(answer=loss.answer_weight, reasoning=loss.reasoning_weight, marker=loss.marker)


def load_examples(config: Config) -> Examples:
    """The examples of a recipe: from its files, or from the corpus that it describes.

    Raises:
        DataError: a file cannot be read, or holds no rows of the task.
        CorpusError: a split holds fewer items.
    """
    skipped = {split: Skipped() for split in ("train", "eval")} if config.data.skip_bad_rows else {}
    train = train_examples(config, skipped=skipped.get("train"))
    return Examples(train, eval_examples(config, skipped=skipped.get("eval")), skipped)


def train_examples(config: Config, *, skipped: Skipped | None = None) -> list[Example]:
    """The training examples of a run; `skipped` counts the rows that its recipe leaves out."""
    data = config.data
    if data.train is not None:
        return _read(config, data.train, skipped)
    return generate(task_of(config), "train", count=data.count, seed=data.seed)


def eval_examples(config: Config, *, skipped: Skipped | None = None) -> list[Example]:
    """The examples of a run's evaluation loss and of its selection; `skipped` as in `train_examples`."""
    data = config.data
    if data.eval is not None:
        return _read(config, data.eval, skipped)
    return generate(task_of(config), "eval", count=data.eval_count, seed=data.seed)


def _read(config: Config, file: str, skipped: Skipped | None) -> list[Example]:
    data = config.data
    counted = skipped or Skipped() if data.skip_bad_rows else None
    return list(read_examples(file, task_of(config), turns=data.turns, skipped=counted))


def generate(task: Task, split: str, *, count: int, seed: int = 0) -> list[Example]:
    """The first `count` items of a split with their solutions; those of the training split may be augmented."""
    augmented = seed if split == "train" else None
    items = enumerate(Corpus(task, count=count, seed=seed, split=split), start=1)
    return [example_of(task, item, source=f"{split} item {i}", seed=augmented) for i, item in items]
