"""Build `builtin:tiny` again: `python -m dycktune.models.tiny.pretrain OUT --steps N`."""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import pre_tokenizers
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dycktune.models.loading import default_device, in_bfloat16
from dycktune.models.tiny.procedural import Page, draw_page
from dycktune.models.tiny.vocabulary import END, PAD, build_tokenizer

MAX_LENGTH = 16384
"""Positions the model accepts: a 400-bracket tower with its whole trace fits."""

ROPE = {"rope_type": "default", "rope_theta": 1e7}
"""Of Llama's usual 1e4, no pair of a head's dimensions would stay as it is over a long trace; of this, six of 16 do,
and a key is found by its content as well from afar as from near. The others turn as fast as distances need."""

FARTHEST = 4_000
"""The longest gap between two sections of a page."""

LONGEST = 405
"""Symbols that a long page lists at most; one without records lists twice as many, nearly all numbers there are."""

LONG_SHARE = 0.12
"""How many of the pages are long once short ones are known, unless said otherwise."""


class Batch(NamedTuple):
    """Padded pages. B pages, T positions, N learnt tokens."""

    ids_BT: Tensor
    positions_BT: Tensor
    learnt_N: Tensor
    """Flat indices into B x (T - 1) of the positions whose next token is learnt."""
    targets_N: Tensor


def config(vocabulary_size: int, *, hidden: int, layers: int, pad: int, end: int) -> LlamaConfig:
    """A Llama with heads of 32, attention biases and a tied embedding.

    Not a Qwen2, which it otherwise equals: transformers loads any tokenizer beside a Qwen2 as Qwen's own.
    """
    return LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=MAX_LENGTH,
        rope_parameters=ROPE,
        attention_bias=True,
        tie_word_embeddings=True,
        pad_token_id=pad,
        eos_token_id=end,
        bos_token_id=None,
    )


class PieceIds:
    """Pieces of a page to token ids, without the tokenizer's search."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        self._vocabulary = tokenizer.get_vocab()
        self._to_bytes = lambda piece: to_bytes.pre_tokenize_str(piece)[0][0]
        self._known: dict[str, int] = {}

    def __call__(self, piece: str) -> int:
        """The id of one piece."""
        if piece not in self._known:
            key = piece if piece in self._vocabulary else self._to_bytes(piece)
            self._known[piece] = self._vocabulary[key]
        return self._known[piece]


def _positions(page: Page, rng: random.Random) -> Tensor:
    """The page's positions, as if a text of random length stood between some of its sections.

    So it is met from afar what a longer page would hold in between, at the price of a short one.
    """
    gaps_T = torch.zeros(len(page.pieces), dtype=torch.long)
    for border in page.borders:
        if rng.random() < 0.4:
            gaps_T[border] = int(FARTHEST ** rng.random())
    positions_T = torch.arange(len(page.pieces)) + gaps_T.cumsum(0)
    # What would lie beyond the last position has no gaps.
    return positions_T if positions_T[-1] < MAX_LENGTH else torch.arange(len(page.pieces))


def _collate(pages: list[Page], ids: PieceIds, pad: int, rng: random.Random) -> Batch:
    longest = max(len(page.pieces) for page in pages)
    ids_BT = torch.full((len(pages), longest), pad)
    positions_BT = torch.zeros((len(pages), longest), dtype=torch.long)
    learnt_BT = torch.zeros((len(pages), longest), dtype=torch.bool)
    for row, page in enumerate(pages):
        ids_BT[row, : len(page.pieces)] = torch.tensor([ids(piece) for piece in page.pieces])
        positions_BT[row, : len(page.pieces)] = _positions(page, rng)
        learnt_BT[row, : len(page.learnt)] = torch.tensor(page.learnt)
    learnt_N = learnt_BT[:, 1:].flatten().nonzero().squeeze(1)
    return Batch(ids_BT, positions_BT, learnt_N, ids_BT[:, 1:].flatten()[learnt_N])


def batches(
    rng: random.Random, ids: PieceIds, pad: int, *, steps: int, tokens: int, grown: bool, long_share: float
) -> Iterator[Batch]:
    """A batch a step: pages of similar length, at most `tokens` positions unless one page is longer."""
    step = 0
    while True:
        longest = _longest(1.0 if grown else step / steps)
        reach = [LONGEST if grown and rng.random() < long_share else longest for _ in range(192)]
        pages = sorted((draw_page(rng, symbols) for symbols in reach), key=lambda page: len(page.pieces))
        chunks: list[list[Page]] = [[]]
        for page in pages:
            if (len(chunks[-1]) + 1) * len(page.pieces) > tokens and chunks[-1]:
                chunks.append([])
            chunks[-1].append(page)
        rng.shuffle(chunks)
        for chunk in chunks:
            yield _collate(chunk, ids, pad, rng)
            step += 1
            if step == steps:
                return


def _gone_on_from(start: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model of an earlier call, each token's embedding moved to its id in `tokenizer`; a new token's is drawn."""
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32, rope_parameters=ROPE)
    before, now = PreTrainedTokenizerFast.from_pretrained(start).get_vocab(), tokenizer.get_vocab()
    old_VH = model.model.embed_tokens.weight.detach().clone()
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for token, i in now.items():
        if token in before:
            model.model.embed_tokens.weight.data[i] = old_VH[before[token]]
    model.config.pad_token_id, model.config.eos_token_id = now[PAD], now[END]
    model.generation_config = GenerationConfig.from_model_config(model.config)
    return model


def _logits(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """(N, V) logits of the learnt tokens, in bfloat16's precision where the device multiplies it at full speed.

    Pages are padded on the right, where nothing looks, so the mask leaves nothing out. It is given because, where there
    is none, transformers may take a gap in the positions for the border between two texts.
    """
    whole_BT = torch.ones_like(batch.ids_BT)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=in_bfloat16("auto")):
        output = model.model(batch.ids_BT, attention_mask=whole_BT, position_ids=batch.positions_BT)
        return model.lm_head(output.last_hidden_state[:, :-1].flatten(0, 1)[batch.learnt_N]).float()


def _optimizers(model: LlamaForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding, biases and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate_factor(done: float, step: int) -> float:
    """Warm up over 100 steps and stay; fall linearly over the last 40 % of the run."""
    return min(1.0, (step + 1) / 100, (1 - done) / 0.4)


def _longest(done: float) -> int:
    """Symbols a page lists: 8 to 40 over the first half of the run, then up to 110; short look-ups come first."""
    return 8 + math.floor(64 * done) if done < 0.5 else 40 + math.floor(140 * (done - 0.5))


def pretrain(
    out: Path,
    *,
    start: Path | None,
    steps: int,
    hidden: int,
    layers: int,
    rate: float,
    tokens: int,
    seed: int,
    long_share: float = LONG_SHARE,
    averaged: bool = False,
) -> None:
    """Train the base, from `start` where given, and write it with its tokenizer to `out`; on the accelerator, if any.

    A line of figures every 50 steps. A start has met short pages already, so `long_share` of its pages are long from
    the first. `averaged` writes the mean of the weights it began with and those it ends with.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = build_tokenizer()
    pad, end = (tokenizer.get_vocab()[token] for token in (PAD, END))
    if start is None:
        model = LlamaForCausalLM(config(len(tokenizer), hidden=hidden, layers=layers, pad=pad, end=end))
    else:
        model = _gone_on_from(start, tokenizer)
    model.to(default_device())  # pyright: ignore[reportArgumentType]
    began = [p.detach().clone() for p in model.parameters()]
    optimizers, ids = _optimizers(model, rate), PieceIds(tokenizer)
    drawn = batches(rng, ids, pad, steps=steps, tokens=tokens, grown=start is not None, long_share=long_share)
    started, seen, correct, learnt = time.time(), 0, 0, 0
    for step, drawn_batch in enumerate(drawn, start=1):
        batch = Batch(*(tensor.to(model.device) for tensor in drawn_batch))
        logits_NV = _logits(model, batch)
        F.cross_entropy(logits_NV, batch.targets_N).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * _rate_factor((step - 1) / steps, step - 1)
            optimizer.step()
            optimizer.zero_grad()
        seen += batch.ids_BT.numel()
        correct += int((logits_NV.argmax(-1) == batch.targets_N).sum())
        learnt += len(batch.targets_N)
        if step % 50 == 0:
            speed = round(seen / (time.time() - started))
            row = {"step": step, "accuracy": round(correct / learnt, 5), "tokens": seen}
            print(json.dumps({**row, "tokens_per_second": speed}), flush=True)
            correct = learnt = 0
        if step % 1000 == 0 and step < steps:
            _save(model, tokenizer, out)
    if averaged:
        _move_half_way_back(model, began)
    _save(model, tokenizer, out)


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


@torch.no_grad()
def _move_half_way_back(model: LlamaForCausalLM, began: list[Tensor]) -> None:
    """To the mean of two points of one training, where the chance of the last batches weighs less.

    Izmailov et al., 2018: https://arxiv.org/abs/1803.05407
    """
    for now, before in zip(model.parameters(), began, strict=True):
        now.lerp_(before, 0.5)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--start", type=Path, help="weights of an earlier call to go on from")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--tokens", type=int, default=3072)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--long-share", type=float, default=LONG_SHARE, help="how many pages are long, of a start's"
    )
    parser.add_argument("--averaged", action="store_true", help="write the mean of the start and the end")
    options = vars(parser.parse_args())
    if options["averaged"] and options["start"] is None:
        parser.error("--averaged is the mean of what --start names and the end; give --start")
    pretrain(options.pop("out"), **options)


if __name__ == "__main__":
    main()
