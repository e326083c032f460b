"""The figures of a data set before it is trained on: lengths, rows that are refused, repeated and shared questions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from dycktune.data.rows import Example, examples_and_faults
from dycktune.data.tokens import ExampleTokenizer, TokenizedExample
from dycktune.errors import DataError, DycktuneError
from dycktune.training.config import Config
from dycktune.training.examples import eval_examples, loss_weights, train_examples
from dycktune.training.recipe import task_of


class Refusal(NamedTuple):
    """A row that training would refuse."""

    source: str
    """`file:line`; the file alone where the error names no line."""
    reason: str


class Lengths(NamedTuple):
    """Tokens of the examples, prompt included."""

    min: int
    median: int
    p95: int
    max: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """One split of a data set."""

    split: str
    """`train` or `eval`."""
    origin: str
    """The file, or the description of the generated items."""
    examples: tuple[Example, ...]
    """The rows that training accepts, apart from their length."""
    tokenized: tuple[TokenizedExample, ...]
    """Their ids, in the same order."""
    refused: tuple[Refusal, ...]
    max_tokens: int
    """The recipe's limit of an example."""
    skips_refused: bool
    """Whether training leaves the refused rows out; else it stops at the first."""

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return len(self.examples) + len(self.refused)

    @property
    def lengths(self) -> Lengths | None:
        """None where no row is accepted."""
        if not self.tokenized:
            return None
        counts = [len(example) for example in self.tokenized]
        return Lengths(*(int(n) for n in np.percentile(counts, (0, 50, 95, 100), method="higher")))

    @property
    def overlong(self) -> list[TokenizedExample]:
        """Examples over the limit, the longest first."""
        over = [example for example in self.tokenized if len(example) > self.max_tokens]
        return sorted(over, key=len, reverse=True)

    @property
    def repeated(self) -> int:
        """Rows whose question an earlier row has asked."""
        return len(self.examples) - len(set(map(question_key, self.examples)))

    def contradictions(self, marker: str) -> list[tuple[Example, Example]]:
        """Pairs of rows that ask the same and answer differently; the first row of the question, and the other."""
        first: dict[str, Example] = {}
        pairs = ((first.setdefault(question_key(example), example), example) for example in self.examples)
        return [(a, b) for a, b in pairs if _answer(a, marker) != _answer(b, marker)]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Questions of the eval split that are trained on."""

    items: int
    """Rows of the eval split whose item is in the training split."""
    prompts: int
    """Rows of the eval split whose prompt, white space apart, is in the training split."""
    of: int
    """Rows of the eval split."""
    example: tuple[str, str] | None
    """Sources of one shared question: in the training split, and in the eval split."""


def survey(config: Config, split: str, tokenizer: PreTrainedTokenizerBase) -> Survey:
    """Read and tokenize a split of a recipe, and keep going where a row cannot be used.

    Args:
        config: The recipe, with its task.
        split: `train` or `eval`.
        tokenizer: The base's.

    Raises:
        DycktuneError: no row can be read, or the base cannot be trained.
    """
    encode, accepted, refused = ExampleTokenizer(tokenizer, loss_weights(config)), [], []
    for row in _rows(config, split):
        try:
            accepted.append((row, encode(_usable(row))))
        except DycktuneError as error:
            refused.append(_refusal(error, row))
    return Survey(
        split=split,
        origin=_origin(config, split),
        examples=tuple(row for row, _ in accepted),
        tokenized=tuple(ids for _, ids in accepted),
        refused=tuple(refused),
        max_tokens=config.data.max_tokens,
        skips_refused=config.data.skip_bad_rows,
    )


def surveyed(
    config: Config, split: str, examples: Sequence[Example], ids: Sequence[TokenizedExample]
) -> Survey:
    """The survey of examples that training has tokenized already."""
    return Survey(
        split=split,
        origin=_origin(config, split),
        examples=tuple(examples),
        tokenized=tuple(ids),
        refused=(),
        max_tokens=config.data.max_tokens,
        skips_refused=config.data.skip_bad_rows,
    )


def overlap(train: Survey, evaluation: Survey) -> Overlap:
    """How many questions of the eval split are also trained on."""
    trained = {question_key(example): example for example in train.examples}
    prompts = {prompt_key(example) for example in train.examples}
    shared = [example for example in evaluation.examples if question_key(example) in trained]
    pair = (trained[question_key(shared[0])].source, shared[0].source) if shared else None
    return Overlap(
        items=len(shared),
        prompts=sum(prompt_key(example) in prompts for example in evaluation.examples),
        of=len(evaluation.examples),
        example=pair,
    )


def question_key(example: Example) -> str:
    """The same for the same question: its item's key, or the prompt of a row without an item."""
    return example.item.key if example.item is not None else prompt_key(example)


def prompt_key(example: Example) -> str:
    """The prompt with each run of white space as one space."""
    return "\n".join(f"{turn['role']}: {' '.join(turn['content'].split())}" for turn in example.prompt)


def _file(config: Config, split: str) -> str | None:
    return config.data.train if split == "train" else config.data.eval


def _origin(config: Config, split: str) -> str:
    return _file(config, split) or f"generated items of task {config.task.name}"


def _rows(config: Config, split: str) -> Iterator[Example | DataError]:
    if (file := _file(config, split)) is not None:
        return examples_and_faults(file, task_of(config), turns=config.data.turns)
    return iter(train_examples(config) if split == "train" else eval_examples(config))


def _usable(row: Example | DataError) -> Example:
    if isinstance(row, DataError):
        raise row
    return row


def _refusal(error: DycktuneError, row: Example | DataError) -> Refusal:
    """The error as place and reason; data errors begin with their place."""
    place = row.source if isinstance(row, Example) else _place(str(error))
    return Refusal(place, str(error).removeprefix(f"{place}: "))


def _place(message: str) -> str:
    """`file:line` at the beginning of a message; the text before the first colon and space."""
    return message.partition(": ")[0]


def _answer(example: Example, marker: str) -> str:
    return " ".join(example.completion.rpartition(marker)[2].split())
