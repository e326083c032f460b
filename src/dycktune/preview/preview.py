"""A preview: a few examples token by token, and the figures of each split."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from dycktune.models.loading import load_tokenizer
from dycktune.outputs import (
    ExampleOutput,
    LengthsOutput,
    OverlapOutput,
    PieceOutput,
    PreviewOutput,
    RefusalOutput,
    SplitOutput,
)
from dycktune.preview.pieces import ExampleView, Kind, view
from dycktune.preview.survey import Overlap, Survey, overlap, survey
from dycktune.training.config import Config
from dycktune.training.examples import require_imitation, with_task


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a recipe will train, before it is trained."""

    model: str
    task: str
    marker: str
    """The text that begins the answer."""
    max_tokens: int
    weights: dict[Kind, float]
    """The weight of each kind of token in the loss."""
    examples: tuple[ExampleView, ...]
    surveys: tuple[Survey, ...]
    overlap: Overlap | None
    """None where there is one split only."""

    @property
    def trainable(self) -> bool:
        """Whether training accepts every row, or leaves out those that it does not."""
        return not any(
            (survey.refused and not survey.skips_refused) or survey.overlong for survey in self.surveys
        )

    def overlap_text(self) -> list[str]:
        """The overlap of the splits in words."""
        found = self.overlap
        if found is None:
            return []
        text = f"overlap: {found.items} of {found.of} eval rows ask a question of the training data"
        if found.prompts != found.items:
            text += f", {found.prompts} have the same prompt"
        if found.example:
            text += f" (such as {found.example[1]}, which is {found.example[0]})"
        return [text]

    def to_json(self) -> PreviewOutput:
        """The preview as plain values."""
        shared = None if self.overlap is None else cast("OverlapOutput", asdict(self.overlap))
        return {
            "model": self.model,
            "task": self.task,
            "marker": self.marker,
            "max_tokens": self.max_tokens,
            "weights": {str(kind): weight for kind, weight in self.weights.items()},
            "trainable": self.trainable,
            "splits": {survey.split: _split_json(survey, self.marker) for survey in self.surveys},
            "overlap": shared,
            "examples": [_example_json(shown) for shown in self.examples],
        }


def preview(config: Config, *, count: int = 3, splits: Sequence[str] = ("train", "eval")) -> Preview:
    """The preview of a recipe.

    Args:
        config: The recipe.
        count: Examples that are shown: the shortest, the longest, and others evenly between them by length.
        splits: The splits that are read; examples come from the first.

    Raises:
        DycktuneError: a file cannot be read, or the base has no tokenizer that can be trained with.
    """
    require_imitation(config, "preview")
    config = with_task(config)
    tokenizer = load_tokenizer(config.model.base, trust_remote_code=config.model.trust_remote_code)
    surveys = tuple(survey(config, split, tokenizer) for split in splits)
    loss = config.loss
    return Preview(
        model=config.model.base,
        task=str(config.task.name),
        marker=loss.marker,
        max_tokens=config.data.max_tokens,
        weights={
            "template": 0.0,
            "prompt": 0.0,
            "reasoning": loss.reasoning_weight,
            "answer": loss.answer_weight,
            "end": loss.answer_weight,
            "unsupervised": 0.0,
        },
        examples=tuple(_shown(surveys[0], tokenizer, count)),
        surveys=surveys,
        overlap=overlap(*surveys) if len(surveys) > 1 else None,
    )


def _shown(split: Survey, tokenizer: PreTrainedTokenizerBase, count: int) -> Iterator[ExampleView]:
    """Examples of different length, the shortest first."""
    by_length = sorted(zip(split.examples, split.tokenized, strict=True), key=lambda pair: len(pair[1]))
    places = np.linspace(0, max(0, len(by_length) - 1), min(count, len(by_length)))
    return (view(*by_length[int(place)], tokenizer) for place in places)


def _split_json(split: Survey, marker: str) -> SplitOutput:
    lengths = split.lengths
    return {
        "origin": split.origin,
        "rows": split.rows,
        "tokens": None if lengths is None else cast("LengthsOutput", lengths._asdict()),
        "over_max_tokens": [example.source for example in split.overlong],
        "refused": [cast("RefusalOutput", refusal._asdict()) for refusal in split.refused],
        "repeated": split.repeated,
        "contradictions": [[first.source, other.source] for first, other in split.contradictions(marker)],
    }


def _example_json(shown: ExampleView) -> ExampleOutput:
    return {
        "source": shown.source,
        "tokens": shown.token_count,
        "prompt_length": shown.prompt_length,
        "answer_start": shown.answer_start,
        "answer_loss_share": shown.answer_loss_share,
        "hidden_messages": list(shown.hidden_messages),
        "pieces": [cast("PieceOutput", piece._asdict()) for piece in shown.pieces],
    }
