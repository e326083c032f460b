"""The rows of a batch behind each other, without padding, and the beginning of the prompt that all share only once.

Most rows of a task begin alike: the chat template's system text and the instruction. With causal attention the hidden
states of these tokens are the same in every row, so one pass over them serves the whole batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dycktune.data.tokens import IGNORED
from dycktune.training import packed_attention
from dycktune.training.head import TiledHead
from dycktune.training.loss import Targets, TokenLosses, token_losses
from dycktune.training.packed_attention import Layout


@dataclass(frozen=True, kw_only=True)
class PackedBatch:
    """A batch as one row of N tokens."""

    input_ids: Tensor
    """(1, N)"""
    position_ids: Tensor
    """(1, N) place of each token in its own row."""
    targets: Targets
    """(1, N) each; the first own token of a row carries no loss."""
    rows: Tensor
    """(N,) the row of each token; shared tokens belong to row 0."""
    layout: Layout

    def arguments(self) -> dict[str, Tensor | Layout | bool]:
        """What the model is called with."""
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "layout": self.layout,
            "use_cache": False,
        }

    def by_row(self, losses: TokenLosses) -> TokenLosses:
        """`losses` of the targets, with the row that each supervised token came from."""
        return losses._replace(rows=self.rows[1:][self.targets.labels[0, 1:] != IGNORED])


def pack(batch: Mapping[str, Tensor]) -> PackedBatch:
    """Pack a padded batch of the collator, tensors of (B, T)."""
    length = batch["input_ids"].shape[1]
    attended_BT = batch["attention_mask"].bool()
    shared = _shared_tokens(batch, attended_BT)
    kept_BT = attended_BT.clone()
    kept_BT[1:, :shared] = False
    source = kept_BT.flatten().nonzero()[:, 0]
    columns = {name: column.flatten()[source][None] for name, column in batch.items()}
    return PackedBatch(
        input_ids=columns["input_ids"],
        position_ids=(source % length)[None],
        targets=Targets(columns["labels"], columns["label_weights"], columns["answer_mask"]),
        rows=source // length,
        layout=Layout(shared, tuple((attended_BT.sum(dim=1) - shared).tolist())),
    )


def _shared_tokens(batch: Mapping[str, Tensor], attended_BT: Tensor) -> int:
    """Tokens that all rows begin with; at least one of each row, without loss, stays its own.

    The first own token of a row follows the last token of another row, which must not have to predict it.
    """
    same_T = (batch["input_ids"] == batch["input_ids"][0]).all(dim=0)
    alike = int(same_T.long().cumprod(dim=0).sum())
    supervised = (batch["labels"] != IGNORED).any(dim=0).nonzero()
    prompt = int(supervised[0]) if len(supervised) else int(attended_BT.sum(dim=1).min())
    return max(0, min(alike, prompt - 1, int(attended_BT.sum(dim=1).min()) - 1))


def can_pack(model: PreTrainedModel, head: TiledHead | None) -> bool:
    """Whether packed rows have the losses of padded ones; if so, `model` is prepared for them.

    Only on CPUs: elsewhere a kernel for each row costs more than padding. The model's attention must be plain causal
    attention that transformers lets us replace, which a few tokens show.
    """
    config = model.config.get_text_config()
    if head is None or model.device.type != "cpu" or getattr(config, "attention_dropout", 0.0):
        return False
    packed_attention.register()
    previous = config._attn_implementation  # noqa: SLF001
    try:
        model.set_attn_implementation(packed_attention.NAME)
        if _agrees(model, head):
            return True
    except (NotImplementedError, ValueError, TypeError):
        pass
    model.set_attn_implementation(previous or "sdpa")
    return False


@torch.no_grad()
def _agrees(model: PreTrainedModel, head: TiledHead) -> bool:
    """Whether two short rows have the same losses as on the reference path."""
    ids = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 3, 2, 0, 0]], device=model.device)
    attended = torch.tensor([[1] * 6, [1] * 4 + [0] * 2], device=model.device)
    labels = ids.where(attended.bool(), IGNORED)
    labels[:, :3] = IGNORED
    batch = {
        "input_ids": ids,
        "attention_mask": attended,
        "labels": labels,
        "label_weights": torch.ones_like(ids, dtype=torch.float32),
        "answer_mask": torch.ones_like(ids, dtype=torch.bool),
    }
    targets = Targets(batch["labels"], batch["label_weights"], batch["answer_mask"])
    was_training = model.training
    model.eval()
    plain = token_losses(model(input_ids=ids, attention_mask=attended, use_cache=False).logits, targets)
    packed = packed_losses(model, pack(batch), head)[1]
    model.train(was_training)
    # Two paths in bfloat16 differ by several per cent; a row that sees another's tokens differs by far more.
    close = 1e-2 if model.dtype == torch.float32 else 1e-1
    return torch.allclose(packed.nll, plain.nll, rtol=close, atol=close)


def packed_losses(model: torch.nn.Module, packed: PackedBatch, head: TiledHead) -> tuple[object, TokenLosses]:
    """The model's output for a packed batch, and its losses by the batch's own rows."""
    with head.computing_loss(packed.targets):
        outputs = model(**packed.arguments())
    return outputs, packed.by_row(head.losses(cast("Tensor", outputs.logits)))
