"""Checks of the first batch: the labels are the tokens of the reply, whole, and nothing else.

Shape legend: B rows, T tokens.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dycktune.data.tokens import IGNORED, LossWeights
from dycktune.errors import FaultName, SilentFaultError
from dycktune.training.preflight.expectation import Expectation, squeezed

ROWS = 16
"""Rows of a batch that are decoded: a fault of the pipeline is in all of them."""
MASKED_START = 8
"""Tokens at the beginning of a reply that may carry no loss because nothing before them determines them."""
_SHIFTED, _ALIGNED = 0.9, 0.5
"""Share of labels that are their neighbour's token, and of those that are their own, from which on they are shifted."""
_FOREIGN = 0.1
"""Share of tokens with another meaning from which on a tokenizer is another model's; renamed ones are far fewer."""


class Row(NamedTuple):
    """A row without its padding: (T,) tensors."""

    ids: Tensor
    labels: Tensor
    weights: Tensor | None
    answer: Tensor | None

    @property
    def supervised(self) -> Tensor:
        """(T,) True where a token carries loss."""
        return self.labels != IGNORED

    @property
    def first(self) -> int:
        """Index of the first token with loss."""
        return int(self.supervised.nonzero()[0])


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of a causal language model as its collator made it: (B, T) tensors on the CPU."""

    input_ids: Tensor
    labels: Tensor
    attended: Tensor
    weights: Tensor | None
    answer: Tensor | None

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> "Batch | None":
        """The batch of a Trainer; None if its labels are not those of its own tokens."""
        ids, labels = inputs.get("input_ids"), inputs.get("labels")
        if not isinstance(ids, Tensor) or not isinstance(labels, Tensor) or ids.shape != labels.shape:
            return None
        mask = inputs.get("attention_mask")
        if not isinstance(mask, Tensor) or mask.shape != ids.shape:
            mask = torch.ones_like(ids)
        return cls(
            input_ids=ids.cpu(),
            labels=labels.cpu(),
            attended=mask.bool().cpu(),
            weights=_on_cpu(inputs.get("label_weights")),
            answer=_on_cpu(inputs.get("answer_mask")),
        )

    def learning_rows(self) -> Iterator[Row]:
        """The first rows that have a label, without their padding."""
        for i in range(min(ROWS, len(self.labels))):
            kept = self.attended[i]
            row = Row(*(None if t is None else t[i][kept] for t in self._columns()))  # pyright: ignore[reportArgumentType]
            if row.supervised.any():
                yield row

    def _columns(self) -> tuple[Tensor | None, ...]:
        return self.input_ids, self.labels, self.weights, self.answer


def supervised_tokens(inputs: Mapping[str, Any]) -> Tensor | None:
    """The number of labels with a weight above 0, a scalar; None for a batch without labels."""
    labels, weights = inputs.get("labels"), inputs.get("label_weights")
    if not isinstance(labels, Tensor):
        return None
    counted = labels != IGNORED
    return (counted & (weights > 0) if isinstance(weights, Tensor) else counted).sum()


def faults_of(batch: Batch, expected: Expectation | None) -> Iterator[SilentFaultError]:
    """The faults of a batch, causes before their consequences."""
    yield from _shifted(batch, strict=expected is not None and expected.strict)
    yield from _padding(batch)
    if expected is None:
        return
    rows = list(batch.learning_rows())
    for check in _CHECKS:
        yield from check(rows, expected)


def _shifted(batch: Batch, *, strict: bool) -> Iterator[SilentFaultError]:
    supervised = batch.labels != IGNORED
    total = int(supervised.sum())
    if not total:
        return
    own = int((batch.labels == batch.input_ids)[supervised].sum())
    for offset, neighbour in ((1, "next"), (-1, "previous")):
        moved = int((batch.labels == batch.input_ids.roll(-offset, dims=1))[supervised].sum())
        if moved >= _SHIFTED * total and own < _ALIGNED * total:
            yield SilentFaultError(
                "labels_shifted",
                f"{moved} of {total} labels are the {neighbour} token and {own} are their own",
                "leave labels aligned with input_ids, because the loss shifts them itself",
            )
            return
    if strict and own < total:
        yield SilentFaultError(
            "labels_shifted",
            f"{total - own} of {total} labels are not the token at their position",
            "copy the labels from input_ids and mask them with -100 only",
        )


def _padding(batch: Batch) -> Iterator[SilentFaultError]:
    learned = int(((batch.labels != IGNORED) & ~batch.attended).sum())
    if learned:
        yield SilentFaultError(
            "padding_learned",
            f"{learned} of {int((~batch.attended).sum())} padding positions have a label",
            "set the labels to -100 where attention_mask is 0",
        )


def _doubled_bos(rows: list[Row], expected: Expectation) -> Iterator[SilentFaultError]:
    bos = expected.tokenizer.bos_token_id
    doubled = [row for row in rows if bos is not None and row.ids[:2].tolist() == [bos, bos]]
    if doubled:
        yield SilentFaultError(
            "doubled_bos",
            f"{len(doubled)} of {len(rows)} rows begin with {expected.tokenizer.bos_token!r} twice",
            "tokenize text that the chat template rendered with add_special_tokens=False",
        )


def _another_tokenizer(rows: list[Row], expected: Expectation) -> Iterator[SilentFaultError]:
    own, base = expected.tokenizer, expected.base_tokenizer
    if base is None:
        return
    ids = sorted({i for row in rows for i in row.ids.tolist() if i < len(base)})
    pairs = [(i, *(t.convert_ids_to_tokens(i) for t in (own, base))) for i in ids]
    foreign = [pair for pair in pairs if pair[1] != pair[2]]
    if len(foreign) > _FOREIGN * len(pairs):
        i, here, there = foreign[len(foreign) // 2]
        yield SilentFaultError(
            "another_tokenizer",
            f"{len(foreign)} of {len(pairs)} ids of the batch mean other tokens to the base: {i} is {here!r} here and "
            f"{there!r} there",
            "use the tokenizer of the base's own folder",
        )


def _prompt(rows: list[Row], expected: Expectation) -> Iterator[SilentFaultError]:
    """The tokens with loss begin where the template's reply begins."""
    found = Counter(_beginning(row, expected) for row in rows if expected.header)
    for name, (what, remedy) in _BEGINNINGS.items():
        if _convicts(found[name], len(rows), expected):
            yield SilentFaultError(name, f"in {found[name]} of {len(rows)} rows, {what}", remedy)
            return


_BEGINNINGS: dict[FaultName, tuple[str, str]] = {
    "prompt_not_masked": (
        "tokens before the reply have labels",
        "set the labels of the prompt to -100 (TRL: completion_only_loss or assistant_only_loss), or accept the fault "
        "by its name if the prompt is to be learned",
    ),
    "reply_partly_masked": (
        f"more than {MASKED_START} tokens at the beginning of the reply have no label",
        "let the labels begin with the first token after the generation prompt",
    ),
    "another_chat_template": (
        "the reply does not follow the generation prompt of the tokenizer's chat template",
        "build the rows with the chat template of the tokenizer that is saved with the model",
    ),
}


def _beginning(row: Row, expected: Expectation) -> FaultName | None:
    first = row.first
    ids = row.ids.tolist()
    near = range(first, max(0, first - MASKED_START) - 1, -1)
    if any(expected.text(ids[:cut]).endswith(expected.header) for cut in near):
        return None
    if expected.header in expected.text(ids[first:]):
        return "prompt_not_masked"
    if expected.header in expected.text(ids):
        return "reply_partly_masked"
    # Text without turns is a fault in a recipe's rows only.
    return "another_chat_template" if expected.strict else None


def _convicts(count: int, rows: int, expected: Expectation) -> bool:
    """Whether this many faulty rows prove a fault: any of a recipe's, all of a user's own."""
    return count > 0 if expected.strict else count == rows > 0


def _end(rows: list[Row], expected: Expectation) -> Iterator[SilentFaultError]:
    """The last tokens with loss end the turn."""
    chats = [row for row in rows if expected.strict or (expected.header and _is_chat(row, expected))]
    if not expected.stops:
        return
    unended = [row for row in chats if not expected.stops & set(row.ids[row.first :].tolist())]
    unlearned = [row for row in chats if not expected.stops & set(row.labels[row.supervised].tolist())]
    if _convicts(len(unended), len(chats), expected):
        longest = max(len(row.ids) for row in unended)
        yield SilentFaultError(
            "completion_cut_off",
            f"{len(unended)} of {len(chats)} rows stop before their end of turn, the longest at {longest} tokens",
            "raise the maximum length, or leave long examples out: a model that sees no end does not learn to stop",
        )
    elif _convicts(len(unlearned), len(chats), expected):
        yield SilentFaultError(
            "end_of_turn_not_learned",
            f"the end of turn has no label in {len(unlearned)} of {len(chats)} rows",
            "mask padding by its position and not by its id, and give the end of turn a label",
        )


def _is_chat(row: Row, expected: Expectation) -> bool:
    return expected.header in expected.text(row.ids.tolist())


def _span(rows: list[Row], expected: Expectation) -> Iterator[SilentFaultError]:
    """The answer's weight lies on the text from the last marker on, and the reasoning's on the rest."""
    weights = expected.weights
    if weights is None:
        return
    for row in rows:
        if row.answer is None or row.weights is None:
            return
        evidence = _misplaced(row, expected, weights) or _misweighted(row, weights)
        if evidence:
            yield SilentFaultError(
                "weight_on_wrong_span",
                evidence,
                "take label_weights and answer_start from data.tokens, which finds the marker by character offsets",
            )
            return


def _misplaced(row: Row, expected: Expectation, weights: LossWeights) -> str | None:
    answer = row.ids[row.answer].tolist()
    marker = squeezed(weights.marker)
    if marker not in expected.reply(answer):
        return f"the answer span {expected.reply(answer)[:40]!r} does not hold the marker {weights.marker!r}"
    # A marker such as "\n#### " may begin with a token that is white space alone.
    first = next(place for place, token in enumerate(answer) if expected.reply([token]))
    if marker in expected.reply(answer[first + 1 :]):
        return f"the answer span begins before the last marker, with {expected.reply(answer)[:40]!r}"
    return None


def _misweighted(row: Row, weights: LossWeights) -> str | None:
    assert row.answer is not None
    assert row.weights is not None
    wanted = torch.where(row.answer, weights.answer, weights.reasoning)
    wrong = row.supervised & ~torch.isclose(row.weights, wanted)
    if not wrong.any():
        return None
    i = int(wrong.nonzero()[0])
    part = "answer" if row.answer[i] else "reasoning"
    return (
        f"{int(wrong.sum())} of {int(row.supervised.sum())} tokens have another weight than their part's; one of the "
        f"{part} has {row.weights[i]:g} instead of {wanted[i]:g}"
    )


_CHECKS: tuple[Callable[[list[Row], Expectation], Iterator[SilentFaultError]], ...] = (
    _doubled_bos,
    _another_tokenizer,
    _prompt,
    _end,
    _span,
)


def _on_cpu(value: Any) -> Tensor | None:
    return value.cpu() if isinstance(value, Tensor) else None
