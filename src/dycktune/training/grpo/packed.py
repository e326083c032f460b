"""Log probabilities of a batch of replies, computed without padding.

Shape legend: B rows, T tokens of a padded row, C tokens of the longest reply, N tokens of the packed batch.
"""

from typing import Any, NamedTuple

from torch import Tensor

from dycktune.data.tokens import IGNORED
from dycktune.training.packing import pack


class Scored(NamedTuple):
    """What a model thinks of each token of the replies; 0 behind their ends."""

    log_probs_BC: Tensor
    entropies_BC: Tensor | None


def score_packed(model: Any, input_ids_BT: Tensor, attention_mask_BT: Tensor, reply_tokens: int) -> Scored:
    """Score the last `reply_tokens` columns of a batch.

    Args:
        model: One for which `packing.can_pack` is true, with TRL's fused head.
        input_ids_BT: Prompts padded on the left, each followed by a reply padded on the right.
        attention_mask_BT: 0 for padding.
        reply_tokens: Columns that the replies take.
    """
    attended_BT = attention_mask_BT.bool()
    scored_BT = attended_BT.clone()
    scored_BT[:, :-reply_tokens] = False
    padding_last_BT = (~attended_BT).byte().argsort(dim=1, stable=True)
    ids_BT, attended, scored = (
        part_BT.gather(1, padding_last_BT) for part_BT in (input_ids_BT, attended_BT, scored_BT)
    )
    packed = pack(
        {
            "input_ids": ids_BT,
            "attention_mask": attended,
            "labels": ids_BT.where(scored, IGNORED),
            "label_weights": scored.float(),
            "answer_mask": scored,
        }
    )
    labels_1N = packed.targets.labels
    outputs = model(**packed.arguments(), labels=labels_1N, fused_lm_head=True)
    # Packing keeps the order of rows and of tokens.
    predicted_N = labels_1N[0, 1:] != IGNORED

    def unpacked(values_1N: Tensor) -> Tensor:
        places_BC = scored_BT[:, -reply_tokens:]
        return values_1N.new_zeros(places_BC.shape).masked_scatter(places_BC, values_1N[0][predicted_N])

    entropy = outputs.entropy
    return Scored(unpacked(outputs.log_probs), None if entropy is None else unpacked(entropy))
