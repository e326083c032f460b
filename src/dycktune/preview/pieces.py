"""An example cut into pieces of text, each with the part it belongs to and its weight in the loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from transformers import PreTrainedTokenizerBase

from dycktune.data.rows import Example
from dycktune.data.tokens import TokenizedExample
from dycktune.models.chat import prompt_text
from dycktune.tasks.base import Message

Kind = Literal["template", "prompt", "reasoning", "answer", "end", "unsupervised"]

MEANINGS: dict[Kind, str] = {
    "template": "text that the chat template adds around the messages",
    "prompt": "the messages before the reply",
    "reasoning": "the reply before the answer marker",
    "answer": "the reply from the last answer marker on",
    "end": "end of turn: the template's token that ends the reply",
    "unsupervised": "text of the reply that cannot be predicted from its context",
}

_LONGEST_CHARACTER = 8
"""Most tokens that can share one character: a byte-level tokenizer needs four, some normalizers write more."""

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class Piece(NamedTuple):
    """A token, or the few tokens that share a character."""

    kind: Kind
    text: str
    ids: tuple[int, ...]
    weight: float
    """Of each token, in the loss."""


@dataclass(frozen=True, kw_only=True)
class ExampleView:
    """One example as a person reads it."""

    source: str
    pieces: tuple[Piece, ...]
    """Their texts, joined, are the text of the example's ids."""
    prompt_length: int
    """In tokens; template text included."""
    answer_start: int
    """Index of the first token of the answer."""
    answer_loss_share: float
    """Share of the loss weights that lies on the answer, 0 to 1; 0 where no token has a weight."""
    hidden_messages: tuple[int, ...]
    """Indices of messages whose text the template does not show to the model."""

    @property
    def token_count(self) -> int:
        """Tokens of the whole example."""
        return sum(len(piece.ids) for piece in self.pieces)

    @property
    def tokens_by_kind(self) -> dict[Kind, int]:
        """Tokens of each kind that occurs."""
        counts: dict[Kind, int] = dict.fromkeys(MEANINGS, 0)
        for piece in self.pieces:
            counts[piece.kind] += len(piece.ids)
        return {kind: count for kind, count in counts.items() if count}


def view(example: Example, tokenized: TokenizedExample, tokenizer: PreTrainedTokenizerBase) -> ExampleView:
    """One example with the ids and weights that training uses."""
    prompt = _prompt_parts(tokenizer, example.prompt)
    weights = tokenized.label_weights
    total = float(weights.sum())
    return ExampleView(
        source=tokenized.source,
        pieces=tuple(_pieces(tokenized, tokenizer, prompt.template_tokens)),
        prompt_length=tokenized.prompt_length,
        answer_start=tokenized.answer_start,
        answer_loss_share=float(weights[tokenized.answer_start :].sum()) / total if total else 0.0,
        hidden_messages=prompt.hidden_messages,
    )


class _PromptParts(NamedTuple):
    template_tokens: frozenset[int]
    """Indices of tokens that hold no text of a message."""
    hidden_messages: tuple[int, ...]


def _prompt_parts(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> _PromptParts:
    text, position = prompt_text(tokenizer, messages), 0
    spans, hidden = [], []
    for index, message in enumerate(messages):
        content = message["content"].strip()
        start = text.find(content, position)
        if start < 0:
            hidden.append(index)
            continue
        position = start + len(content)
        spans.append((start, position))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = cast("list[tuple[int, int]]", encoded["offset_mapping"])
    added = (
        index
        for index, (start, stop) in enumerate(offsets)
        if not any(start < last and first < stop for first, last in spans)
    )
    return _PromptParts(frozenset(added), tuple(hidden))


def _pieces(
    example: TokenizedExample, tokenizer: PreTrainedTokenizerBase, template_tokens: frozenset[int]
) -> Iterator[Piece]:
    ids, weights = example.input_ids.tolist(), example.label_weights.tolist()
    kinds = _kinds(example, template_tokens)
    start = 0
    while start < len(ids):
        stop, text = _next_text(tokenizer, ids, start)
        yield Piece(kinds[start], text, tuple(ids[start:stop]), weights[start])
        start = stop


def _kinds(example: TokenizedExample, template_tokens: frozenset[int]) -> list[Kind]:
    """The kind of each token."""
    kinds: list[Kind] = [
        "template" if index in template_tokens else "prompt" for index in range(example.prompt_length)
    ]
    kinds.extend("reasoning" for _ in range(example.reasoning_length))
    kinds.extend("answer" for _ in range(example.answer_length - example.end_length))
    kinds.extend("end" for _ in range(example.end_length))
    for index in example.unsupervised:
        kinds[index] = "unsupervised"
    return kinds


def _next_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> tuple[int, str]:
    """The fewest ids from `start` on that are whole characters: the index after them, and their text."""
    # Some decoders drop the space before the first token, so each piece is decoded behind the token before it.
    context = max(0, start - 1)
    before = _decoded(tokenizer, ids[context:start])
    last = min(len(ids), start + _LONGEST_CHARACTER)
    for stop in range(start + 1, last + 1):
        text = _decoded(tokenizer, ids[context:stop]).removeprefix(before)
        if not text.endswith(_INCOMPLETE):
            return stop, text
    return start + 1, _decoded(tokenizer, ids[start : start + 1])


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    if not ids:
        return ""
    return cast(
        "str", tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )
