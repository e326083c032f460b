"""Examples as token ids, labels and loss weights: the only place where anything is masked or weighted."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizerBase

from dycktune.data.rows import Example
from dycktune.errors import DataError, ModelError
from dycktune.models.chat import completion_text, end_of_turn, opens_think, prompt_ids
from dycktune.models.tiny.positions import number_brackets
from dycktune.tasks.dyck.trace import ANSWER_MARKER

IGNORED = -100
"""The label of a token that carries no loss."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each learnt token counts in the loss."""

    answer: float = 5.0
    """From the last answer marker through the end of turn."""
    reasoning: float = 1.0
    """On what the assistant writes before the marker."""
    marker: str = ANSWER_MARKER
    """Text that begins the answer."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenizedExample:
    """One example as ids: prompt, reasoning, answer, end of turn, in this order and nothing left out."""

    input_ids: np.ndarray
    """(T,) int32."""
    prompt_length: int
    """Tokens of the prompt, which carry no loss."""
    answer_start: int
    """Index of the first token of the answer."""
    weights: LossWeights
    source: str
    """Where the example came from, as `file:line`."""
    given: tuple[int, ...] = ()
    """Indices of tokens that nothing before them tells, which carry no loss."""

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def labels(self) -> np.ndarray:
        """(T,) int64: the ids where they are learnt, `IGNORED` on the prompt and what is given."""
        labels = self.input_ids.astype(np.int64)
        labels[: self.prompt_length] = IGNORED
        labels[list(self.given)] = IGNORED
        return labels

    @property
    def label_weights(self) -> np.ndarray:
        """(T,) float32: each token's weight in the loss, 0 on the prompt and what is given."""
        weights = np.zeros(len(self), dtype=np.float32)
        weights[self.prompt_length : self.answer_start] = self.weights.reasoning
        weights[self.answer_start :] = self.weights.answer
        weights[list(self.given)] = 0
        return weights

    @property
    def reasoning_length(self) -> int:
        """Tokens before the answer marker."""
        return self.answer_start - self.prompt_length

    @property
    def answer_length(self) -> int:
        """Tokens from the marker through the end of turn."""
        return len(self) - self.answer_start

    def features(self) -> dict[str, np.ndarray | int]:
        """What `DataCollatorWithWeights` takes."""
        return {
            "input_ids": self.input_ids,
            "labels": self.labels,
            "label_weights": self.label_weights,
            "answer_start": self.answer_start,
        }


def tokenize(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    weights: LossWeights,
    max_tokens: int | None = None,
) -> list[TokenizedExample]:
    """Turn examples into ids. Nothing is truncated.

    Args:
        examples: What to train or evaluate on.
        tokenizer: A fast tokenizer with a chat template.
        weights: The loss weights and the answer marker.
        max_tokens: The most tokens an example may have, prompt included; None for no limit.

    Raises:
        ModelError: the tokenizer gives no character offsets, or its template cannot be used.
        DataError: an example has no answer marker or an unknown character, or is over the limit.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path!r} gives no character offsets, which weighting needs; "
            "use a model with a fast tokenizer (tokenizer.json)"
        )
    end = end_of_turn(tokenizer)
    tokenized = [_tokenize_one(example, tokenizer, weights=weights, end=end) for example in examples]
    _refuse_overlong(tokenized, max_tokens)
    return tokenized


def _tokenize_one(
    example: Example, tokenizer: PreTrainedTokenizerBase, *, weights: LossWeights, end: Sequence[int]
) -> TokenizedExample:
    prompt = prompt_ids(tokenizer, example.prompt)
    text = assistant_text(example, tokenizer, marker=weights.marker)
    written = number_brackets(text, tokenizer, marker=weights.marker)
    start = written.rfind(weights.marker)
    encoded = tokenizer(written, add_special_tokens=False)
    ids = cast("list[int]", encoded["input_ids"])
    _refuse_unknown(ids, tokenizer, example)
    # A token that straddles the marker's start holds part of the answer, so it belongs to the answer.
    first = next(_holders(encoded, start, len(written)))
    return TokenizedExample(
        input_ids=np.array([*prompt, *ids, *end], dtype=np.int32),
        prompt_length=len(prompt),
        answer_start=len(prompt) + first,
        weights=weights,
        source=example.source,
        given=tuple(len(prompt) + token for token in _given(example.given, written, encoded)),
    )


def _given(patterns: Sequence[str], written: str, encoded: BatchEncoding) -> list[int]:
    """The tokens of each pattern's first match in `written`, which `encoded` cuts, if it has one."""
    found = filter(None, (re.search(pattern, written) for pattern in patterns))
    return sorted({token for match in found for token in _holders(encoded, *match.span())})


def _holders(encoded: BatchEncoding, start: int, stop: int) -> Iterator[int]:
    """The token that holds each of these characters, in order; characters that no token holds are passed over."""
    tokens = (encoded.char_to_token(position) for position in range(start, stop))
    return (token for token in tokens if token is not None)


def assistant_text(example: Example, tokenizer: PreTrainedTokenizerBase, *, marker: str) -> str:
    """What the assistant is taught to write after the prompt, end of turn excluded.

    Raises:
        DataError: the text holds no answer marker.
    """
    text = completion_text(
        example.completion,
        reasoning=example.reasoning,
        inside_think=opens_think(tokenizer, example.prompt),
        marker=marker,
    )
    if marker not in text:
        raise DataError(
            f"{example.source}: the completion holds no answer marker {marker!r}; "
            "add it before the answer, or name the data's own with loss.marker"
        )
    return text


def _refuse_unknown(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, example: Example) -> None:
    unknown = tokenizer.unk_token_id
    # Some tokenizers name their end token as the unknown one too; there only a real byte gap would show.
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.pad_token_id) or unknown not in ids:
        return
    raise DataError(
        f"{example.source}: the tokenizer cannot write part of the completion, it becomes "
        f"{tokenizer.unk_token!r}; use a model that knows these characters, or fewer bracket pairs"
    )


def _refuse_overlong(tokenized: Sequence[TokenizedExample], max_tokens: int | None) -> None:
    over = [example for example in tokenized if max_tokens is not None and len(example) > max_tokens]
    if not over:
        return
    longest = max(over, key=len)
    raise DataError(
        f"{len(over)} of {len(tokenized)} examples are over the limit of {max_tokens} tokens; the longest, "
        f"{longest.source}, has {len(longest)}; raise data.max_tokens to {len(longest)} if the model's "
        "context allows it, or make the sequences shorter"
    )
