"""Pretrain `builtin:tiny`: `python -m dycktune.models.tiny.pretrain OUT --steps N`."""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dycktune.models.loading import default_device
from dycktune.models.precision import in_bfloat16
from dycktune.models.tiny.batches import MAX_LENGTH, Batch, PieceIds, batches
from dycktune.models.tiny.vocabulary import END, PAD, build_tokenizer

ROPE = {"rope_type": "default", "rope_theta": 1e7}
"""With Llama's usual theta of 1e4, all pairs of head dimensions rotate noticeably over a long trace. With 1e7, six of
16 pairs hardly rotate, so that a key is found by its content at any distance. The other pairs measure distances."""

LONG_SHARE = 0.12
"""Share of long pages where the training continues from earlier weights."""


def config(vocabulary_size: int, *, hidden: int, layers: int, pad: int, end: int) -> LlamaConfig:
    """A Llama with heads of 32 dimensions, attention biases and tied embeddings.

    A Qwen2 has the same architecture, but transformers replaces any tokenizer beside a Qwen2 by Qwen's own.
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
    """Train the base on the accelerator, if there is one, and print a line of figures every 50 steps.

    Args:
        out: The folder for the model and its tokenizer.
        start: A folder with weights to continue from; None for random weights.
        steps: Optimizer steps.
        hidden: Hidden size, a multiple of 32; not used with `start`.
        layers: Number of layers; not used with `start`.
        rate: The highest learning rate.
        tokens: Positions of a batch, padding included.
        seed: Of weights and pages.
        long_share: Share of long pages, 0 to 1; only used with `start`.
        averaged: Write the mean of the first and the last weights.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = build_tokenizer()
    pad, end = (tokenizer.get_vocab()[token] for token in (PAD, END))
    if start is None:
        model = LlamaForCausalLM(config(len(tokenizer), hidden=hidden, layers=layers, pad=pad, end=end))
    else:
        model = _load_start(start, tokenizer)
    model.to(default_device())  # pyright: ignore[reportArgumentType]
    first_weights = [p.detach().clone() for p in model.parameters()]
    optimizers, ids = _optimizers(model, rate), PieceIds(tokenizer)
    drawn = batches(
        rng, ids, pad, steps=steps, tokens=tokens, continued=start is not None, long_share=long_share
    )
    started, seen, correct, supervised = time.time(), 0, 0, 0
    for step, drawn_batch in enumerate(drawn, start=1):
        batch = Batch(*(tensor.to(model.device) for tensor in drawn_batch))
        logits_NV = _logits(model, batch)
        F.cross_entropy(logits_NV, batch.targets_N).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        _optimize(optimizers, rate * _rate_factor((step - 1) / steps, step - 1))
        seen += batch.ids_BT.numel()
        correct += int((logits_NV.argmax(-1) == batch.targets_N).sum())
        supervised += len(batch.targets_N)
        if step % 50 == 0:
            speed = round(seen / (time.time() - started))
            row = {"step": step, "accuracy": round(correct / supervised, 5), "tokens": seen}
            print(json.dumps({**row, "tokens_per_second": speed}), flush=True)
            correct = supervised = 0
        if step % 1000 == 0 and step < steps:
            _save(model, tokenizer, out)
    if averaged:
        _average(model, first_weights)
    _save(model, tokenizer, out)


def _load_start(start: Path, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model in `start`, with each token's embedding moved to its id in `tokenizer`; new tokens get random ones."""
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32, rope_parameters=ROPE)
    old_ids, new_ids = PreTrainedTokenizerFast.from_pretrained(start).get_vocab(), tokenizer.get_vocab()
    old_VH = model.model.embed_tokens.weight.detach().clone()
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for token, i in new_ids.items():
        if token in old_ids:
            model.model.embed_tokens.weight.data[i] = old_VH[old_ids[token]]
    model.config.pad_token_id, model.config.eos_token_id = new_ids[PAD], new_ids[END]
    model.generation_config = GenerationConfig.from_model_config(model.config)
    return model


def _logits(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """(N, V) logits of the supervised tokens, in bfloat16 where the device multiplies it at full speed.

    The pages are padded on the right, so the mask hides nothing. Without a mask, transformers may take a gap in the
    positions for the border between two packed texts.
    """
    mask_BT = torch.ones_like(batch.ids_BT)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=in_bfloat16("auto")):
        output = model.model(batch.ids_BT, attention_mask=mask_BT, position_ids=batch.positions_BT)
        return model.lm_head(output.last_hidden_state[:, :-1].flatten(0, 1)[batch.supervised_N]).float()


def _optimizers(model: LlamaForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, biases and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _optimize(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()


def _rate_factor(done: float, step: int) -> float:
    """Linear warm-up over 100 steps, then constant, then linear to 0 over the last 40 % of the run."""
    return min(1.0, (step + 1) / 100, (1 - done) / 0.4)


@torch.no_grad()
def _average(model: LlamaForCausalLM, first_weights: Sequence[Tensor]) -> None:
    """Replace the weights by the mean of the first and the last ones, which depends less on the last batches.

    Izmailov et al., 2018: https://arxiv.org/abs/1803.05407
    """
    for last, first in zip(model.parameters(), first_weights, strict=True):
        last.lerp_(first, 0.5)


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    """Read the command line and pretrain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the model and its tokenizer")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--start", type=Path, help="folder with weights to continue from")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--tokens", type=int, default=3072, help="positions of a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--long-share", type=float, default=LONG_SHARE, help="share of long pages; only with --start"
    )
    parser.add_argument(
        "--averaged", action="store_true", help="write the mean of the first and the last weights"
    )
    options = vars(parser.parse_args())
    if options["averaged"] and options["start"] is None:
        parser.error("--averaged takes the mean with the weights of --start; give --start")
    pretrain(options.pop("out"), **options)


if __name__ == "__main__":
    main()
