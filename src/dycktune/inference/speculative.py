"""Speculative decoding: the same text as reference decoding, most of it in one forward pass.

A reply is greedy, or sampled with random numbers that are drawn beforehand (`sampling`). The drafts come from the task,
from earlier replies and from the row itself, not from a second model. A forward pass over a draft gives the model's
token at each of its positions. The draft is accepted up to the first difference, where the model's own token takes its
place, and the next pass continues from there with a new draft. Where drafts are right, one pass decodes the whole
reply; where they are always wrong, a pass is one step of reference decoding. The text is always the model's.

Floating-point sums depend on the shapes they are computed in, so two logits that nearly tie can change places. The
smallest margin between the top two logits is kept for each row. Greedy rows with a margin below `MARGIN` are decoded
again alone with `generate`, the reference. Sampled rows are not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from dycktune.inference.cache import RaggedCache
from dycktune.inference.drafts import PromptLookup, best_guess
from dycktune.inference.layout import stored_by_columns
from dycktune.inference.reference import MAX_BATCH_TOKENS, Prompt, Reply, batches, device_kind, generate
from dycktune.inference.sampling import drawn
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel

MARGIN = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.5}
"""Logit margins below which a row is decoded again alone. Shapes change float32 logits by about 1e-5. Half precisions
round logits near 20 to 1/64 (float16) and 1/8 (bfloat16), and a few such steps add up."""

MAX_FIRST_TOKENS = {"cpu": 4_096, "other": 32_768}
"""Prompt and reply tokens of a first pass, by kind of device. Where drafts are right, it is the only pass."""

MAX_LOGITS = {"cpu": 80_000_000, "other": 1_000_000_000}
"""Drafted tokens times vocabulary of one pass, by kind of device: 320 MB in float32, 2 GB in bfloat16. Longer drafts
are verified in several passes."""

MAX_DRAFT = 2048
"""Maximum number of drafted tokens of a row that one pass verifies."""

PROBE, PROBE_EVERY = 4, 4
"""Rows whose drafts are never accepted still try this many tokens, once in this many passes."""

PASS_OVERHEAD = {"cpu": 32, "other": 4_096}
"""The fixed cost of a pass in tokens, by kind of device (measured on a CPU: 3 ms, and 0.1 ms a token)."""


@dataclass
class _Row:
    prompt: Prompt
    min_margin: float
    """A smaller margin is a near tie."""
    written: list[int] = field(default_factory=list)
    margin: float = float("inf")
    uncertain: int = 0
    """Number of tokens up to the last near tie; only decoding the row alone can confirm them."""
    stop: int | None = None
    """The token that ended the reply."""
    max_draft: int = MAX_DRAFT
    """Grows while drafts are accepted, and shrinks when they are not."""

    def __post_init__(self) -> None:
        self._sources = (*self.prompt.drafts, PromptLookup(self.prompt.ids))

    def draft(self, most: int, *, least: int) -> list[int]:
        """At most `most` likely tokens. Rejected drafts shorten the next ones, but not below `least` tokens."""
        room = min(most, max(self.max_draft, least), self.prompt.limit - len(self.written) - 1)
        if room <= 0:
            return []
        return list(best_guess(self._sources, self.written, room).ids)[:room]

    def unread(self, held: int) -> list[int]:
        """Tokens that no pass has read yet, of a row with `held` tokens in the cache."""
        return self.written[-1:] or self.prompt.ids[held:]

    def accept(self, draft: list[int], top: "_Top", stops: list[int]) -> int:
        """Take the greedy part of the draft and the model's own next token. Returns the accepted length."""
        accepted = next((i for i, token in enumerate(draft) if top.ids[i] != token), len(draft))
        gained = top.ids[: accepted + 1]
        end = next((i for i, token in enumerate(gained) if token in stops), None)
        margins = top.margins[: len(gained) if end is None else end + 1]
        self.margin = min(self.margin, *margins)
        near_ties = [i for i, margin in enumerate(margins, start=1) if not margin >= self.min_margin]
        self.uncertain = len(self.written) + near_ties[-1] if near_ties else self.uncertain
        self.written += gained if end is None else gained[:end]
        self.stop = None if end is None else gained[end]
        self._adapt(accepted, len(draft))
        return accepted

    def _adapt(self, accepted: int, drafted: int) -> None:
        if accepted < drafted:
            self.max_draft = max(2 * accepted, min(self.max_draft // 4, 4 * PROBE))
        else:
            self.max_draft = min(MAX_DRAFT, max(self.max_draft, 4 * drafted))

    def uniforms(self, count: int) -> Tensor:
        """The random numbers of the next `count` tokens of a row that is sampled."""
        assert self.prompt.draws is not None
        return self.prompt.draws.uniforms[len(self.written) :][:count]

    @property
    def done(self) -> bool:
        return self.stop is not None or len(self.written) >= self.prompt.limit

    def reply(self) -> Reply:
        return Reply(ids=self.written, finished=self.stop is not None, margin=self.margin, stop=self.stop)


class _Top(NamedTuple):
    """The greedy token at each of a few positions, and its margin over the second."""

    ids: list[int]
    margins: list[float]


def decode(
    loaded: LoadedModel, prompts: Sequence[Prompt], *, on_reply: Callable[[int], None] | None = None
) -> list[Reply]:
    """Decode every prompt, greedily or as its random numbers choose.

    Args:
        loaded: The model.
        prompts: Rows of any lengths, in any order, with or without drafts.
        on_reply: Called with the number of finished rows.

    Returns:
        A reply for each prompt, in order; each equals the reply of `generate` for its row alone, a sampled one up to
        rounding of the logits.
    """
    if not _keeps_all_tokens(loaded):
        return generate(loaded, prompts, on_reply=on_reply)
    rows = [_Row(prompt, MARGIN[loaded.model.dtype]) for prompt in prompts]
    reported = 0
    with stored_by_columns(loaded.model, rows=len(rows)):
        for done in _passes(loaded, rows):
            if on_reply and done > reported:
                on_reply(done)
            reported = done
    return [_certain_reply(loaded, row) for row in rows]


def _keeps_all_tokens(loaded: LoadedModel) -> bool:
    """Whether every layer keeps the keys and values of all tokens: no sliding window, no recurrent state."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=loaded.model.config).layers)


def _passes(loaded: LoadedModel, rows: Sequence[_Row]) -> Iterator[int]:
    """Decode all rows; yields the number of finished rows after each pass.

    Rows begin in small batches, where accepted drafts finish most of them. The others wait and continue together.
    """
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    lengths = [len(row.prompt.ids) + row.prompt.limit for row in rows]
    prefix = _read_prefix(loaded, [row.prompt.ids for row in rows])
    budget, waiting = MAX_BATCH_TOKENS[device_kind(loaded)], _Batch(loaded, stops, [], RaggedCache(0))
    for chunk in batches(lengths, MAX_FIRST_TOKENS[device_kind(loaded)]):
        new = _Batch(loaded, stops, [rows[i] for i in chunk], prefix.repeated(len(chunk)))
        new.step()
        yield sum(row.done for row in rows)
        longest = lengths[chunk[-1]]
        while waiting.rows and (len(waiting.rows) + len(new.rows)) * longest > budget:
            waiting.step()
            yield sum(row.done for row in rows)
        waiting.join(new)
    while waiting.rows:
        waiting.step()
        yield sum(row.done for row in rows)


@torch.inference_mode()
def _read_prefix(loaded: LoadedModel, prompts: Sequence[list[int]]) -> RaggedCache:
    """The cache of the tokens that all prompts begin with, which are read once; at least one token of each is left."""
    cache = RaggedCache(1)
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    shared = [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, columns)]
    if len(prompts) > 1 and shared:
        ids_1P = torch.tensor([shared], device=loaded.model.device)
        loaded.model(input_ids=ids_1P, past_key_values=cache.past, use_cache=True, logits_to_keep=1)
        cache.keep([len(shared)], [0])
    return cache


class _Batch:
    """Unfinished rows that are decoded together, and their cache."""

    def __init__(self, loaded: LoadedModel, stops: list[int], rows: list[_Row], cache: RaggedCache) -> None:
        self.rows, self.cache = rows, cache
        self._loaded, self._stops, self._passes = loaded, stops, 0

    def join(self, other: "_Batch") -> None:
        """Take in the rows of `other`."""
        if self.rows and other.rows:
            self.cache.join(other.cache)
        elif other.rows:
            self.cache = other.cache
        self.rows += other.rows

    @torch.inference_mode()
    def step(self) -> None:
        """One pass: each row gets at least one token, and finished rows leave."""
        device = device_kind(self._loaded)
        most = MAX_LOGITS[device] // (len(self._loaded.tokenizer) * len(self.rows))
        least = 0 if self._passes % PROBE_EVERY else PROBE
        drafts = [row.draft(most, least=least) for row in self.rows]
        if self.rows[0].written:  # rows of a first pass are of similar length
            drafts = _cut_to_best_width(drafts, PASS_OVERHEAD[device])
        self._passes += 1
        unread = [row.unread(held) for row, held in zip(self.rows, self.cache.lengths, strict=True)]
        tops = self._forward(unread, drafts)
        gained = [
            len(ids) + row.accept(draft, top, self._stops)
            for ids, row, draft, top in zip(unread, self.rows, drafts, tops, strict=True)
        ]
        unfinished = [b for b, row in enumerate(self.rows) if not row.done]
        self.rows = [self.rows[b] for b in unfinished]
        if self.rows:
            self.cache.keep(gained, unfinished)

    def _forward(self, unread: list[list[int]], drafts: list[list[int]]) -> list[_Top]:
        """The greedy token after the last unread token of each row, and after each token of its draft."""
        inputs = [ids + draft for ids, draft in zip(unread, drafts, strict=True)]
        model, longest, first = self._loaded.model, max(map(len, inputs)), min(map(len, unread)) - 1
        # Padding is on the right, where causal attention hides it from the other tokens.
        ids_BQ = torch.tensor([ids + [self._stops[0]] * (longest - len(ids)) for ids in inputs])
        positions_BQ = torch.tensor(self.cache.lengths)[:, None] + torch.arange(longest)
        logits_BQV = model(
            input_ids=ids_BQ.to(model.device),
            position_ids=positions_BQ.to(model.device),
            attention_mask=self.cache.mask(longest, model.dtype, model.device),
            past_key_values=self.cache.past,
            use_cache=True,
            logits_to_keep=longest - first,
        ).logits
        spans = [
            slice(len(new) - 1 - first, len(row) - first) for new, row in zip(unread, inputs, strict=True)
        ]
        chosen = _top(logits_BQV) if self.rows[0].prompt.draws is None else self._drawn(logits_BQV, spans)
        ids, margins = (part_BQ.tolist() for part_BQ in chosen)
        return [_Top(ids[b][span], margins[b][span]) for b, span in enumerate(spans)]

    def _drawn(self, logits_BQV: Tensor, spans: list[slice]) -> tuple[Tensor, Tensor]:
        """The sampled token at each position, as `_top` returns the greedy one; a sample has no near ties."""
        uniforms_BQ = torch.zeros(logits_BQV.shape[:-1])
        for b, (row, span) in enumerate(zip(self.rows, spans, strict=True)):
            uniforms_BQ[b, span] = row.uniforms(span.stop - span.start)
        draws = self.rows[0].prompt.draws
        assert draws is not None
        ids_BQ = drawn(logits_BQV, uniforms_BQ.to(logits_BQV.device), draws.temperature)
        return ids_BQ, torch.full(ids_BQ.shape, float("inf"))


def _cut_to_best_width(drafts: list[list[int]], overhead: int) -> list[list[int]]:
    """The drafts, the longest cut to the width with the best expected gain for the cost of a pass.

    A row with a long draft can wait, since the other rows need more passes than it does.
    """
    rows, lengths = len(drafts), [len(draft) for draft in drafts]

    def worth(width: int) -> float:
        # About half of a draft is accepted, where `max_draft` has adapted to the row.
        gain = sum(1 + min(length, width) / 2 for length in lengths)
        return gain / (overhead + rows * (1 + width))

    width = max({0, *lengths}, key=worth)
    return [draft[:width] for draft in drafts]


def _top(logits_BQV: Tensor) -> tuple[Tensor, Tensor]:
    """The best token at each position and its margin over the second: (B, Q) each. The logits are overwritten."""
    best = logits_BQV.max(dim=-1)
    # Two plain maxima take a fraction of the time of topk.
    logits_BQV.scatter_(-1, best.indices[..., None], float("-inf"))
    return best.indices, best.values.float() - logits_BQV.amax(dim=-1).float()


def _certain_reply(loaded: LoadedModel, row: _Row) -> Reply:
    """The row's reply. A row with a near tie is decoded again alone, at first only up to its last near tie.

    If that gives the same tokens, the tokens after them are certain.
    """
    if not row.uncertain:
        return row.reply()
    (start,) = generate(loaded, [replace(row.prompt, limit=row.uncertain)])
    ended = row.uncertain > len(row.written)
    if start.ids == row.written[: row.uncertain] and start.finished == ended:
        return replace(row.reply(), alone=True)
    (reply,) = generate(loaded, [row.prompt])
    return replace(reply, alone=True)
