"""Makes a padded batch of rows, and splits a batch into parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dycktune.data.tokens import IGNORED


@dataclass(frozen=True)
class DataCollatorWithWeights:
    """Pads rows of `input_ids`, `labels`, `label_weights` and `answer_start` to the longest.

    Labels and attention mask come from the rows' own labels and lengths, never from comparing ids with the pad
    token: where pad and eos are the same id, the end of turn stays supervised.
    """

    pad_token_id: int = 0
    """Fills `input_ids`. It is never attended to and carries no loss, so any id will do."""

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, Tensor]:
        """A batch of (B, T) tensors, padded on the right; `answer_mask` is True from the answer marker on."""
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        starts = torch.tensor([row["answer_start"] for row in rows])
        positions = torch.arange(int(lengths.max()))
        attended = positions < lengths[:, None]
        return {
            "input_ids": _padded(rows, "input_ids", self.pad_token_id, torch.long),
            "attention_mask": attended.long(),
            "labels": _padded(rows, "labels", IGNORED, torch.long),
            "label_weights": _padded(rows, "label_weights", 0.0, torch.float32),
            "answer_mask": attended & (positions >= starts[:, None]),
        }


def in_parts(batch: Mapping[str, Tensor], tokens: int, *, longest: int) -> list[dict[str, Tensor]]:
    """Split a padded batch into smaller ones of rows of similar length, each with the least possible padding.

    Args:
        batch: A batch of the collator, tensors of (B, T).
        tokens: Maximum number of tokens in a part, padding included; a longer row is a part of its own.
        longest: The length that determines how many rows a part has, at least T. With several ranks it is the longest
            row of all ranks, so that all have the same number of parts.
    """
    rows = max(1, tokens // longest)
    lengths = batch["attention_mask"].sum(dim=1)
    return [
        {field: column[part, : int(lengths[part].max())] for field, column in batch.items()}
        for part in lengths.argsort(descending=True, stable=True).split(rows)
    ]


def _padded(rows: Sequence[Mapping], field: str, fill: float, dtype: torch.dtype) -> Tensor:
    columns = [torch.as_tensor(row[field], dtype=dtype) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(columns, batch_first=True, padding_value=fill)
