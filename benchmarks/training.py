"""Training speed compared with other trainers in one run: the same base, adapter, rows, batch and optimizer.

    python benchmarks/training.py [--recipe FILE] [--base MODEL] [--steps 8] [--repeats 3] [--max-length 24] \
        [--only TEXT ...]

The others: TRL's SFTTrainer (padded, padding-free, packed) and the script of most tutorials (every row padded to one
length, full logits). All weights are 1, because the others have none, so that all compute the same loss. The table has
the loss of each after the same steps in the same order beside its speed. Padding is not counted as tokens. Each
training is a process of its own, so that its peak memory can be measured.
"""

import argparse
import os
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import transformers
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from dycktune.data.tokens import IGNORED, LossWeights, tokenize
from dycktune.models.loading import in_bfloat16, load_base
from dycktune.training import recipe
from dycktune.training.adapter import with_adapter
from dycktune.training.config import Config
from dycktune.training.examples import train_examples
from dycktune.training.run import Rows
from dycktune.training.sampler import LengthGroupedOrder
from dycktune.training.trainer import WeightedLossTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
BATCH = 8
WARM_UP = 2
"""Steps before the time is measured."""
Row = dict[str, Any]


class Setup(NamedTuple):
    """A trainer with its settings."""

    name: str
    build: Callable[[Config, Sequence[Row], TrainingArguments], Trainer]


class Clock(TrainerCallback):
    """Measures the time of the steps after the warm-up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start after the warm-up and stop after the last step."""
        del args, control
        if state.global_step == WARM_UP:
            self._started = time.perf_counter()
        if state.global_step == state.max_steps:
            self.seconds = time.perf_counter() - self._started


def ours(**settings: Any) -> Callable[..., Trainer]:
    """This project's trainer with `settings` and the rows in order."""

    class InOrder(WeightedLossTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(train_dataset or self.train_dataset)

    def build(config: Config, rows: Sequence[Row], arguments: TrainingArguments) -> Trainer:
        model = with_adapter(base(config), config.lora)
        return InOrder(model=model, args=arguments, train_dataset=rows, **settings)

    return build


def trl_trainer(**settings: Any) -> Callable[..., Trainer]:
    """TRL's SFTTrainer with tokenized rows."""

    class InOrder(trl.SFTTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(train_dataset or self.train_dataset)

    def build(config: Config, rows: Sequence[Row], arguments: TrainingArguments) -> Trainer:
        data = Dataset.from_list(
            [{key: row[key].tolist() for key in ("input_ids", "labels")} for row in rows]
        )
        longest = max(len(row["input_ids"]) for row in rows)
        packing = {"max_length": longest} if settings.get("packing") else {"max_length": None}
        common = {name: value for name, value in arguments.to_dict().items() if name in COMMON}
        sft_config = trl.SFTConfig(**common, **settings, **packing, gradient_checkpointing=False)
        model, tokenizer = load_base(config.model.base, dtype="float32")
        targets = config.lora.target_modules
        return InOrder(
            model=model,
            args=sft_config,
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=config.lora.r,
                lora_alpha=config.lora.alpha,  # pyright: ignore[reportArgumentType]
                lora_dropout=config.lora.dropout,
                target_modules=targets if isinstance(targets, str) else list(targets),
                task_type="CAUSAL_LM",
            ),
        )

    return build


def padded_to_one_length(config: Config, rows: Sequence[Row], arguments: TrainingArguments) -> Trainer:
    """The usual script: PEFT's own model and loss, and every row padded to the longest of all."""
    longest = max(len(row["input_ids"]) for row in rows)

    def collate(batch: Sequence[Row]) -> dict[str, torch.Tensor]:
        ids, labels = (
            torch.stack(
                [
                    torch.nn.functional.pad(
                        torch.as_tensor(row[key]).long(), (0, longest - len(row[key])), value=v
                    )
                    for row in batch
                ]
            )
            for key, v in (("input_ids", 0), ("labels", IGNORED))
        )
        mask = torch.stack([(torch.arange(longest) < len(row["input_ids"])).long() for row in batch])
        return {"input_ids": ids, "labels": labels, "attention_mask": mask}

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(train_dataset or self.train_dataset)

    model = with_adapter(base(config), config.lora)
    for module in model.modules():
        vars(module).pop("forward", None)
    return InOrder(model=model, args=arguments, train_dataset=rows, data_collator=collate)


def base(config: Config) -> PreTrainedModel:
    """The recipe's base in float32."""
    return load_base(config.model.base, dtype="float32")[0]


COMMON = (
    "output_dir", "per_device_train_batch_size", "max_steps", "learning_rate", "lr_scheduler_type", "warmup_steps",
    "max_grad_norm", "seed", "save_strategy", "report_to", "disable_tqdm", "logging_steps", "dataloader_pin_memory",
    "use_cpu",
)  # fmt: skip

SETUPS = (
    Setup("dycktune, bfloat16 where the CPU has it", ours(bfloat16=in_bfloat16("auto"))),
    Setup("dycktune, bfloat16, padded rows", ours(bfloat16=True, packed=False)),
    Setup("dycktune, float32", ours(bfloat16=False)),
    Setup("dycktune, float32, at most 1,024 tokens a pass", ours(bfloat16=False, tokens_per_pass=1024)),
    Setup("TRL SFTTrainer", trl_trainer(bf16=False)),
    Setup("TRL SFTTrainer, bf16", trl_trainer(bf16=True)),
    Setup("TRL SFTTrainer, padding-free", trl_trainer(bf16=False, padding_free=True)),
    Setup("TRL SFTTrainer, packing", trl_trainer(bf16=False, packing=True)),
    Setup("usual script, padded to the longest row", padded_to_one_length),
)


class Measured(NamedTuple):
    """One training."""

    rate: float
    """Tokens per second, without padding."""
    loss: float
    """Loss of the last step."""
    memory: float
    """Peak memory of the process, in GB."""


def measure_apart(setup: Setup, *arguments: Any) -> Measured:
    """`measure` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure_named, setup.name, *arguments).result()


def _measure_named(name: str, *arguments: Any) -> Measured:
    # A setup holds functions, which cannot be sent to another process.
    (setup,) = (setup for setup in SETUPS if setup.name == name)
    return measure(setup, *arguments)


def measure(setup: Setup, config: Config, rows: Sequence[Row], steps: int) -> Measured:
    """Train `steps` steps after the warm-up, from the same weights."""
    set_seed(0)
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=WARM_UP + steps,
            learning_rate=config.optim.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=config.optim.max_grad_norm,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            use_cpu=True,
        )
        trainer, clock = setup.build(config, rows, arguments), Clock()
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    seen = sum(tokens_of(trainer, step) for step in range(WARM_UP, WARM_UP + steps))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Measured(seen / clock.seconds, losses[-1], memory)


def tokens_of(trainer: Trainer, step: int) -> int:
    """Number of tokens in the rows of a step; a packed row holds several rows."""
    data: Any = trainer.train_dataset
    return sum(len(data[i]["input_ids"]) for i in range(step * BATCH, (step + 1) * BATCH))


def rows_of(config: Config, count: int) -> list[Row]:
    """Rows in batches of similar length, as with length-grouped sampling, and the batches in random order."""
    _, tokenizer = load_base(config.model.base, dtype="float32")
    tokenized = tokenize(train_examples(config), tokenizer, weights=LossWeights(answer=1.0))
    rows = [Rows(tokenized)[i] for i in range(count)]
    batches = [
        sorted(rows, key=lambda row: len(row["input_ids"]))[i : i + BATCH] for i in range(0, count, BATCH)
    ]
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0)).tolist()
    return [row for i in order for row in batches[i]]


def padding(lengths: Sequence[int]) -> float:
    """The share of padding in batches of rows of these lengths, in their order."""
    batches = [lengths[i : i + BATCH] for i in range(0, len(lengths), BATCH)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


def recipe_lengths(config: Config) -> list[int]:
    """Number of tokens in each row of the recipe, in the order of its first epoch."""
    _, tokenizer = load_base(config.model.base, dtype="float32")
    lengths = [len(row) for row in tokenize(train_examples(config), tokenizer, weights=LossWeights())]
    return [lengths[i] for i in LengthGroupedOrder(lengths, group=BATCH, seed=config.optim.seed)]


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--base", help="a model in place of the recipe's base")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of methods")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=24)
    options = parser.parse_args()
    # A packed row holds several rows, so packing needs more rows than the others for the same steps.
    count = 4 * BATCH * (WARM_UP + options.steps)
    short = {"data.count": str(count), "task.max_length": str(options.max_length)}
    named = {} if options.base is None else {"model.base": options.base}
    config = recipe.load(options.recipe, named | short)
    setups = [setup for setup in SETUPS if any(part in setup.name for part in options.only)]
    rows = rows_of(config, count)
    lengths = [len(row["input_ids"]) for row in rows]
    print(
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"trl {trl.__version__}; prefixes of 2-{options.max_length} brackets, rows of "
        f"{statistics.mean(lengths):.0f} tokens ({min(lengths)}-{max(lengths)}), {BATCH} a step; median (range) "
        f"of {options.repeats} runs of {options.steps} steps.\n"
    )
    grouped = recipe_lengths(recipe.load(options.recipe, named))
    shuffled = random.Random(0).sample(grouped, len(grouped))
    print(
        f"In the recipe's batches of similar length, {padding(grouped):.1%} of the tokens is padding; with the same "
        f"rows in random order, {padding(shuffled):.1%}.\n"
    )
    print("| method | tokens/s | relative to TRL's best | last loss | peak memory |\n|---|---|---|---|---|")
    # Each repeat runs all of them, so that a slow phase of the machine affects all alike.
    found = {setup.name: [] for setup in setups}
    for _ in range(options.repeats):
        for setup in setups:
            found[setup.name].append(measure_apart(setup, config, rows, options.steps))
    rates = {name: statistics.median(m.rate for m in measured) for name, measured in found.items()}
    best = max((rate for name, rate in rates.items() if name.startswith("TRL")), default=float("nan"))
    for name, measured in found.items():
        spread = f"{min(m.rate for m in measured):.0f}-{max(m.rate for m in measured):.0f}"
        print(
            f"| {name} | {rates[name]:.0f} ({spread}) | {rates[name] / best:.2f}× | {measured[0].loss:.3f} "
            f"| {max(m.memory for m in measured):.1f} GB |"
        )


if __name__ == "__main__":
    main()
