"""Greedy decoding with a draft: the same text, most of it in one forward pass.

Greedy text equals a draft exactly as far as the argmax at each position, teacher-forced, equals the draft. So a
forward pass over a draft yields every token up to the first difference and the model's own token there; the
next round goes on behind it, drafted anew from what the model has written. Where drafts are right, one pass
decodes the whole reply; where they never are, a round is one step of plain decoding. The text is the model's in
every case.

Floating-point sums depend on the shapes they are computed in, so two logits that nearly tie can change places.
The smallest margin between the top two logits is kept for each row, and rows that came closer than `MARGIN` are
decoded again alone with `generate`, which is the one canonical way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from dycktune.inference.cache import RaggedCache
from dycktune.inference.drafts import LookUp
from dycktune.inference.reference import TOKENS_AT_ONCE, Prompt, Reply, batches, generate, kind
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel

MARGIN = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.5}
"""Logit margins below which a row is decoded again alone. Shapes change float32 logits by about 1e-5; half
precisions round logits near 20 to 1/64 (float16) and 1/8 (bfloat16), and a few such steps add up."""

FRESH_AT_ONCE = {"cpu": 4_096, "other": 32_768}
"""Prompt and reply tokens of the rows that begin together, by kind of device: where drafts are right, this first
pass is the only one."""

LOGITS_AT_ONCE = {"cpu": 80_000_000, "other": 1_000_000_000}
"""Drafted tokens times vocabulary of one pass, by kind of device: 320 MB in float32, 2 GB in bfloat16. Longer drafts
are checked in several passes."""

TRUST = 2048
"""The most tokens of a row's draft that a pass checks: the first one so many, then a few times what came true."""

PROBE, PROBE_EVERY = 4, 4
"""Rows that have lost all trust in drafts try so many tokens once in so many passes."""

OVERHEAD = {"cpu": 32, "other": 4_096}
"""What a pass costs whatever it reads, in tokens, by kind of device (measured on a CPU: 3 ms, 0.1 ms a token)."""


@dataclass
class _Row:
    prompt: Prompt
    near: float
    """Margins below it are near ties."""
    written: list[int] = field(default_factory=list)
    margin: float = float("inf")
    decided: int = 0
    """Tokens up to the last near tie, which only decoding alone can tell for certain."""
    finished: bool = False
    trust: int = TRUST

    def __post_init__(self) -> None:
        self._look_up = LookUp(self.prompt.ids)

    def guess(self, most: int, *, least: int) -> list[int]:
        """At most `most` likely tokens, though the row may trust in no more than `least`."""
        room = min(most, max(self.trust, least), self.prompt.limit - len(self.written) - 1)
        if room <= 0:
            return []
        drafted = self.prompt.draft(self.written, room) if self.prompt.draft else ()
        return list(drafted or self._look_up(self.written, room))[:room]

    @property
    def fresh(self) -> list[int]:
        """Tokens no pass has read yet."""
        return self.written[-1:] or self.prompt.ids

    def accept(self, guess: list[int], top: "_Top", stops: list[int]) -> int:
        """Take the guess as far as it is the best, and the model's own token behind it; how much of it was right."""
        right = next((i for i, token in enumerate(guess) if top.ids[i] != token), len(guess))
        gained = top.ids[: right + 1]
        end = next((i for i, token in enumerate(gained) if token in stops), None)
        margins = top.margins[: len(gained) if end is None else end + 1]
        self.margin = min(self.margin, *margins)
        near = [i for i, margin in enumerate(margins, start=1) if not margin >= self.near]
        self.decided = len(self.written) + near[-1] if near else self.decided
        self.written += gained if end is None else gained[:end]
        self.finished = end is not None
        self._trust_by(right, len(guess))
        return right

    def _trust_by(self, right: int, guessed: int) -> None:
        if right < guessed:
            self.trust = max(2 * right, min(self.trust // 4, 4 * PROBE))
        else:
            self.trust = min(TRUST, max(self.trust, 4 * guessed))

    @property
    def done(self) -> bool:
        return self.finished or len(self.written) >= self.prompt.limit

    def reply(self) -> Reply:
        return Reply(ids=self.written, finished=self.finished, margin=self.margin)


class _Top(NamedTuple):
    """The best token at each of a few positions, and its margin over the second."""

    ids: list[int]
    margins: list[float]


def decode(
    loaded: LoadedModel, prompts: Sequence[Prompt], *, on_reply: Callable[[int], None] | None = None
) -> list[Reply]:
    """Decode every prompt greedily.

    Args:
        loaded: The model.
        prompts: Rows of any lengths, in any order, with or without drafts.
        on_reply: Called with the number of rows finished so far.

    Returns:
        A reply for each prompt, in order; each is what `generate` gives for its row alone.
    """
    if not _keeps_all(loaded):
        return generate(loaded, prompts, on_reply=on_reply)
    near = MARGIN[loaded.model.dtype]
    rows = [_Row(prompt, near) for prompt in prompts]
    told = 0
    for done in _passes(loaded, rows):
        if on_reply and done > told:
            on_reply(done)
        told = done
    return [_canonical(loaded, row) for row in rows]


def _keeps_all(loaded: LoadedModel) -> bool:
    """Whether every layer of the model keeps the keys and values of all tokens: no sliding window, no state."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=loaded.model.config).layers)


def _passes(loaded: LoadedModel, rows: Sequence[_Row]) -> Iterator[int]:
    """Decode all rows; after each pass, how many are done.

    Few rows begin together, and drafts that are right end them there; the others wait and go on together.
    """
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    lengths = [len(row.prompt.ids) + row.prompt.limit for row in rows]
    budget, waiting = TOKENS_AT_ONCE[kind(loaded)], _Batch(loaded, stops, [])
    for chunk in batches(lengths, FRESH_AT_ONCE[kind(loaded)]):
        fresh = _Batch(loaded, stops, [rows[i] for i in chunk])
        fresh.step()
        yield sum(row.done for row in rows)
        longest = lengths[chunk[-1]]
        while waiting.rows and (len(waiting.rows) + len(fresh.rows)) * longest > budget:
            waiting.step()
            yield sum(row.done for row in rows)
        waiting.join(fresh)
    while waiting.rows:
        waiting.step()
        yield sum(row.done for row in rows)


class _Batch:
    """Rows that are decoded together, none of them done, and their cache."""

    def __init__(self, loaded: LoadedModel, stops: list[int], rows: list[_Row]) -> None:
        self.rows = rows
        self._loaded, self._stops, self._passes = loaded, stops, 0
        self.cache = RaggedCache(len(rows))

    def join(self, other: "_Batch") -> None:
        """Take in the rows of `other`."""
        if self.rows and other.rows:
            self.cache.join(other.cache)
        elif other.rows:
            self.cache = other.cache
        self.rows += other.rows

    @torch.inference_mode()
    def step(self) -> None:
        """One pass: each row gets at least one token, and those that are done leave."""
        device = kind(self._loaded)
        most = LOGITS_AT_ONCE[device] // (len(self._loaded.tokenizer) * len(self.rows))
        least = 0 if self._passes % PROBE_EVERY else PROBE
        guesses = [row.guess(most, least=least) for row in self.rows]
        if self.cache.lengths[0]:  # rows that begin together are of similar length
            guesses = _levelled(guesses, OVERHEAD[device])
        self._passes += 1
        read = [len(row.fresh) for row in self.rows]
        tops = self._forward([row.fresh + guess for row, guess in zip(self.rows, guesses, strict=True)], read)
        gained = [
            n + row.accept(guess, top, self._stops)
            for n, row, guess, top in zip(read, self.rows, guesses, tops, strict=True)
        ]
        going = [b for b, row in enumerate(self.rows) if not row.done]
        self.rows = [self.rows[b] for b in going]
        if self.rows:
            self.cache.keep(gained, going)

    def _forward(self, inputs: list[list[int]], read: list[int]) -> list[_Top]:
        """For each row what is best behind each of its inputs, from the last of the first `read` on."""
        model, longest, first = self._loaded.model, max(map(len, inputs)), min(read) - 1
        # Padding stands on the right, where causal attention never looks back from.
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
        ids, margins = (part_BQ.tolist() for part_BQ in _top(logits_BQV))
        spans = [slice(n - 1 - first, len(row) - first) for n, row in zip(read, inputs, strict=True)]
        return [_Top(ids[b][span], margins[b][span]) for b, span in enumerate(spans)]


def _levelled(guesses: list[list[int]], overhead: int) -> list[list[int]]:
    """The guesses, the longest cut to the width at which a pass is likely to gain most for what it costs.

    A row whose draft is long has time, since the others need more passes than it does.
    """
    rows, lengths = len(guesses), [len(guess) for guess in guesses]

    def worth(width: int) -> float:
        # Half of a guess comes true, where the rows' trust is right.
        gain = sum(1 + min(length, width) / 2 for length in lengths)
        return gain / (overhead + rows * (1 + width))

    width = max({0, *lengths}, key=worth)
    return [guess[:width] for guess in guesses]


def _top(logits_BQV: Tensor) -> tuple[Tensor, Tensor]:
    """The best token's id at each position and its margin over the second: (B, Q) each. The logits are spoilt."""
    best = logits_BQV.max(dim=-1)
    # Two plain maxima take a fraction of the time of topk.
    logits_BQV.scatter_(-1, best.indices[..., None], float("-inf"))
    return best.indices, best.values.float() - logits_BQV.amax(dim=-1).float()


def _canonical(loaded: LoadedModel, row: _Row) -> Reply:
    """The row's reply; one that came near a tie is decoded again alone, as far as its last near tie at first.

    Where that gives the same tokens, what follows them is certain.
    """
    if not row.decided:
        return row.reply()
    (start,) = generate(loaded, [replace(row.prompt, limit=row.decided)])
    ended = row.decided > len(row.written)
    if start.ids == row.written[: row.decided] and start.finished == ended:
        return replace(row.reply(), alone=True)
    (reply,) = generate(loaded, [row.prompt])
    return replace(reply, alone=True)
