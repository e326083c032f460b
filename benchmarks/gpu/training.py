"""Training speed, model FLOPs utilisation and peak memory on a GPU, compared with TRL if it is installed.

    python benchmarks/gpu/training.py [--tokens 2048] [--rows 4] [--steps 20] [--repeats 3] [--quantization none nf4]
    python benchmarks/gpu/training.py --small       # the same code on a tiny model, on any machine

A Qwen2 of the shape of DeepSeek-R1-Distill-Qwen-1.5B with random weights in bfloat16, LoRA r = 64 on all linear layers,
rows of random ids, every token supervised with weight 1. Needs torch, transformers, peft and dycktune; TRL and
bitsandbytes for their rows of the table. `python benchmarks/head.py --tokens 16384 --dtype bfloat16` measures the loss
alone.

Utilisation is relative to the *measured* peak of an 8192³ bfloat16 product. Per token, a frozen model of P parameters
takes 2 P FLOPs forward and 2 P for the gradient of its activations; attention over T tokens takes 2 T H forward in each
of L layers (half of the square), and twice that backward. Recomputation does not count.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from dycktune.models.loading import load_base
from dycktune.training.adapter import with_adapter
from dycktune.training.config import LoraSection
from dycktune.training.trainer import WeightedLossTrainer

WARM_UP = 3
"""Steps before the time is measured."""

SHAPE = {
    "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 32_768,
}  # fmt: skip
SMALL = SHAPE | {
    "vocab_size": 4096, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4,
}  # fmt: skip
LORA = LoraSection(r=64, alpha=64, dropout=0.0)

Row = dict[str, Any]


class Clock(TrainerCallback):
    """Measures the time of the steps after the warm-up."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start after the warm-up and stop after the last step."""
        del args, control
        if state.global_step in (WARM_UP, state.max_steps):
            synchronize()
            now = time.perf_counter()
            self.seconds = now - self._started if state.global_step == state.max_steps else 0.0
            self._started = now


def synchronize() -> None:
    """Wait until the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_peak(size: int) -> float:
    """FLOP/s of a square bfloat16 product, the best of ten."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(12):
        synchronize()
        started = time.perf_counter()
        a @ b
        synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[2:])


def flops_per_token(model: PreTrainedModel, tokens: int) -> float:
    """FLOPs per token of a frozen model, forward and backward, with attention; see above."""
    config = model.config
    layers, hidden = config.num_hidden_layers, config.hidden_size
    # The tied embedding counts once, as the head: a lookup is not a product.
    parameters = sum(p.numel() for p in model.parameters())
    return 4 * parameters + 6 * tokens * hidden * layers


def save_model(folder: Path, shape: dict[str, int]) -> str:
    """Save the random model and a tokenizer with as many words; returns the folder."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=True)).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
    words = {f"w{i}": i for i in range(shape["vocab_size"])}
    plain = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106 - a word of the vocabulary
    special = {"eos_token": "w1", "pad_token": "w1"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(folder)
    return str(folder)


def ours(base: str, quantization: Any, rows: Sequence[Row], arguments: TrainingArguments) -> Trainer:
    """This project's trainer, built as for a recipe."""
    model, _ = load_base(base, dtype="bfloat16", quantization=quantization)
    return WeightedLossTrainer(
        model=with_adapter(model, LORA),
        args=arguments,
        train_dataset=rows,
        bfloat16=torch.cuda.is_available(),
    )


def trl_trainer(base: str, quantization: Any, rows: Sequence[Row], arguments: TrainingArguments) -> Trainer:
    """TRL's SFTTrainer with its own head and tokenized rows."""
    import trl
    from datasets import Dataset

    model, tokenizer = load_base(base, dtype="bfloat16", quantization=quantization)
    common = {name: value for name, value in arguments.to_dict().items() if name in COMMON}
    sft_config = trl.SFTConfig(
        **common, bf16=torch.cuda.is_available(), max_length=None, gradient_checkpointing=False
    )
    data = Dataset.from_list([{key: row[key].tolist() for key in ("input_ids", "labels")} for row in rows])
    lora = LoraConfig(
        r=LORA.r, lora_alpha=64, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return trl.SFTTrainer(
        model=model, args=sft_config, train_dataset=data, processing_class=tokenizer, peft_config=lora
    )


COMMON = (
    "output_dir", "per_device_train_batch_size", "max_steps", "learning_rate", "lr_scheduler_type", "seed",
    "save_strategy", "report_to", "disable_tqdm", "logging_steps",
)  # fmt: skip

Build = Callable[[str, Any, Sequence[Row], TrainingArguments], Trainer]


def measure(
    build: Build, base: str, quantization: str, rows: Sequence[Row], options: Any
) -> tuple[float, float, float]:
    """Tokens per second, the last loss, and the peak of allocated memory in GiB (0 without a GPU)."""
    set_seed(0)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=options.rows,
            max_steps=WARM_UP + options.steps,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            remove_unused_columns=False,
        )
        trainer, clock = build(base, quantization, rows, arguments), Clock()
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    return options.steps * options.rows * options.tokens / clock.seconds, losses[-1], peak


def rows_of(count: int, tokens: int, vocabulary: int) -> list[Row]:
    """Rows of random ids, all of them supervised."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, vocabulary, (count, tokens), generator=generator)
    return [
        {"input_ids": row, "labels": row, "label_weights": torch.ones(tokens), "answer_start": 0}
        for row in ids
    ]


def main() -> None:
    """Print the device and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quantization", nargs="+", choices=("none", "nf4"), default=["none"])
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        sys.exit("no GPU found; --small runs the same code on a tiny model")
    shape = SMALL if options.small else SHAPE
    peak = matmul_peak(1024 if options.small else 8192)
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, a trial on a tiny model"
    print(
        f"{machine}, measured matmul peak {peak / 1e12:.3g} TFLOP/s; torch {torch.__version__}, transformers "
        f"{transformers.__version__}; {options.rows} rows of {options.tokens} tokens a step; median (range) of "
        f"{options.repeats} runs of {options.steps} steps\n"
    )
    print(
        "| quantization | trainer | tokens/s | utilisation | peak GiB | last loss |\n|---|---|---|---|---|---|"
    )
    builds: dict[str, Build] = {"dycktune": ours} | (
        {"TRL SFTTrainer": trl_trainer} if find_spec("trl") else {}
    )
    rows = rows_of(options.rows * (WARM_UP + options.steps), options.tokens, shape["vocab_size"])
    with TemporaryDirectory() as folder:
        base = save_model(Path(folder), shape)
        work = flops_per_token(load_base(base, dtype="bfloat16")[0], options.tokens)
        for quantization in options.quantization:
            # Each repeat runs both, so that a slow phase of the machine affects both alike.
            found = {name: [] for name in builds}
            for _ in range(options.repeats):
                for name, build in builds.items():
                    found[name].append(measure(build, base, quantization, rows, options))
                    print(f"{quantization}, {name}: {found[name][-1][0]:.0f} tokens/s", file=sys.stderr)
            for name, runs in found.items():
                rates, losses, peaks = zip(*runs, strict=True)
                rate = statistics.median(rates)
                print(
                    f"| {quantization} | {name} | {rate:.0f} ({min(rates):.0f}-{max(rates):.0f}) | "
                    f"{100 * rate * work / peak:.1f} % | {max(peaks):.1f} | {losses[0]:.3f} |"
                )


if __name__ == "__main__":
    main()
