"""Reference decoding with the model's own `generate`, greedy or sampled. Every faster way must give the same text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from dycktune.inference.sampling import Draws, drawn
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel

MAX_BATCH_TOKENS = {"cpu": 8_192, "other": 65_536}
"""Prompt and reply tokens of the rows that are decoded together, by kind of device; it bounds their cache. On a CPU,
memory outside the processor's cache costs more than a larger batch saves."""


class Guess(NamedTuple):
    """A likely continuation of a reply."""

    ids: Sequence[int]
    """Stop token included; none for no guess."""
    support: float
    """How many of the last tokens of the reply the source has seen before this continuation; infinite where the source
    agrees with the whole reply."""


NO_GUESS = Guess((), 0)


class Drafter(Protocol):
    """A source of drafts: guesses how a reply continues."""

    def __call__(self, written: Sequence[int], room: int, /) -> Guess:
        """At most `room` ids that are likely to follow `written`.

        `written` is empty in the first call of a reply, and only grows from call to call.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One row to decode."""

    ids: list[int]
    limit: int
    """Maximum number of tokens of the reply."""
    drafts: tuple[Drafter, ...] = ()
    """They decide how fast the reply is decoded, never its text; of equally good guesses the first source's counts."""
    draws: Draws | None = None
    """The random numbers of a reply that is sampled; None for greedy decoding. All prompts of a call agree in this."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The model's reply to one prompt."""

    ids: list[int]
    """Without the stop token."""
    finished: bool
    """Whether the model ended its turn within the limit."""
    margin: float
    """The smallest difference between the two highest logits over all steps; infinite for a sampled reply."""
    stop: int | None = None
    """The token that ended the turn; None where the limit did."""
    alone: bool = False
    """Whether the row was decoded again alone because of its margin."""


class _Margins(LogitsProcessor):
    """Records the margin of every step and changes nothing."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's signature
        top_B2 = scores.float().topk(2).values
        self.steps.append(top_B2[:, 0] - top_B2[:, 1])
        return scores


class _Drawn(LogitsProcessor):
    """Leaves only the token that is drawn at each step, so that the greedy choice is the sampled one."""

    def __init__(self, draws: Sequence[Draws], limit: int) -> None:
        rows = [draw.uniforms[:limit] for draw in draws]
        self._uniforms_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        self._temperature, self._step = draws[0].temperature, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's signature
        uniforms_B1 = self._uniforms_BT[:, self._step, None].to(scores.device)
        ids_B1 = drawn(scores[:, None], uniforms_B1, self._temperature)
        self._step += 1
        return torch.full_like(scores, float("-inf")).scatter_(1, ids_B1, 0.0)


def generate(
    loaded: LoadedModel, prompts: Sequence[Prompt], *, on_reply: Callable[[int], None] | None = None
) -> list[Reply]:
    """Decode every prompt, in batches of similar length.

    Args:
        loaded: The model.
        prompts: Rows of any lengths; drafts are not used.
        on_reply: Called with the number of finished rows.

    Returns:
        A reply for each prompt, in order.
    """
    replies: dict[int, Reply] = {}
    lengths = [len(prompt.ids) + prompt.limit for prompt in prompts]
    for batch in batches(lengths, MAX_BATCH_TOKENS[device_kind(loaded)]):
        written = generate_batch(loaded, [prompts[i] for i in batch])
        replies |= dict(zip(batch, written, strict=True))
        if on_reply:
            on_reply(len(replies))
    return [replies[i] for i in range(len(prompts))]


def device_kind(loaded: LoadedModel) -> str:
    """The kind of device a model is on: `cpu` or `other`."""
    return "cpu" if loaded.model.device.type == "cpu" else "other"


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in batches of similar length, each of at most `budget` positions when padded to its longest."""
    chunks: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not chunks or (len(chunks[-1]) + 1) * lengths[i] > budget:
            chunks.append([])
        chunks[-1].append(i)
    return chunks


@torch.inference_mode()
def generate_batch(
    loaded: LoadedModel, prompts: Sequence[Prompt], *, watch: StoppingCriteria | None = None
) -> list[Reply]:
    """Decode prompts in one batch; `watch` sees the ids after every step."""
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    pad = loaded.tokenizer.pad_token_id if loaded.tokenizer.pad_token_id is not None else stops[0]
    longest = max(len(prompt.ids) for prompt in prompts)
    # Left padding puts the next token of every row into the last column.
    ids_BT = torch.tensor([[pad] * (longest - len(p.ids)) + p.ids for p in prompts])
    mask_BT = torch.tensor([[0] * (longest - len(p.ids)) + [1] * len(p.ids) for p in prompts])
    longest_limit = max(prompt.limit for prompt in prompts)
    draws = _Drawn([p.draws for p in prompts if p.draws], longest_limit) if prompts[0].draws else None
    margins = _Margins()
    written_BT = loaded.model.generate(  # pyright: ignore[reportCallIssue]
        ids_BT.to(loaded.model.device),
        attention_mask=mask_BT.to(loaded.model.device),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=longest_limit,
            eos_token_id=stops,
            pad_token_id=pad,
        ),
        logits_processor=LogitsProcessorList([margins if draws is None else draws]),
        stopping_criteria=StoppingCriteriaList([watch] if watch else []),
    )
    rows = written_BT[:, longest:].tolist()
    margins_TB = torch.stack(margins.steps).cpu() if draws is None else torch.full((1, len(rows)), math.inf)
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
        stop=None if end is None else row[end],
    )
