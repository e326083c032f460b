"""Greedy decoding with a draft: the same text, most of it in one forward pass.

Greedy text equals a draft exactly as far as the argmax at each position, teacher-forced, equals the draft. So a
forward pass over prompt and draft yields every token up to the first difference and the model's own token
there; the next round goes on behind it. Where the draft is right, one pass decodes the whole reply; where it
never is, a few rounds are lost and `generate` goes on. The text is the model's in every case.

Floating-point sums depend on the shapes they are computed in, so two logits that nearly tie can change places.
The smallest margin between the top two logits is kept for each row, and rows that came closer than `MARGIN` are
decoded again alone with `generate`, which is the one canonical way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dycktune.inference.plain import Prompt, Reply, batches, generate
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel

MARGIN = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.5}
"""Logit margins below which a row is decoded again alone. Shapes change float32 logits by about 1e-5; half
precisions round logits near 20 to 1/64 (float16) and 1/8 (bfloat16), and a few such steps add up."""

LOGITS_AT_ONCE = 40_000_000
"""Positions times vocabulary of one forward pass, 160 MB in float32."""

ROUNDS = 16
"""Forward passes a row gets before `generate` takes over."""

LOOK_BACK = 3
"""How many of the last tokens must stand earlier in the row for what followed them there to be a guess."""

LOOK_AHEAD = 64
"""How many tokens such a guess has."""


@dataclass
class _Row:
    prompt: Prompt
    written: list[int] = field(default_factory=list)
    margin: float = float("inf")
    finished: bool = False
    rounds: int = 0
    last_gain: int = 0

    def guess(self) -> list[int]:
        """Likely next tokens.

        The draft from here on; where that has just failed, what follows the last tokens elsewhere in the
        draft, or what followed them earlier in the row.
        """
        room = self.prompt.limit - len(self.written) - 1
        draft = list(self.prompt.draft)
        in_step = self.rounds == 0 or self.last_gain > LOOK_BACK
        if in_step and len(self.written) < len(draft):
            return draft[len(self.written) :][:room]
        key = self.written[-LOOK_BACK:]
        elsewhere = _look_up(key, draft) or _look_up(key, self.prompt.ids + self.written[:-1])
        return elsewhere[:room]

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
    rows = [_Row(prompt) for prompt in prompts]
    waiting = [row for row in rows if row.prompt.draft]
    while waiting:
        _round(loaded, waiting)
        waiting = [row for row in waiting if not row.done and row.rounds < ROUNDS]
        if on_reply:
            on_reply(sum(row.done for row in rows))
    _finish(loaded, [row for row in rows if not row.done])
    replies = [_canonical(loaded, row) for row in rows]
    if on_reply:
        on_reply(len(rows))
    return replies


def _round(loaded: LoadedModel, rows: list[_Row]) -> None:
    """One forward pass for each row: accept its guess as far as it holds, and the model's token behind it."""
    guesses = [row.guess() for row in rows]
    lengths = [len(r.prompt.ids) + len(r.written) + len(g) for r, g in zip(rows, guesses, strict=True)]
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    for batch in batches(lengths, max(1, LOGITS_AT_ONCE // len(loaded.tokenizer))):
        _forward([rows[i] for i in batch], [guesses[i] for i in batch], loaded, stops)


@torch.inference_mode()
def _forward(rows: list[_Row], guesses: list[list[int]], loaded: LoadedModel, stops: list[int]) -> None:
    texts = [row.prompt.ids + row.written + guess for row, guess in zip(rows, guesses, strict=True)]
    longest = max(map(len, texts))
    # Right padding needs no mask: attention is causal, and nothing behind a row's end is read.
    ids_BT = torch.tensor([text + [stops[0]] * (longest - len(text)) for text in texts])
    logits_BTV = loaded.model(input_ids=ids_BT.to(loaded.model.device), use_cache=False).logits
    top = logits_BTV.topk(2)
    margins_BT = (top.values[..., 0] - top.values[..., 1]).float().cpu()
    best_BT = top.indices[..., 0].cpu()
    for i, (row, guess) in enumerate(zip(rows, guesses, strict=True)):
        start = len(row.prompt.ids) + len(row.written) - 1
        window = slice(start, start + len(guess) + 1)
        _accept(row, guess, best_BT[i, window].tolist(), margins_BT[i, window], stops)


def _accept(row: _Row, guess: list[int], best: list[int], margins_N: Tensor, stops: list[int]) -> None:
    right = next((i for i, token in enumerate(guess) if best[i] != token), len(guess))
    gained = best[: right + 1]
    end = next((i for i, token in enumerate(gained) if token in stops), None)
    taken = len(gained) if end is None else end + 1
    row.margin = min(row.margin, float(margins_N[:taken].min()))
    row.written += gained if end is None else gained[:end]
    row.finished = end is not None
    row.last_gain, row.rounds = taken, row.rounds + 1


def _look_up(key: list[int], text: list[int]) -> list[int]:
    """What follows `key` in `text` (prompt look-up), at the last place it stands; nothing where it does not."""
    for start in range(len(text) - len(key), -1, -1):
        if text[start : start + len(key)] == key:
            return text[start + len(key) : start + len(key) + LOOK_AHEAD]
    return []


def _finish(loaded: LoadedModel, rows: list[_Row]) -> None:
    """Let `generate` go on from what has been written."""
    prompts = [
        Prompt(ids=row.prompt.ids + row.written, limit=row.prompt.limit - len(row.written)) for row in rows
    ]
    for row, reply in zip(rows, generate(loaded, prompts), strict=True):
        row.written, row.finished = row.written + reply.ids, reply.finished
        row.margin = min(row.margin, reply.margin)


def _canonical(loaded: LoadedModel, row: _Row) -> Reply:
    if row.margin >= MARGIN[loaded.model.dtype]:
        return row.reply()
    (reply,) = generate(loaded, [row.prompt])
    return replace(reply, alone=True)
