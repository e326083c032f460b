"""One fine-tuning run: data, base and adapter, trainer, run folder."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    set_seed,
)

from dycktune import ranks
from dycktune.data.rows import Example
from dycktune.data.tokens import TokenizedExample, tokenize
from dycktune.errors import RunError
from dycktune.files import write_json
from dycktune.models.card import ModelCard
from dycktune.models.loading import load_base
from dycktune.models.precision import in_bfloat16
from dycktune.provenance import provenance
from dycktune.records import GuardRow
from dycktune.remote import is_remote
from dycktune.runs import RunFolder
from dycktune.tasks.base import Task
from dycktune.training import preflight
from dycktune.training.adapter import trained_model, with_lora_of_start
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.arguments import optimizer, training_arguments
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.config import Config
from dycktune.training.events import GuardActed, OnEvent, notify
from dycktune.training.examples import Examples, load_examples, loss_weights, with_task
from dycktune.training.grpo.requirements import require_grpo
from dycktune.training.guard import Guard, OnGuard, attach, log_warning
from dycktune.training.recipe import task_of
from dycktune.training.recorder import LogWriter, OnLog
from dycktune.training.resuming import (
    announce,
    earlier_manifest,
    is_finished,
    kept_precision,
    opened_run,
    require_same_data,
    starting_point,
)
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
    if is_remote(out):
        raise RunError(f"{out} is no folder; the command `dycktune train --out {out}` keeps a run in a store")
    config, out = with_lora_of_start(with_task(config)), Path(out)
    require(config.log.trackers)
    if config.train.method == "grpo":
        require_grpo(config)
    with opened_run(out, config, resume=resume) as run:
        if not is_finished(run, on_event):
            _train_in(run, config, on_log, on_event, on_begin)
    return out


def _train_in(
    run: RunFolder,
    config: Config,
    on_log: OnLog | None,
    on_event: OnEvent | None,
    on_begin: OnBegin | None,
) -> None:
    if config.train.method == "grpo":
        # TRL takes seconds to import, and is an extra.
        from dycktune.training.grpo.run import fit_grpo

        fit_grpo(config, *base_of(config), run, on_log=on_log, on_event=on_event)
        return
    examples = load_examples(config)
    _fit(config, *base_of(config), examples, run, on_log, on_event, on_begin)


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
    with opened_run(out, config, resume=resume) as run:
        if not is_finished(run, on_event):
            examples = Examples(train_examples, eval_examples)
            _fit(config, model, tokenizer, examples, run, on_log, on_event, None)
    return out


class Rows(Dataset):
    """Tokenized examples as the collator takes them; labels and weights are made on access."""

    def __init__(self, examples: Sequence[TokenizedExample]):
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._examples[index].features()


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
    evaluator = answer_evaluator_of(config, tokenizer, task_of(config), examples, run, on_event)
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
    guard = attach_guard(config, trainer, run, trackers, on_event)
    preflight.attach(trainer, weights=weights, accepted=config.guard.accepted)
    _train(trainer, run, _manifest(config, train_set, examples), on_event)
    require_not_stopped(guard, trainer, config, run)


def attach_guard(
    config: Config,
    trainer: Trainer,
    run: RunFolder,
    trackers: Trackers,
    on_event: OnEvent | None,
    *,
    compares_losses: bool = True,
) -> Guard | None:
    """The guard of a recipe, attached to its trainer; None where the recipe turns it off."""
    if not config.guard.enabled:
        return None
    return attach(
        trainer,
        max_rollbacks=config.guard.max_rollbacks,
        folder=run.path,
        on_guard=_guard_reporter(trackers, on_event),
        compares_losses=compares_losses,
    )


def require_not_stopped(guard: Guard | None, trainer: Trainer, config: Config, run: RunFolder) -> None:
    """Raise RunError where the guard stopped the training."""
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
        model=trained_model(model, config),
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
    write_json(run.manifest, {**earlier_manifest(run), "tokens_per_pass": tokens})
    text = f"out of memory: at most {tokens} tokens go through at once from now on; the gradient is the same"
    notify(on_event, text)


def answer_evaluator_of(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: Examples,
    run: RunFolder,
    on_event: OnEvent | None,
) -> AnswerEvaluator | None:
    """Answers the first evaluation items at each evaluation; None where the recipe asks for none."""
    items = [example.item for example in examples.eval[: config.eval.exact_match] if example.item is not None]
    if not items:
        return None
    return AnswerEvaluator(run=run, tokenizer=tokenizer, task=task, items=items, on_event=on_event)


def _train(
    trainer: WeightedLossTrainer, run: RunFolder, manifest: Mapping[str, Any], on_event: OnEvent | None
) -> None:
    start = ranks.on_main(lambda: starting_point(run))
    before = {} if start.checkpoint is None else ranks.on_main(lambda: earlier_manifest(run))
    require_same_data(run, before, manifest)
    trainer.bfloat16 = kept_precision(before, bfloat16=trainer.bfloat16)
    trainer.tokens_per_pass = _tokens_per_pass(trainer, before)
    announce(run, start, on_event)
    if trainer.is_world_process_zero():
        run.rewind(start.step, evaluation_due=start.evaluation_due)
        own = {"bfloat16": trainer.bfloat16, "tokens_per_pass": trainer.tokens_per_pass}
        write_json(run.manifest, {**manifest, **own})
    trainer.accelerator.wait_for_everyone()
    trainer.train(resume_from_checkpoint=None if start.checkpoint is None else str(start.checkpoint))


def _tokens_per_pass(trainer: WeightedLossTrainer, earlier: Mapping[str, Any]) -> int | None:
    """The recipe's limit, or the smaller one that its run was left with; None for no limit.

    A resumed run splits its batches as before, whatever memory is free now: its weights stay the same.
    """
    own = trainer.tokens_per_pass
    if "tokens_per_pass" in earlier:
        limits = (tokens for tokens in (own, earlier["tokens_per_pass"]) if tokens is not None)
        return min(limits, default=None)
    return trainer.tokens_that_fit() if own is None else own


def _manifest(config: Config, train_set: Sequence[TokenizedExample], examples: Examples) -> dict[str, Any]:
    digest = hashlib.sha256()
    for example in train_set:
        digest.update(example.input_ids.tobytes())
    counted = {"examples": len(train_set), "tokens": sum(map(len, train_set)), "sha256": digest.hexdigest()}
    skipped = {split: rows.count for split, rows in examples.skipped.items()}
    left_out = {"skipped_rows": skipped} if skipped else {}
    return {"seed": config.optim.seed, "training_ids": counted, **left_out, **provenance()}
