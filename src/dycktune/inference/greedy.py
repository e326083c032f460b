"""Greedy decoding, the same in every batch.

Batched floating-point sums depend on the batch, so two logits that nearly tie can change places with the
company a row is in. The smallest margin between the top two logits is recorded for every row, and rows that
came closer than `MARGIN` are decoded again alone, which is the one canonical way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel

MARGIN = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.5}
"""Logit margins below which a row is decoded again alone. Measured batch effects are about 1e-5 in float32;
half precisions round logits near 20 to 1/64 (float16) and 1/8 (bfloat16), and a few such steps add up."""

TOKENS_AT_ONCE = 65_536
"""Prompt and reply tokens held in one batch's cache."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model wrote to one prompt."""

    ids: list[int]
    """Without the stop token."""
    finished: bool
    """Whether the model ended its turn within the limit."""
    margin: float
    """The smallest difference between the two highest logits at any step."""
    alone: bool
    """Whether the row was decoded again by itself because of its margin."""


@dataclass(frozen=True)
class Prompt:
    """One row to decode."""

    ids: list[int]
    limit: int
    """The most tokens the reply may have."""


class _Margins(LogitsProcessor):
    """Looks at the logits of every step and changes nothing."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's signature
        top_B2 = scores.float().topk(2).values
        self.steps.append(top_B2[:, 0] - top_B2[:, 1])
        return scores


def decode(
    loaded: LoadedModel, prompts: Sequence[Prompt], *, on_reply: Callable[[int], None] | None = None
) -> list[Reply]:
    """Decode every prompt greedily with the model's own `generate`.

    Args:
        loaded: The model.
        prompts: Rows of any lengths, in any order.
        on_reply: Called with the number of rows finished so far.

    Returns:
        A reply for each prompt, in order, the same whatever rows stand beside it.
    """
    replies: list[Reply | None] = [None] * len(prompts)
    done = 0
    for batch in batches(prompts):
        for i, reply in zip(batch, _decode_batch(loaded, [prompts[i] for i in batch]), strict=True):
            near_tie = reply.margin < MARGIN[loaded.model.dtype]
            replies[i] = _alone(loaded, prompts[i]) if near_tie and len(batch) > 1 else reply
        done += len(batch)
        if on_reply:
            on_reply(done)
    return [reply for reply in replies if reply is not None]


def batches(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of `prompts` in batches of similar length that fit `TOKENS_AT_ONCE`."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids) + prompts[i].limit)
    chunks: list[list[int]] = [[]]
    for i in order:
        if chunks[-1] and (len(chunks[-1]) + 1) * (len(prompts[i].ids) + prompts[i].limit) > TOKENS_AT_ONCE:
            chunks.append([])
        chunks[-1].append(i)
    return [chunk for chunk in chunks if chunk]


def _alone(loaded: LoadedModel, prompt: Prompt) -> Reply:
    (reply,) = _decode_batch(loaded, [prompt])
    return Reply(ids=reply.ids, finished=reply.finished, margin=reply.margin, alone=True)


@torch.inference_mode()
def _decode_batch(loaded: LoadedModel, prompts: list[Prompt]) -> list[Reply]:
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    pad = loaded.tokenizer.pad_token_id if loaded.tokenizer.pad_token_id is not None else stops[0]
    longest = max(len(prompt.ids) for prompt in prompts)
    # Left padding: every row's next token then stands in the last column.
    ids_BT = torch.tensor([[pad] * (longest - len(p.ids)) + p.ids for p in prompts])
    mask_BT = torch.tensor([[0] * (longest - len(p.ids)) + [1] * len(p.ids) for p in prompts])
    margins = _Margins()
    written_BT = loaded.model.generate(
        ids_BT.to(loaded.model.device),
        attention_mask=mask_BT.to(loaded.model.device),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=max(prompt.limit for prompt in prompts),
            eos_token_id=stops,
            pad_token_id=pad,
        ),
        logits_processor=LogitsProcessorList([margins]),
    )
    margins_TB = torch.stack(margins.steps).cpu()
    rows = written_BT[:, longest:].tolist()
    return [
        _reply(row, prompt.limit, stops, margins_TB[:, i])
        for i, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
    ]


def _reply(row: list[int], limit: int, stops: list[int], margins_T: Tensor) -> Reply:
    end = next((i for i, token in enumerate(row[:limit]) if token in stops), None)
    steps = min(limit, len(row)) if end is None else end + 1
    return Reply(
        ids=row[:steps] if end is None else row[:end],
        finished=end is not None,
        margin=float(margins_T[:steps].min()),
        alone=False,
    )
