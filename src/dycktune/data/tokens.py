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
from dycktune.models.codec import codec_of
from dycktune.tasks.base import ANSWER_MARKER, Demonstration

IGNORED = -100
"""The label of a token that carries no loss."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each supervised token counts in the loss."""

    answer: float = 5.0
    """From the last answer marker through the end of turn."""
    reasoning: float = 1.0
    """On the assistant's text before the marker."""
    marker: str = ANSWER_MARKER
    """The text that begins the answer."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenizedExample:
    """One example as ids: prompt, reasoning, answer, end of turn, in this order, nothing left out."""

    input_ids: np.ndarray
    """(T,) int32."""
    prompt_length: int
    """Tokens of the prompt, which carry no loss."""
    answer_start: int
    """Index of the first token of the answer."""
    weights: LossWeights
    source: str
    """Where the example came from, as `file:line`."""
    unsupervised: tuple[int, ...] = ()
    """Indices of tokens that cannot be predicted from the tokens before them; they carry no loss."""
    end_length: int = 0
    """Tokens of the end of turn, which the template adds; they are the last ones of the answer."""

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def labels(self) -> np.ndarray:
        """(T,) int64: the ids of supervised tokens, `IGNORED` elsewhere."""
        labels = self.input_ids.astype(np.int64)
        labels[: self.prompt_length] = IGNORED
        labels[list(self.unsupervised)] = IGNORED
        return labels

    @property
    def label_weights(self) -> np.ndarray:
        """(T,) float32: each token's weight in the loss, 0 on prompt and unsupervised tokens."""
        weights = np.zeros(len(self), dtype=np.float32)
        weights[self.prompt_length : self.answer_start] = self.weights.reasoning
        weights[self.answer_start :] = self.weights.answer
        weights[list(self.unsupervised)] = 0
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
        """The row that `DataCollatorWithWeights` takes."""
        return {
            "input_ids": self.input_ids,
            "labels": self.labels,
            "label_weights": self.label_weights,
            "answer_start": self.answer_start,
        }


class ExampleTokenizer:
    """Turns examples into ids, with one tokenizer and one set of weights."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, weights: LossWeights):
        """Find how the template ends a turn.

        Args:
            tokenizer: A fast tokenizer with a chat template.
            weights: The loss weights and the answer marker.

        Raises:
            ModelError: the tokenizer gives no character offsets, or its template cannot be used.
        """
        if not tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer {tokenizer.name_or_path!r} gives no character offsets, which weighting needs; "
                "use a model with a fast tokenizer (tokenizer.json)"
            )
        self._tokenizer, self._weights = tokenizer, weights
        self._end, self._codec = end_of_turn(tokenizer), codec_of(tokenizer)

    def __call__(self, example: Example) -> TokenizedExample:
        """The ids of an example, whole.

        Raises:
            DataError: the example has no answer marker, or an unknown character.
            ModelError: the template refuses the conversation.
        """
        prompt, written = prompt_ids(self._tokenizer, example.prompt), self._written(example)
        encoded = self._tokenizer(written, add_special_tokens=False)
        ids = cast("list[int]", encoded["input_ids"])
        _refuse_unknown(ids, self._tokenizer, example)
        # A token that straddles the marker's start holds part of the answer, so it belongs to the answer.
        first = next(_tokens_between(encoded, written.rfind(self._weights.marker), len(written)))
        patterns = [*self._codec.unsupervised(written), *example.unsupervised]
        return TokenizedExample(
            input_ids=np.array([*prompt, *ids, *self._end], dtype=np.int32),
            prompt_length=len(prompt),
            answer_start=len(prompt) + first,
            weights=self._weights,
            source=example.source,
            unsupervised=tuple(len(prompt) + token for token in _first_matches(patterns, written, encoded)),
            end_length=len(self._end),
        )

    def _written(self, example: Example) -> str:
        """The assistant's text as the model writes it."""
        marker = self._weights.marker
        text = assistant_text(example, self._tokenizer, marker=marker)
        _refuse_unmarked(text, marker, example)
        return self._codec.encode(text, marker=marker)


def tokenize(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    weights: LossWeights,
    max_tokens: int | None = None,
) -> list[TokenizedExample]:
    """Turn examples into ids. Nothing is truncated.

    Args:
        examples: The examples to train or evaluate on.
        tokenizer: A fast tokenizer with a chat template.
        weights: The loss weights and the answer marker.
        max_tokens: Maximum tokens of an example, prompt included; None for no limit.

    Raises:
        ModelError: the tokenizer gives no character offsets, or its template cannot be used.
        DataError: an example has no answer marker or an unknown character, or is over the limit.
    """
    tokenized = list(map(ExampleTokenizer(tokenizer, weights), examples))
    _refuse_overlong(tokenized, max_tokens)
    return tokenized


def _first_matches(patterns: Sequence[str], written: str, encoded: BatchEncoding) -> list[int]:
    """The tokens of each pattern's first match in `written`, whose tokens are `encoded`."""
    found = filter(None, (re.search(pattern, written) for pattern in patterns))
    return sorted({token for match in found for token in _tokens_between(encoded, *match.span())})


def _tokens_between(encoded: BatchEncoding, start: int, stop: int) -> Iterator[int]:
    """The token of each character from `start` to `stop`; characters without a token are left out."""
    tokens = (encoded.char_to_token(position) for position in range(start, stop))
    return (token for token in tokens if token is not None)


def assistant_text(example: Demonstration, tokenizer: PreTrainedTokenizerBase, *, marker: str) -> str:
    """The text that the assistant learns to write after the prompt, without the end of turn."""
    return completion_text(
        example.completion,
        reasoning=example.reasoning,
        inside_think=opens_think(tokenizer, example.prompt),
        marker=marker,
    )


def _refuse_unmarked(text: str, marker: str, example: Example) -> None:
    _, found, answer = text.rpartition(marker)
    if found and answer.strip():
        return
    _, near, after = text.rpartition(marker.strip() or marker)
    if near and not after.strip():
        raise DataError(
            f"{example.source}: nothing follows the answer marker {marker!r}; write the answer after it"
        )
    hint = (
        f"it holds {near!r} followed by {after[0]!r}, which is not the marker's own white space"
        if near
        else "a marker in the prompt does not count"
    )
    raise DataError(
        f"{example.source}: the completion holds no answer marker {marker!r} ({hint}); "
        "add it before the answer, or name the data's own with loss.marker"
    )


def _refuse_unknown(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, example: Example) -> None:
    unknown = tokenizer.unk_token_id
    # Some tokenizers use their end or pad token as the unknown token too, so finding it proves nothing.
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
