"""One fine-tuning run: data, base and adapter, trainer, run folder."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainingArguments,
    set_seed,
)

from dycktune import ranks
from dycktune.data.rows import Example
from dycktune.data.tokens import LossWeights, TokenizedExample, tokenize
from dycktune.errors import RunError
from dycktune.models.card import ModelCard
from dycktune.models.loading import in_bfloat16, load_base
from dycktune.runs import RunFolder, begin, provenance, write_json
from dycktune.training import recipe
from dycktune.training.adapter import with_adapter
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.config import Config
from dycktune.training.examples import Examples, load_examples
from dycktune.training.guard import attach
from dycktune.training.judge import Judge
from dycktune.training.recorder import Recorder, Report, save_state
from dycktune.training.trainer import WeightedLossTrainer


def train(config: Config, out: Path, *, resume: bool = False, report: Report | None = None) -> Path:
    """Fine-tune as `config` says and return the run folder, with its checkpoints and log.

    Args:
        config: The recipe.
        out: The run folder; new, or an unfinished run's with `resume`.
        resume: Go on from the newest whole checkpoint, to the weights of a run that was not killed.
        report: Called with each logged row.

    Raises:
        DycktuneError: what the recipe names cannot be used; nothing has been trained then.
    """
    run = _begin(out, config, resume=resume)
    if run.finished:
        return out
    examples = load_examples(config)
    model, tokenizer = load_base(
        config.model.base,
        dtype=config.model.dtype,
        quantization=config.model.quantization,
        trust_remote_code=config.model.trust_remote_code,
    )
    _fit(config, model, tokenizer, examples, run, report)
    return out


def fit(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_examples: Sequence[Example],
    eval_examples: Sequence[Example],
    out: Path,
    *,
    resume: bool = False,
    report: Report | None = None,
) -> Path:
    """As `train`, with a model and examples that are already at hand; `model` gets the adapter in place."""
    run = _begin(out, config, resume=resume)
    _fit(config, model, tokenizer, Examples(train_examples, eval_examples), run, report)
    return out


def training_arguments(config: Config, run: RunFolder) -> TrainingArguments:
    """The Trainer's arguments for a recipe."""
    optim, evaluation, save = config.optim, config.eval, config.save
    return TrainingArguments(
        output_dir=str(run.checkpoints_folder),
        per_device_train_batch_size=optim.batch_size,
        gradient_accumulation_steps=optim.accumulation,
        num_train_epochs=optim.epochs,
        max_steps=optim.max_steps or -1,
        learning_rate=optim.learning_rate,
        lr_scheduler_type=optim.schedule,
        warmup_steps=optim.warmup,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        activation_checkpointing=optim.checkpointing,
        seed=optim.seed,
        eval_strategy="steps",
        eval_steps=evaluation.steps,
        per_device_eval_batch_size=evaluation.batch_size,
        logging_steps=evaluation.log_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=save.steps,
        save_total_limit=save.keep,
        load_best_model_at_end=save.load_best,
        remove_unused_columns=False,
        report_to="none",
        # Else ranks without an accelerator would each train alone, into the same folder.
        use_cpu=not torch.accelerator.is_available(),
        # Every rank's loss hangs on all that is trained, be there nothing to learn in its batch.
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        dataloader_pin_memory=torch.accelerator.is_available(),
    )


def optimizer(config: Config) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """The optimizer a recipe names, as Trainer takes it; None for Trainer's own, AdamW.

    Muon orthogonalises the momentum of each matrix, so that all its directions are learnt at one pace
    (https://kellerjordan.github.io/posts/muon/); its step has the size of AdamW's (https://arxiv.org/abs/2502.16982).
    """
    optim = config.optim
    if optim.optimizer == "adamw":
        return None
    rates = {"lr": optim.learning_rate, "weight_decay": optim.weight_decay}
    return torch.optim.Muon, {**rates, "adjust_lr_fn": "match_rms_adamw"}


class Rows(Dataset):
    """Tokenised examples as the collator takes them; labels and weights are made when they are asked for."""

    def __init__(self, examples: Sequence[TokenizedExample]):
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._examples[index].features()


def _begin(out: Path, config: Config, *, resume: bool) -> RunFolder:
    """The run folder, made by the first rank alone."""
    ranks.join()
    defaults = recipe.to_toml(Config())
    return ranks.by_first(lambda: begin(out, recipe.to_toml(config), resume=resume, defaults_toml=defaults))


def _fit(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    run: RunFolder,
    report: Report | None,
) -> None:
    weights = LossWeights(
        answer=config.loss.answer_weight, reasoning=config.loss.reasoning_weight, marker=config.loss.marker
    )
    limit = config.data.max_tokens
    train_set = tokenize(examples.train, tokenizer, weights=weights, max_tokens=limit)
    eval_set = tokenize(examples.eval, tokenizer, weights=weights, max_tokens=limit)
    card = _card(config)
    set_seed(config.optim.seed)
    trainer = WeightedLossTrainer(
        model=with_adapter(model, config.lora),
        args=training_arguments(config, run),
        train_dataset=Rows(train_set),
        eval_dataset=Rows(sorted(eval_set, key=len)),
        processing_class=tokenizer,
        data_collator=DataCollatorWithWeights(cast("int | None", tokenizer.pad_token_id) or 0),
        card=card,
        bfloat16=in_bfloat16(config.optim.precision),
        tokens_per_pass=config.optim.tokens_per_pass,
        judge=_judge(config, tokenizer, card, examples, run),
        callbacks=[Recorder(run, report)],
        optimizer_cls_and_kwargs=optimizer(config),
    )
    trainer.remove_callback(PrinterCallback)
    guard = attach(trainer, attempts=config.guard.attempts, folder=run.path) if config.guard.enabled else None
    _train(trainer, run, _manifest(config, train_set))
    if guard is not None and guard.stopped:
        raise RunError(
            f"{run.path}: the guard stopped the run at step {trainer.state.global_step}, as it went wrong again after "
            f"{config.guard.attempts} rollbacks; lower optim.learning_rate, and see `dycktune diagnose {run.path}`"
        )


def _judge(
    config: Config, tokenizer: PreTrainedTokenizerBase, card: ModelCard, examples: Examples, run: RunFolder
) -> Judge | None:
    asked = examples.eval[: config.eval.exact_match]
    return Judge(run=run, tokenizer=tokenizer, card=card, examples=asked) if asked else None


def _train(trainer: WeightedLossTrainer, run: RunFolder, manifest: Mapping[str, Any]) -> None:
    checkpoints = run.checkpoints()
    if trainer.is_world_process_zero():
        run.rewind(checkpoints[-1].step if checkpoints else 0)
        write_json(run.manifest, manifest)
    trainer.accelerator.wait_for_everyone()
    trainer.train(resume_from_checkpoint=str(checkpoints[-1].path) if checkpoints else None)
    if trainer.is_world_process_zero():
        save_state(run, trainer.state)


def _card(config: Config) -> ModelCard:
    return ModelCard(
        base=config.model.base,
        style=config.data.style,
        pairs=config.data.pairs,
        marker=config.loss.marker,
    )


def _manifest(config: Config, train_set: Sequence[TokenizedExample]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for example in train_set:
        digest.update(example.input_ids.tobytes())
    counted = {"examples": len(train_set), "tokens": sum(map(len, train_set)), "sha256": digest.hexdigest()}
    return {"seed": config.optim.seed, "training_ids": counted, **provenance()}
