"""A run of reinforcement learning: items, adapter, trainer, run folder, pass@k before and after."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback, set_seed
from trl.trainer.grpo_config import GRPOConfig

from dycktune import ranks
from dycktune.data.corpus import Corpus
from dycktune.errors import ConfigError
from dycktune.evaluation.pass_at_k import PassAtK, pass_at_k
from dycktune.files import write_json
from dycktune.models.card import ModelCard
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel
from dycktune.models.precision import in_bfloat16
from dycktune.provenance import provenance
from dycktune.rewards import Rewards, RewardWeights
from dycktune.runs import RunFolder
from dycktune.tasks.base import Item, Task
from dycktune.training.adapter import trained_model
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.arguments import optimizer, training_options
from dycktune.training.config import Config
from dycktune.training.events import Evaluating, OnEvent, Sampled
from dycktune.training.examples import Examples, eval_examples, train_examples
from dycktune.training.grpo.requirements import require_enough_problems
from dycktune.training.grpo.rollout import Rollout
from dycktune.training.grpo.trainer import VerifiedGRPOTrainer
from dycktune.training.recipe import task_of
from dycktune.training.recorder import LogWriter, OnLog
from dycktune.training.resuming import (
    announce,
    earlier_manifest,
    is_trained,
    kept_precision,
    require_same_data,
    starting_point,
)
from dycktune.training.run import answer_evaluator_of, attach_guard, require_not_stopped
from dycktune.training.trackers import Trackers


def fit_grpo(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    run: RunFolder,
    *,
    on_log: OnLog | None = None,
    on_event: OnEvent | None = None,
) -> None:
    """Train an adapter of `model` by reinforcement learning, into a run folder that has been opened.

    Raises:
        DycktuneError: the recipe cannot be used; nothing has been trained.
        RunError: the guard stopped the run.
    """
    task, items = task_of(config), train_items(config)
    require_enough_problems(config, len(items))
    examples = Examples((), eval_examples(config))
    trackers = Trackers(run, config.log.trackers if ranks.is_main() else ())
    trainer = make_grpo_trainer(
        config,
        model,
        tokenizer,
        items,
        run,
        answer_evaluator=answer_evaluator_of(config, tokenizer, task, examples, run, on_event),
        callbacks=[LogWriter(run, on_log, on_event), trackers],
    )
    guard = attach_guard(config, trainer, run, trackers, on_event, compares_losses=False)
    sampled = _Sampled(
        config=config,
        trainer=trainer,
        tokenizer=tokenizer,
        items=[
            example.item for example in examples.eval[: config.grpo.pass_at_k] if example.item is not None
        ],
        run=run,
        on_event=on_event,
    )
    if ranks.on_main(lambda: is_trained(run)):
        # Its sampling after the training was interrupted.
        trainer.take_over(ranks.on_main(lambda: run.checkpoints()[-1]))
    else:
        _train(trainer, run, sampled, _manifest(config, items), on_event)
    ranks.on_main(lambda: sampled.measure(trainer.state.global_step))
    require_not_stopped(guard, trainer, config, run)


def make_grpo_trainer(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    run: RunFolder,
    *,
    answer_evaluator: AnswerEvaluator | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> VerifiedGRPOTrainer:
    """The trainer of a recipe; `model` gets the adapter in place.

    Raises:
        ConfigError: the recipe cannot be used.
        ItemError: an item and its reply exceed the model's context.
    """
    set_seed(config.optim.seed)
    task, grpo = task_of(config), config.grpo
    rewards = rewards_of(config, task, items)
    rollout = Rollout(model, tokenizer, task, items, temperature=grpo.temperature, seed=config.optim.seed)
    # Rollout functions are experimental in TRL; the user of a recipe need not know.
    warnings.filterwarnings("ignore", message=".*'rollout_func'.*")
    trainer = VerifiedGRPOTrainer(
        model=cast("Any", trained_model(model, config)),
        args=grpo_arguments(config, run, rewards),
        train_dataset=Dataset.from_list(rewards.rows),
        # Trainer asks for one; `evaluate` answers the evaluator's items instead.
        eval_dataset=Dataset.from_list(rewards.rows[:1]),
        processing_class=tokenizer,
        rollout_func=rollout,
        rewards=rewards,
        answer_evaluator=answer_evaluator,
        card=ModelCard.of(config.model.base, task),
        stops=stop_ids(tokenizer, model.generation_config),
        bfloat16=in_bfloat16(config.optim.precision),
        packed=config.optim.packed,
        stopped_folder=run.stopped_folder,
        callbacks=list(callbacks),
    )
    trainer.optimizer_cls_and_kwargs = optimizer(config)
    trainer.remove_callback(PrinterCallback)
    return trainer


def grpo_arguments(config: Config, run: RunFolder, rewards: Rewards) -> GRPOConfig:
    """TRL's arguments for a recipe."""
    grpo = config.grpo
    own = {
        "per_device_eval_batch_size": grpo.group_size,
        # A resumed run has its first evaluation already.
        "eval_on_start": 0 not in run.read_scores(),
    }
    return GRPOConfig(
        **training_options(config, run) | own,
        num_generations=grpo.group_size,
        temperature=grpo.temperature,
        beta=grpo.beta,
        reward_weights=rewards.weights,
        # A sampled reply and its probability must come from the same model.
        disable_dropout=True,
        gradient_checkpointing=config.optim.checkpointing,
        bf16=False,
    )


def rewards_of(config: Config, task: Task, items: Sequence[Item]) -> Rewards:
    """The rewards of a recipe.

    Raises:
        ConfigError: the right answers are not known, or the dense part needs steps that the task does not verify.
    """
    grpo = config.grpo
    verdict = task.verify(items[0], task.solution(items[0]) or "")
    if verdict.correct is None:
        raise ConfigError(f"task {task.reference} does not know the right answers, so it can reward none")
    if grpo.reward != "binary" and verdict.trace_valid is None:
        raise ConfigError(
            f"grpo.reward = {grpo.reward!r} rewards verified steps, and task {task.reference} verifies answers only; "
            "set grpo.reward = 'binary'"
        )
    weights = RewardWeights(
        answer=grpo.answer_weight,
        trace=grpo.trace_weight,
        format=grpo.format_weight,
        progress=grpo.progress_weight,
    )
    return Rewards(task, items, weights=weights, kind=grpo.reward)


def train_items(config: Config) -> list[Item]:
    """The problems of a run; generated ones need no solution."""
    if config.data.train is not None:
        return [example.item for example in train_examples(config) if example.item is not None]
    return list(Corpus(task_of(config), count=config.data.count, seed=config.data.seed, split="train"))


@dataclass(kw_only=True)
class _Sampled:
    """Measures pass@k on the first evaluation items."""

    config: Config
    trainer: VerifiedGRPOTrainer
    tokenizer: PreTrainedTokenizerBase
    items: Sequence[Item]
    run: RunFolder
    on_event: OnEvent | None

    def measure(self, step: int) -> PassAtK | None:
        """Sample replies of the model as it is, and record them; None where the recipe asks for none."""
        if not self.items:
            return None
        model: Any = self.trainer.accelerator.unwrap_model(self.trainer.model)
        model.eval()
        grpo = self.config.grpo
        found = pass_at_k(
            LoadedModel(
                model=model, tokenizer=self.tokenizer, card=None, reference=f"the model at step {step}"
            ),
            task_of(self.config),
            self.items,
            k=grpo.group_size,
            temperature=grpo.temperature,
            on_reply=self._report,
        )
        self.run.append_pass_at_k(found.to_row(step))
        self._tell(Sampled(found.to_row(step), found.summary()))
        return found

    def _report(self, answered: int) -> None:
        self._tell(Evaluating(answered, len(self.items) * self.config.grpo.group_size))

    def _tell(self, event: Evaluating | Sampled) -> None:
        if self.on_event is not None:
            self.on_event(event)


def _train(
    trainer: VerifiedGRPOTrainer,
    run: RunFolder,
    sampled: _Sampled,
    manifest: dict[str, Any],
    on_event: OnEvent | None,
) -> None:
    start = ranks.on_main(lambda: starting_point(run))
    before = {} if start.checkpoint is None else ranks.on_main(lambda: earlier_manifest(run))
    require_same_data(run, before, manifest)
    trainer.bfloat16 = kept_precision(before, bfloat16=trainer.bfloat16)
    announce(run, start, on_event)
    if trainer.is_world_process_zero():
        run.rewind(start.step, evaluation_due=start.evaluation_due)
        write_json(run.manifest, {**manifest, "bfloat16": trainer.bfloat16})
    trainer.accelerator.wait_for_everyone()
    if start.checkpoint is None:
        ranks.on_main(lambda: _require_signal(sampled.measure(0), sampled.config))
    trainer.train(resume_from_checkpoint=None if start.checkpoint is None else str(start.checkpoint))


def _require_signal(before: PassAtK | None, config: Config) -> None:
    """Raise ConfigError where no reply is right, so that a reward for right answers has nothing to reinforce."""
    if before is None or config.grpo.reward != "binary" or any(before.right):
        return
    raise ConfigError(
        f"pass@{before.k} is 0: none of {before.k * len(before.right)} sampled replies is right, so a binary reward "
        "has nothing to reinforce; train longer with train.method = 'sft', ask for easier problems, or set "
        "grpo.reward = 'dense_to_binary' (grpo.pass_at_k = 0 turns this check off)"
    )


def _manifest(config: Config, items: Sequence[Item]) -> dict[str, Any]:
    digest = hashlib.sha256("\n".join(item.key for item in items).encode())
    counted = {"items": len(items), "sha256": digest.hexdigest()}
    return {"seed": config.optim.seed, "training_items": counted, **provenance()}
