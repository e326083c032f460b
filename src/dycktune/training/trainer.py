"""transformers' Trainer with a weight for every token."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import Sampler
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput

from dycktune.data.tokens import IGNORED
from dycktune.models.card import ModelCard
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.collator import DataCollatorWithWeights, in_parts
from dycktune.training.head import TiledHead, tiled_head
from dycktune.training.loss import EPSILON, Targets, TokenLosses, summary, token_losses
from dycktune.training.memory import bytes_kept, halved, is_out_of_memory, tokens_that_fit
from dycktune.training.packing import can_pack, pack, packed_losses
from dycktune.training.resumable import Rest, ResumableTrainer
from dycktune.training.sampler import EpochSetter, LengthGroupedOrder


class WeightedLossTrainer(ResumableTrainer):
    """Trains with Σ w·nll / Σ w, both sums over the whole optimizer step.

    The divisor is summed over every micro-batch of the step and every data-parallel rank before the first
    forward pass, so the gradient does not depend on how a step is split. With a mean per micro-batch, a short
    one would count as much as a long one (transformers issue 34191).

    Batches come from `DataCollatorWithWeights`. Logs and evaluations contain `loss_reasoning`, `loss_answer`,
    `accuracy_reasoning`, `accuracy_answer` and `answer_share` beside `loss`. Those of an evaluation come from sums
    over all its rows, the same for every batch size and number of ranks. An answer evaluator adds exact match.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *args: Any,
        data_collator: DataCollatorWithWeights | None = None,
        card: ModelCard | None = None,
        answer_evaluator: AnswerEvaluator | None = None,
        bfloat16: bool = False,
        packed: bool = True,
        tokens_per_pass: int | None = None,
        on_smaller_parts: Callable[[int], None] | None = None,
        **kwargs: Any,
    ):
        """Build the trainer.

        Args:
            *args: Trainer's own.
            data_collator: Makes batches with `labels`, `label_weights` and `answer_mask`.
            card: Written into each checkpoint as `dycktune.json`.
            answer_evaluator: Adds its scores to every evaluation.
            bfloat16: Whether losses are computed under autocast to bfloat16. Trainer's own `bf16` would also change
                how the answer evaluator decodes.
            packed: Whether the rows of a batch are computed without padding, and what all prompts begin with only once,
                where that is possible (`packing.can_pack`). The loss and its gradient are the same.
            tokens_per_pass: Maximum number of tokens in a forward pass of training on each rank, padding included; a
                larger batch is split into parts, with the same gradient. None: no limit. It is halved where memory
                runs out.
            on_smaller_parts: Called with the new `tokens_per_pass`.
            **kwargs: Trainer's own; `args.remove_unused_columns` must be False.
        """
        super().__init__(
            *args,
            data_collator=data_collator or DataCollatorWithWeights(),
            compute_metrics=_evaluation_summary,  # pyright: ignore[reportArgumentType]
            **kwargs,
        )
        # Older transformers divide the loss by the accumulation steps where this is False.
        self.model_accepts_loss_kwargs = True
        self._card, self.bfloat16 = card, bfloat16
        self._answer_evaluator = answer_evaluator
        self.tokens_per_pass = tokens_per_pass
        plain: Any = self.accelerator.unwrap_model(self.model)
        self._head = tiled_head(plain)
        self._packed = packed and can_pack(plain, self._head)
        self._on_smaller_parts = on_smaller_parts
        self._micro_batches: list[dict[str, Any]] = []
        self._step_start: Rest | None = None
        self._training_since: float | None = None
        """Time of the first training step after an evaluation."""

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward pass of a batch, split into parts if it is large. Returns its loss, without a graph.

        Where memory runs out, the parts are halved and the optimizer step begins anew; its gradient is the same.

        Raises:
            RunError: memory runs out for a single example, or on one of several ranks.
        """
        self._training_since = self._training_since or time.perf_counter()
        if not self._micro_batches:
            self._step_start = self._at_rest()
        self._micro_batches.append(inputs)
        with self.stop_at_once():
            loss = self._loss_of_last([inputs], model, num_items_in_batch)
            while loss is None:
                self._halve_parts(model)
                loss = self._loss_of_last(self._micro_batches, model, num_items_in_batch)
        return loss

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own, which begins an optimizer step."""
        self._micro_batches = []
        return super().get_batch_samples(*args, **kwargs)

    def _loss_of_last(
        self, batches: Sequence[dict[str, Any]], model: nn.Module, divisor: Tensor | int | None
    ) -> Tensor | None:
        """Add the gradients of micro-batches; returns the loss of the last, or None where memory ran out."""
        try:
            return [self._loss_in_parts(model, batch, divisor) for batch in batches][-1]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Only here: the error's frames hold tensors.
        clear_device_cache(garbage_collection=True)
        return None

    def _halve_parts(self, model: nn.Module) -> None:
        """Halve `tokens_per_pass` and return to the start of the optimizer step."""
        shapes = [tuple(batch["labels"].shape) for batch in self._micro_batches]
        self.tokens_per_pass = halved(self.tokens_per_pass, shapes)
        if self._on_smaller_parts is not None:
            self._on_smaller_parts(self.tokens_per_pass)
        assert self._step_start is not None
        self._step_start.restore_without_loss(self)
        model.zero_grad()

    def _loss_in_parts(
        self, model: nn.Module, inputs: dict[str, Any], divisor: Tensor | int | None
    ) -> Tensor:
        *parts, last = self._parts(inputs)
        losses = []
        for part in parts:
            with self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, divisor))
        # Ranks exchange gradients in the last part, unless Trainer turned that off around this call.
        losses.append(super().training_step(model, last, divisor))
        return torch.stack(losses).sum()

    def _parts(self, inputs: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        if self.tokens_per_pass is None:
            return [inputs]
        length = torch.tensor(inputs["labels"].shape[1], device=self.args.device)
        longest = self.accelerator.gather(length).max()  # pyright: ignore[reportAttributeAccessIssue]
        return in_parts(inputs, self.tokens_per_pass, longest=int(longest))

    def tokens_that_fit(self) -> int | None:
        """The `tokens_per_pass` for the memory that is free now, the same on all ranks; None if every batch fits.

        A forward pass of the longest row is measured. Where activations are recomputed or the model is sharded, that
        would say little, and the answer is None.
        """
        if self.args.activation_checkpointing or self.is_fsdp_enabled:
            return None
        rows: Any = self.train_dataset
        longest = max(rows, key=lambda row: len(row["input_ids"]))
        batch = self._prepare_inputs(self.data_collator([longest]))
        model: Any = self.model
        kept = bytes_kept(lambda: self._losses(model.train(), batch))
        tokens = len(longest["input_ids"])
        here = torch.tensor(tokens_that_fit(kept, tokens, self.args.device), device=self.args.device)
        fit = int(self.accelerator.gather(here).min())  # pyright: ignore[reportAttributeAccessIssue]
        return None if fit >= self.args.train_batch_size * tokens else fit

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """This rank's part of the step's loss; the mean of the ranks' gradients is the step's gradient."""
        outputs, tokens = self._losses(model, inputs)
        if model.training:
            self._add_to_log(tokens.sums(len(inputs["labels"])).sum(dim=0))
        if num_items_in_batch is None:
            scale = 1 / tokens.weights.sum().clamp(min=EPSILON)
        else:
            scale = self.args.world_size / torch.as_tensor(num_items_in_batch).clamp(min=EPSILON)
        loss = tokens.weighted * scale.to(tokens.nll)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *_args: Any, **_kwargs: Any
    ) -> tuple[None, Tensor, Tensor]:
        """Each row's sums instead of its logits, so that Trainer gathers them and drops repeated rows."""
        sums_BPQ = self._sums_of_rows(model, self._prepare_inputs(inputs))
        return None, sums_BPQ, sums_BPQ[:, 0, 0]

    def _sums_of_rows(self, model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
        """(B, P, Q) sums; a batch for which memory runs out is computed in halves."""
        rows = len(inputs["labels"])
        try:
            with torch.no_grad():
                return self._losses(model, inputs)[1].sums(rows)
        except RuntimeError as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
        clear_device_cache(garbage_collection=True)
        halves = (slice(0, rows // 2), slice(rows // 2, rows))
        parts = [{name: column[half] for name, column in inputs.items()} for half in halves]
        return torch.cat([self._sums_of_rows(model, part) for part in parts])

    def _evaluation(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        """The evaluation loop, with the scores of the answer evaluator and the time of the training before it added."""
        started = time.perf_counter()
        training = {"training_seconds": round(started - (self._training_since or started), 2)}
        self._training_since = None
        output = super()._evaluation(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._answer_evaluator is None or output.metrics is None:
            return output
        model = self.accelerator.unwrap_model(self.model)
        scores = self._answer_evaluator.evaluate(model, self.state.global_step, self.accelerator)
        named = {f"{metric_key_prefix}_{name}": value for name, value in {**scores, **training}.items()}
        return output._replace(metrics=output.metrics | named)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log; a row of training also gets the losses by part since the last one."""
        if "loss" in logs and self._sums_since_log is not None:
            sums = self.accelerator.reduce(self._sums_since_log, reduction="sum")
            logs |= {key: value for key, value in summary(sums).items() if key != "loss"}  # pyright: ignore
            self._sums_since_log = None
        super().log(logs, start_time)

    def mean_loss_since_log(self) -> float | None:
        """Σ w·nll / Σ w over all ranks and steps since the last log row; None if there was no step."""
        if self._sums_since_log is None:
            return None
        sums: Any = self.accelerator.reduce(self._sums_since_log, reduction="sum")
        return summary(sums)["loss"]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save with the model's card, and without `training_args.bin`, a pickle that nothing may load."""
        folder = Path(output_dir or self.args.output_dir or ".")
        if self.is_fsdp_enabled and isinstance(self.model, PeftModel):
            # Trainer's own gathers the whole base too, or nothing, depending on accelerate's kind of state dict.
            self._save(str(folder), _gathered_adapter(self.model))
        else:
            super().save_model(output_dir, _internal_call)
        if not self.args.should_save:
            return
        (folder / "training_args.bin").unlink(missing_ok=True)
        if self._card is not None:
            self._card.write(folder)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor:
        """The step's divisor: the sum of weights over its micro-batches and all ranks."""
        weights = [_targets(batch).weight.to(device) for batch in batch_samples]
        local = torch.stack(weights).sum()
        return self.accelerator.gather(local).sum()  # pyright: ignore[reportAttributeAccessIssue]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        order = LengthGroupedOrder(
            [len(row["input_ids"]) for row in dataset],
            group=self.args.train_batch_size * self.args.world_size,
            seed=self.args.seed,
        )
        # A second training of the same trainer has an order of its own.
        self.remove_callback(EpochSetter)
        self.add_callback(EpochSetter(order))
        return order

    def _losses(self, model: nn.Module, inputs: Mapping[str, Any]) -> tuple[Any, TokenLosses]:
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.bfloat16):
            if self._packed and self._head is not None:
                return packed_losses(model, pack(inputs), self._head)
            return _forward(model, inputs, self._head)

    def _add_to_log(self, sums_PQ: Tensor) -> None:
        self._sums_since_log = sums_PQ if self._sums_since_log is None else self._sums_since_log + sums_PQ


def _forward(model: nn.Module, inputs: Mapping[str, Any], head: TiledHead | None) -> tuple[Any, TokenLosses]:
    """Run the wrapped model, never an inner module: that would bypass data-parallel synchronisation.

    Rows are padded on the right, where causal attention never looks, so no mask is passed: kernels without one
    are faster. Positions before the first supervised token of any row, such as prompts, get no logits.
    """
    targets = _targets(inputs)
    length = targets.labels.shape[1]
    supervised = (targets.labels[:, 1:] != IGNORED).any(dim=0).nonzero()
    first = int(supervised[0]) if len(supervised) else length - 1
    kept = Targets(*(tensor[:, first:] for tensor in targets))
    arguments = {"input_ids": inputs["input_ids"], "use_cache": False, "logits_to_keep": length - first}
    if head is None:
        outputs = model(**arguments)
        return outputs, token_losses(outputs.logits, kept)
    with head.computing_loss(kept):
        outputs = model(**arguments)
    return outputs, head.losses(outputs.logits)


def _gathered_adapter(model: PeftModel) -> dict[str, Any]:
    """The trained weights of a model sharded by FSDP: all of them on the main rank, none on the others."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return get_model_state_dict(model, options=options)


def _targets(batch: Mapping[str, Any]) -> Targets:
    return Targets(batch["labels"], batch["label_weights"], batch["answer_mask"])


def _evaluation_summary(prediction: EvalPrediction) -> dict[str, float]:
    return summary(torch.as_tensor(prediction.predictions).double().sum(dim=0))
