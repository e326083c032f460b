"""One fine-tuning run: data, base and adapter, trainer, run folder."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from dycktune import ranks
from dycktune.data.rows import Example
from dycktune.data.tokens import TokenizedExample, tokenize
from dycktune.errors import RunError
from dycktune.files import read_json, write_json
from dycktune.models.card import ModelCard
from dycktune.models.loading import in_bfloat16, load_base
from dycktune.provenance import provenance
from dycktune.records import GuardRow
from dycktune.runs import RunFolder, open_run, refuse_foreign
from dycktune.tasks.base import Task
from dycktune.training import recipe
from dycktune.training.adapter import with_adapter
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.config import Config
from dycktune.training.events import GuardActed, Notice, OnEvent
from dycktune.training.examples import Examples, load_examples, loss_weights, with_task
from dycktune.training.guard import OnGuard, attach, log_warning
from dycktune.training.recipe import task_of
from dycktune.training.recorder import LogWriter, OnLog
from dycktune.training.resuming import StartingPoint, only_launch, starting_point
from dycktune.training.trackers import Trackers, require
from dycktune.training.trainer import WeightedLossTrainer


class Beginning(NamedTuple):
    """What a run is about to train; the model has no adapter yet."""

    config: Config
    """With its task."""
    model: PreTrainedModel
    examples: Examples
    train_set: Sequence[TokenizedExample]
    eval_set: Sequence[TokenizedExample]


OnBegin = Callable[[Beginning], None]


def train(
    config: Config,
    out: Path | str,
    *,
    resume: bool = True,
    on_log: OnLog | None = None,
    on_event: OnEvent | None = None,
    on_begin: OnBegin | None = None,
) -> Path:
    """Fine-tune as a recipe says and return the run folder, with its checkpoints and log.

    An unfinished run of the same recipe goes on from its newest whole checkpoint; its final weights and its log are
    those of an uninterrupted run. Ctrl-C and SIGTERM save the last step and raise KeyboardInterrupt.

    Args:
        config: The recipe.
        out: The run folder.
        resume: Whether the folder may hold an earlier run.
        on_log: Called with each logged row.
        on_event: Called at each step, while an evaluation runs, when the guard intervenes, and with notices.
        on_begin: Called on the first rank when data and base are loaded, before the first step.

    Raises:
        DycktuneError: the recipe cannot be used, or the folder holds a run of another one or is in use; nothing has
            been trained. Or a checkpoint cannot be written.
    """
    config, out = with_task(config), Path(out)
    require(config.log.trackers)
    with _opened(out, config, resume=resume) as run:
        if _is_finished(run, on_event):
            return out
        examples = load_examples(config)
        model, tokenizer = base_of(config)
        _fit(config, model, tokenizer, examples, run, on_log, on_event, on_begin)
    return out


def base_of(config: Config) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base of a recipe. Raises ModelError as `load_base` does."""
    section = config.model
    return load_base(
        section.base,
        dtype=section.dtype,
        quantization=section.quantization,
        trust_remote_code=section.trust_remote_code,
    )


def fit(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_examples: Sequence[Example],
    eval_examples: Sequence[Example],
    out: Path,
    *,
    resume: bool = True,
    on_log: OnLog | None = None,
    on_event: OnEvent | None = None,
) -> Path:
    """As `train`, with a loaded model and examples; `model` gets the adapter in place."""
    config = with_task(config)
    require(config.log.trackers)
    with _opened(out, config, resume=resume) as run:
        if not _is_finished(run, on_event):
            examples = Examples(train_examples, eval_examples)
            _fit(config, model, tokenizer, examples, run, on_log, on_event, None)
    return out


def training_arguments(config: Config, run: RunFolder) -> TrainingArguments:
    """The Trainer's arguments for a recipe."""
    optim, evaluation, save = config.optim, config.eval, config.save
    return TrainingArguments(
        output_dir=str(run.checkpoints_folder),
        run_name=run.path.name,
        per_device_train_batch_size=optim.batch_size,
        gradient_accumulation_steps=optim.accumulation,
        num_train_epochs=optim.epochs,
        max_steps=optim.max_steps or -1,
        learning_rate=optim.learning_rate,
        lr_scheduler_type=optim.schedule,
        # Trainer takes a number from 1 on for steps, but the recipe's 1 is a share too.
        warmup_steps=min(optim.warmup, math.nextafter(1.0, 0.0)),
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
        # The recipe's trackers are callbacks of their own, which survive a tracker that fails.
        report_to="none",
        # Without it, ranks without an accelerator would each train alone, into the same folder.
        use_cpu=not torch.accelerator.is_available(),
        # Every rank's loss depends on all trained weights, even if its batch has no labels.
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        dataloader_pin_memory=torch.accelerator.is_available(),
    )


def optimizer(config: Config) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """The recipe's optimizer, in the form Trainer takes; None for Trainer's own, AdamW.

    Muon orthogonalises the momentum of each matrix, so that all directions are learned at the same pace
    (https://kellerjordan.github.io/posts/muon/); its step has the size of AdamW's (https://arxiv.org/abs/2502.16982).
    """
    optim = config.optim
    if optim.optimizer == "adamw":
        return None
    rates = {"lr": optim.learning_rate, "weight_decay": optim.weight_decay}
    return torch.optim.Muon, {**rates, "adjust_lr_fn": "match_rms_adamw"}


class Rows(Dataset):
    """Tokenized examples as the collator takes them; labels and weights are made on access."""

    def __init__(self, examples: Sequence[TokenizedExample]):
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._examples[index].features()


@contextmanager
def _opened(out: Path, config: Config, *, resume: bool) -> Iterator[RunFolder]:
    """The run folder, made and locked by rank 0."""
    ranks.initialize()
    ranks.on_main(lambda: _make_folder(out))
    with only_launch(out):
        recipes = {"config_toml": recipe.to_toml(config), "defaults_toml": recipe.to_toml(Config())}
        yield ranks.on_main(lambda: open_run(out, resume=resume, **recipes))


def _make_folder(out: Path) -> None:
    refuse_foreign(out)
    out.mkdir(parents=True, exist_ok=True)


def _is_finished(run: RunFolder, on_event: OnEvent | None) -> bool:
    finished = ranks.on_main(lambda: run.finished and run.has_summary)
    if finished:
        _notify(on_event, f"{run.path}: the training is finished; its checkpoints stay as they are")
    return finished


def _notify(on_event: OnEvent | None, text: str) -> None:
    if not ranks.is_main():
        return
    if on_event is None:
        _LOGGER.warning(text)
    else:
        on_event(Notice(text))


_LOGGER = logging.getLogger(__name__)


def _fit(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    run: RunFolder,
    on_log: OnLog | None,
    on_event: OnEvent | None,
    on_begin: OnBegin | None,
) -> None:
    weights, limit = loss_weights(config), config.data.max_tokens
    train_set = tokenize(examples.train, tokenizer, weights=weights, max_tokens=limit)
    eval_set = tokenize(examples.eval, tokenizer, weights=weights, max_tokens=limit)
    if on_begin is not None and ranks.is_main():
        on_begin(Beginning(config, model, examples, train_set, eval_set))
    trackers = Trackers(run, config.log.trackers if ranks.is_main() else ())
    evaluator = _answer_evaluator(config, tokenizer, task_of(config), examples, run, on_event)
    trainer = make_trainer(
        config,
        model,
        tokenizer,
        train_set,
        eval_set,
        run,
        answer_evaluator=evaluator,
        callbacks=[LogWriter(run, on_log, on_event), trackers],
        on_event=on_event,
    )
    guard = (
        attach(
            trainer,
            max_rollbacks=config.guard.max_rollbacks,
            folder=run.path,
            on_guard=_guard_reporter(trackers, on_event),
        )
        if config.guard.enabled
        else None
    )
    _train(trainer, run, _manifest(config, train_set), on_event)
    if guard is not None and guard.stopped_training:
        raise RunError(
            f"{run.path}: the guard stopped the run at step {trainer.state.global_step}, because it diverged again "
            f"after {config.guard.max_rollbacks} rollbacks; lower optim.learning_rate, and see: "
            f"dycktune diagnose {run.path}"
        )


def _guard_reporter(trackers: Trackers, on_event: OnEvent | None) -> OnGuard:
    def report(row: GuardRow) -> None:
        trackers.note_guard(row)
        if on_event is None:
            log_warning(row)
        else:
            on_event(GuardActed(row))

    return report


def make_trainer(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_set: Sequence[TokenizedExample],
    eval_set: Sequence[TokenizedExample],
    run: RunFolder,
    *,
    answer_evaluator: AnswerEvaluator | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    on_event: OnEvent | None = None,
) -> WeightedLossTrainer:
    """The trainer of a recipe; `model` gets the adapter in place."""
    set_seed(config.optim.seed)
    trainer = WeightedLossTrainer(
        model=with_adapter(model, config.lora),
        args=training_arguments(config, run),
        train_dataset=Rows(train_set),
        eval_dataset=Rows(sorted(eval_set, key=len)),
        processing_class=tokenizer,
        data_collator=DataCollatorWithWeights(cast("int | None", tokenizer.pad_token_id) or 0),
        card=ModelCard.of(config.model.base, task_of(config)),
        bfloat16=in_bfloat16(config.optim.precision),
        packed=config.optim.packed,
        tokens_per_pass=config.optim.tokens_per_pass,
        on_smaller_parts=lambda tokens: _note_smaller_parts(run, tokens, on_event),
        stopped_folder=run.stopped_folder,
        answer_evaluator=answer_evaluator,
        callbacks=list(callbacks),
        optimizer_cls_and_kwargs=optimizer(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _note_smaller_parts(run: RunFolder, tokens: int, on_event: OnEvent | None) -> None:
    """A run that is resumed starts with the smaller parts."""
    write_json(run.manifest, {**_earlier_manifest(run), "tokens_per_pass": tokens})
    text = f"out of memory: at most {tokens} tokens go through at once from now on; the gradient is the same"
    _notify(on_event, text)


def _answer_evaluator(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Examples,
    run: RunFolder,
    on_event: OnEvent | None,
) -> AnswerEvaluator | None:
    items = [example.item for example in examples.eval[: config.eval.exact_match] if example.item is not None]
    if not items:
        return None
    return AnswerEvaluator(run=run, tokenizer=tokenizer, task=task, items=items, on_event=on_event)


def _train(
    trainer: WeightedLossTrainer, run: RunFolder, manifest: Mapping[str, Any], on_event: OnEvent | None
) -> None:
    start = ranks.on_main(lambda: starting_point(run))
    earlier = ranks.on_main(lambda: _earlier_manifest(run))
    if start.checkpoint is not None:
        _require_same_data(run, earlier, manifest)
    if trainer.tokens_per_pass is None:
        # A resumed run splits its batches as before, whatever memory is free now: its weights stay the same.
        known = start.checkpoint is not None and "tokens_per_pass" in earlier
        trainer.tokens_per_pass = earlier["tokens_per_pass"] if known else trainer.tokens_that_fit()
    for line in _where_it_begins(run, start):
        _notify(on_event, line)
    if trainer.is_world_process_zero():
        run.rewind(start.step, evaluation_due=start.evaluation_due)
        write_json(run.manifest, {**manifest, "tokens_per_pass": trainer.tokens_per_pass})
    trainer.accelerator.wait_for_everyone()
    trainer.train(resume_from_checkpoint=None if start.checkpoint is None else str(start.checkpoint))


def _where_it_begins(run: RunFolder, start: StartingPoint) -> Iterator[str]:
    yield from start.left_out
    if start.checkpoint is not None:
        yield f"{run.path} holds an unfinished run of this recipe: going on from {start.checkpoint.name}"
    elif start.left_out:
        yield f"{run.path} holds no whole checkpoint: starting again from step 0"


def _earlier_manifest(run: RunFolder) -> dict[str, Any]:
    """The manifest of the run's earlier start; empty where there is none, or it is damaged."""
    try:
        return read_json(run.manifest) if run.manifest.is_file() else {}
    except RunError:
        return {}


def _require_same_data(run: RunFolder, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before, after = (manifest.get("training_ids", {}).get("sha256") for manifest in (earlier, now))
    if before is not None and before != after:
        raise RunError(
            f"{run.path}: the training data has changed since the run started (sha256 {before[:12]} was, {after[:12]} "
            "is); restore it, or name another folder with --out"
        )


def _manifest(config: Config, train_set: Sequence[TokenizedExample]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for example in train_set:
        digest.update(example.input_ids.tobytes())
    counted = {"examples": len(train_set), "tokens": sum(map(len, train_set)), "sha256": digest.hexdigest()}
    return {"seed": config.optim.seed, "training_ids": counted, **provenance()}
