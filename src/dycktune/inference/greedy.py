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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from dycktune.inference.cache import RaggedCache
from dycktune.inference.plain import Prompt, Reply, batches, generate
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel

MARGIN = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.5}
"""Logit margins below which a row is decoded again alone. Shapes change float32 logits by about 1e-5; half
precisions round logits near 20 to 1/64 (float16) and 1/8 (bfloat16), and a few such steps add up."""

TOKENS_AT_ONCE = 32_768
"""Prompt and reply tokens of one batch: bounds its cache."""

LOGITS_AT_ONCE = {"cpu": 80_000_000, "other": 1_000_000_000}
"""Drafted tokens times vocabulary of one pass, by kind of device: 320 MB in float32, 2 GB in bfloat16. Longer drafts
are checked in several passes."""

TRUST = (4, 1024)
"""Fewest and most tokens of a draft that a pass checks. A row's trust starts high and follows its success."""

LOOK_BACK, LOOK_AHEAD = 3, 16
"""Without a draft: how many of the last tokens must stand earlier in the row, for how many that followed them there
to be the guess (prompt look-up)."""


@dataclass
class _Row:
    prompt: Prompt
    written: list[int] = field(default_factory=list)
    margin: float = float("inf")
    finished: bool = False
    trust: int = TRUST[1]
    rounds: int = 0

    def guess(self, window: int) -> list[int]:
        """At most `window` likely tokens. A row that has lost trust in drafts looks for one every eighth round."""
        room = min(window, self.trust, self.prompt.limit - len(self.written) - 1)
        drafted: Sequence[int] = ()
        if self.prompt.draft and (self.trust > TRUST[0] or self.rounds % 8 == 0):
            drafted = self.prompt.draft(self.written)
        return list(drafted or self._look_up())[:room]

    def _look_up(self) -> list[int]:
        """What followed the last tokens at the last place they stood before."""
        key, text = self.written[-LOOK_BACK:], self.prompt.ids + self.written[:-1]
        for start in range(len(text) - len(key), -1, -1) if key else ():
            if text[start : start + len(key)] == key:
                return text[start + len(key) : start + len(key) + LOOK_AHEAD]
        return []

    @property
    def fresh(self) -> list[int]:
        """Tokens no pass has read yet."""
        return self.written[-1:] or self.prompt.ids

    def accept(self, guess: list[int], best: list[int], margins_N: Tensor, stops: list[int]) -> int:
        """Take the guess as far as it is `best`, and the model's own token behind it; how much of it was right."""
        right = next((i for i, token in enumerate(guess) if best[i] != token), len(guess))
        gained = best[: right + 1]
        end = next((i for i, token in enumerate(gained) if token in stops), None)
        taken = len(gained) if end is None else end + 1
        self.margin = min(self.margin, float(margins_N[:taken].min()))
        self.written += gained if end is None else gained[:end]
        self.finished, self.rounds = end is not None, self.rounds + 1
        if right == len(guess):
            self.trust = min(TRUST[1], self.trust * 4)
        elif right < self.trust // 4:
            self.trust = max(TRUST[0], self.trust // 4)
        return right

    @property
    def done(self) -> bool:
        return self.finished or len(self.written) >= self.prompt.limit

    def reply(self) -> Reply:
        return Reply(ids=self.written, finished=self.finished, margin=self.margin)


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
        return generate(loaded, prompts)
    rows = [_Row(prompt) for prompt in prompts]
    lengths = [len(prompt.ids) + prompt.limit for prompt in prompts]
    done = 0
    for batch in batches(lengths, TOKENS_AT_ONCE):
        _decode_batch(loaded, [rows[i] for i in batch])
        done += len(batch)
        if on_reply:
            on_reply(done)
    return [_canonical(loaded, row) for row in rows]


def _keeps_all(loaded: LoadedModel) -> bool:
    """Whether every layer of the model keeps the keys and values of all tokens: no sliding window, no state."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=loaded.model.config).layers)


@torch.inference_mode()
def _decode_batch(loaded: LoadedModel, rows: list[_Row]) -> None:
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    logits = LOGITS_AT_ONCE["cpu" if loaded.model.device.type == "cpu" else "other"]
    cache = RaggedCache(len(rows))
    while rows:
        window = logits // (len(loaded.tokenizer) * len(rows))
        guesses = [row.guess(window) for row in rows]
        inputs = [row.fresh + guess for row, guess in zip(rows, guesses, strict=True)]
        top_values, top_ids, first = _forward(
            loaded, inputs, min(len(row.fresh) for row in rows), cache, stops
        )
        gained = []
        for b, (row, guess) in enumerate(zip(rows, guesses, strict=True)):
            read = len(row.fresh)
            told = slice(read - 1 - first, read + len(guess) - first)
            margins_N = top_values[b, told, 0] - top_values[b, told, 1]
            gained.append(read + row.accept(guess, top_ids[b, told, 0].tolist(), margins_N, stops))
        going = [b for b, row in enumerate(rows) if not row.done]
        rows = [rows[b] for b in going]
        if rows:
            cache.keep(gained, going)


def _forward(
    loaded: LoadedModel, inputs: list[list[int]], fresh: int, cache: RaggedCache, stops: list[int]
) -> tuple[Tensor, Tensor, int]:
    """The two highest logits and their ids at each position from the last of `fresh` on: (B, Q - first, 2) each."""
    model, longest = loaded.model, max(map(len, inputs))
    # Padding stands on the right, where causal attention never looks back from.
    ids_BQ = torch.tensor([ids + [stops[0]] * (longest - len(ids)) for ids in inputs])
    positions_BQ = torch.tensor(cache.lengths)[:, None] + torch.arange(longest)
    first = fresh - 1
    logits_BQV = model(
        input_ids=ids_BQ.to(model.device),
        position_ids=positions_BQ.to(model.device),
        attention_mask=cache.mask(longest, model.dtype, model.device),
        past_key_values=cache.past,
        use_cache=True,
        logits_to_keep=longest - first,
    ).logits
    top = logits_BQV.topk(2)
    return top.values.float().cpu(), top.indices.cpu(), first


def _canonical(loaded: LoadedModel, row: _Row) -> Reply:
    if row.margin >= MARGIN[loaded.model.dtype]:
        return row.reply()
    (reply,) = generate(loaded, [row.prompt])
    return replace(reply, alone=True)
