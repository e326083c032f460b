"""TRL's GRPOTrainer with this program's evaluation, checkpoints and reward schedule."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from dycktune.checkpoints import Checkpoint
from dycktune.models.card import ModelCard
from dycktune.rewards import Rewards
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.grpo.packed import score_packed
from dycktune.training.head import tiled_head
from dycktune.training.packing import can_pack
from dycktune.training.resumable import ResumableTrainer
from dycktune.training.sampler import EpochSetter, epoch_generator

_REFERENCE = "ref"
"""TRL's name of the frozen copy of the adapter, from which the KL divergence is measured."""


class VerifiedGRPOTrainer(ResumableTrainer, GRPOTrainer):
    """Evaluates by exact match under greedy decoding, and saves and stops as every training of this program does.

    Logs are TRL's own: `reward`, `reward_std`, `frac_reward_zero_std`, `rewards/NAME/mean`, `kl`, `entropy`,
    `completions/mean_length`, `clip_ratio/region_mean` and others.
    """

    def __init__(
        self,
        *args: Any,
        rewards: Rewards,
        answer_evaluator: AnswerEvaluator | None,
        card: ModelCard,
        stops: list[int],
        bfloat16: bool = False,
        packed: bool = True,
        **kwargs: Any,
    ):
        """Build the trainer.

        Args:
            *args: GRPOTrainer's own.
            rewards: Their functions judge the replies; their weights may change from step to step.
            answer_evaluator: Answers the evaluation items.
            card: Written into each checkpoint as `dycktune.json`.
            stops: Every token that ends a reply.
            bfloat16: Whether probabilities are computed under autocast to bfloat16. Replies are sampled without it.
            packed: Whether probabilities are computed without padding where that is possible (`packing.can_pack`).
            **kwargs: GRPOTrainer's own.
        """
        super().__init__(*args, reward_funcs=list(rewards.functions), **kwargs)
        self.eos_token_ids = stops
        self._rewards, self._answer_evaluator, self._card = rewards, answer_evaluator, card
        self.bfloat16 = bfloat16
        plain: Any = self.accelerator.unwrap_model(self.model)
        self._packed = packed and can_pack(plain, tiled_head(plain))
        self._training_since: float | None = None
        """Time of the first training step after an evaluation."""
        self.add_callback(_Steps(self))

    def begin_step(self, share: float) -> None:
        """Start the clock of the training, and weight the rewards as after `share` of it, from 0 to 1."""
        self._training_since = self._training_since or time.perf_counter()
        self.set_reward_weights(share)

    def set_reward_weights(self, share: float) -> None:
        """Weight the parts of the reward as after `share` of the training, from 0 to 1."""
        self.reward_weights = torch.tensor(self._rewards.weights_at(share))

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Exact match on the evaluation items, in place of rewards of sampled replies."""
        del args, kwargs
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        # In evaluation mode, TRL logs these figures alone and keeps those of the training for the next row.
        model.eval()
        try:
            with self._repeated_after_stop():
                metrics = self._scores(metric_key_prefix)
            if metrics:
                self.log(metrics)
        finally:
            model.train(was_training)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._training_since = None
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save with the model's card, and without the frozen copy of the adapter and the pickle of the arguments."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir or ".")
            shutil.rmtree(folder / _REFERENCE, ignore_errors=True)
            (folder / "training_args.bin").unlink(missing_ok=True)
            self._card.write(folder)

    def take_over(self, checkpoint: Checkpoint) -> None:
        """Load the weights and the step of a checkpoint, without training."""
        self._load_from_checkpoint(str(checkpoint.path))
        self.state.global_step = checkpoint.step

    def save_start(self) -> None:
        """Save the model that the training starts from as checkpoint 0, so that selection can prefer it."""
        assert self.model is not None
        self._save_checkpoint(self.model, trial=None)

    def go_on(self, checkpoint: str | bool | None) -> None:
        """As `ResumableTrainer.go_on`, with TRL's figures since the last row."""
        self._metrics["train"].update(self._stored_log().get("figures", {}))
        super().go_on(checkpoint)

    def _log_state(self) -> dict[str, Any]:
        return {**super()._log_state(), "figures": dict(self._metrics["train"])}

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `dycktune.json` is the card."""
        del args, kwargs

    def _get_train_sampler(  # pyright: ignore[reportIncompatibleMethodOverride] - TRL names it otherwise than transformers
        self, dataset: Any = None
    ) -> "RepeatedOrder":
        order = RepeatedOrder(cast("RepeatSampler", super()._get_train_sampler(dataset)), seed=self.args.seed)
        # A second training of the same trainer has an order of its own.
        self.remove_callback(EpochSetter)
        self.add_callback(EpochSetter(order))
        return order

    def _send_telemetry(self) -> None:
        """Nothing: TRL would tell its makers about each training."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """TRL's own, in the recipe's precision and without padding; for the reference model too."""
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.bfloat16):
            if not self._packed or kwargs.get("compute_aux_loss"):
                return super()._get_per_token_logps_and_entropies(
                    model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
                )
            size = batch_size or len(input_ids)
            scored = [
                score_packed(model, ids, mask, logits_to_keep)
                for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
            ]
        log_probs_BC = torch.cat([part.log_probs_BC for part in scored])
        entropies = [part.entropies_BC for part in scored if part.entropies_BC is not None]
        return log_probs_BC, torch.cat(entropies) if compute_entropy else None, None

    def _scores(self, prefix: str) -> dict[str, float]:
        if self._answer_evaluator is None:
            return {}
        now = time.perf_counter()
        seconds = round(now - (self._training_since or now), 2)
        model = self.accelerator.unwrap_model(self.model)
        scores = self._answer_evaluator.evaluate(model, self.state.global_step, self.accelerator)
        return {f"{prefix}_{name}": value for name, value in {**scores, "training_seconds": seconds}.items()}


class RepeatedOrder(Sampler[int]):
    """TRL's order of the problems of an epoch, with a shuffle that depends only on seed and epoch.

    TRL's own shuffles one epoch after another with a generator whose state no checkpoint has, so a run that is resumed
    in a later epoch would ask other problems.
    """

    def __init__(self, order: RepeatSampler, *, seed: int):
        self._order, self._seed, self._epoch = order, seed, 0

    def __len__(self) -> int:
        return len(self._order)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`, counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self._order.generator = epoch_generator(self._seed, self._epoch)
        return iter(self._order)


class _Steps(TrainerCallback):
    """Saves the start of a training, and weights the rewards before each step by the share that is done."""

    def __init__(self, trainer: VerifiedGRPOTrainer):
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when the optimizer exists, before the first step or the first one after a resumption."""
        del args, control
        if state.global_step == 0:
            self._trainer.save_start()

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called before the step's replies are sampled and judged."""
        del args, control
        self._trainer.begin_step(state.global_step / max(1, state.max_steps))
