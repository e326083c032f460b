"""One fault each in the real pipeline: a collator, a tokenizer, an adapter, an optimizer or a loop that is wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor
from torch.optim import AdamW

from dycktune.data import tokens
from dycktune.data.tokens import IGNORED
from dycktune.training import run
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.trainer import WeightedLossTrainer

Batch = dict[str, Tensor]
Seed = Callable[[Any], None]
"""Puts a fault in place with pytest's monkeypatch."""


def in_batch(change: Callable[[Batch], object]) -> Seed:
    """A collator whose batches are changed in place."""

    def seed(monkeypatch: Any) -> None:
        collate = DataCollatorWithWeights.__call__

        def wrong(self: DataCollatorWithWeights, rows: Sequence[Mapping]) -> Batch:
            batch = collate(self, rows)
            change(batch)
            return batch

        monkeypatch.setattr(DataCollatorWithWeights, "__call__", wrong)

    return seed


def in_rows(change: Callable[[dict], dict]) -> Seed:
    """A collator that gets other rows."""

    def seed(monkeypatch: Any) -> None:
        collate = DataCollatorWithWeights.__call__
        monkeypatch.setattr(
            DataCollatorWithWeights,
            "__call__",
            lambda self, rows: collate(self, [change(dict(r)) for r in rows]),
        )

    return seed


def in_adapter(change: Callable[[Any], object]) -> Seed:
    """An adapter that is changed in place."""

    def seed(monkeypatch: Any) -> None:
        make = run.trained_model

        def wrong(*args: Any) -> Any:
            model = make(*args)
            change(model)
            return model

        monkeypatch.setattr(run, "trained_model", wrong)

    return seed


def in_trainer(name: str, wrong: Any) -> Seed:
    """A trainer whose method `name` is `wrong(the right one)`."""
    return lambda monkeypatch: monkeypatch.setattr(
        WeightedLossTrainer, name, wrong(getattr(WeightedLossTrainer, name))
    )


def shifted(batch: Batch) -> None:
    batch["labels"][:, :-1] = batch["labels"][:, 1:].clone()


def with_prompt(batch: Batch) -> None:
    attended = batch["attention_mask"].bool()
    batch["labels"] = batch["input_ids"].where(attended, IGNORED)
    batch["labels"][:, 0] = IGNORED  # nothing predicts the first token
    batch["label_weights"] = batch["label_weights"].where(batch["label_weights"] > 0, attended.float())


def with_padding(batch: Batch) -> None:
    padding = ~batch["attention_mask"].bool()
    batch["labels"][padding] = batch["input_ids"][padding]
    batch["label_weights"][padding] = 1.0


def masked_by_id_of_end(batch: Batch) -> None:
    """What a collator does that masks padding by its id, where that is the end of turn's."""
    last = batch["attention_mask"].sum(dim=1) - 1
    end = batch["input_ids"][0, last[0]]
    batch["labels"][batch["input_ids"] == end] = IGNORED


def all_masked(batch: Batch) -> None:
    batch["labels"][:] = IGNORED


def late_labels(batch: Batch) -> None:
    """The first 20 tokens of each reply carry no loss."""
    for row in batch["labels"]:
        row[(row != IGNORED).nonzero()[:20, 0]] = IGNORED


def swapped_weights(batch: Batch) -> None:
    weights, answer = batch["label_weights"], batch["answer_mask"]
    batch["label_weights"] = torch.where(answer, 1.0, 5.0) * (weights > 0)


def answer_from(offset: int) -> Callable[[dict], dict]:
    """Rows whose answer span begins some tokens too late."""

    def change(row: dict) -> dict:
        row["label_weights"] = row["label_weights"].copy()
        if offset > 0:
            row["label_weights"][row["answer_start"] :][:offset] = 1.0
        else:
            row["label_weights"][row["answer_start"] + offset : row["answer_start"]] = 5.0
        return row | {"answer_start": row["answer_start"] + offset}

    return change


def cut_off(row: dict) -> dict:
    """The last tenth of a row is left out, as by a maximum length."""
    kept = len(row["input_ids"]) * 9 // 10
    return {name: value[:kept] if hasattr(value, "__len__") else value for name, value in row.items()}


def with_second_bos(row: dict) -> dict:
    return {name: value if name == "answer_start" else [value[0], *value] for name, value in row.items()} | {
        "answer_start": row["answer_start"] + 1
    }


def other_template(monkeypatch: Any) -> None:
    """Rows in another chat template than that of the tokenizer."""

    def wrong(tokenizer: Any, messages: Sequence[Mapping]) -> list[int]:
        return tokenizer("### Question: " + messages[-1]["content"] + "\n### Reply:\n")["input_ids"]

    monkeypatch.setattr(tokens, "prompt_ids", wrong)


def layers_of(model: Any) -> list[lora.Linear]:
    return [module for module in model.modules() if isinstance(module, lora.Linear)]


def without_scale(model: Any) -> None:
    for layer in layers_of(model):
        layer.scaling["default"] = 0.0


def bypassed(model: Any) -> None:
    """Layers whose forward is patched to the base's, as by a kernel that does not know the adapter."""
    for name, layer in model.named_modules():
        if name.endswith("q_proj") and isinstance(layer, lora.Linear):
            layer.forward = layer.get_base_layer().forward


def with_trained_norm(model: Any) -> None:
    model.base_model.model.model.norm.weight.requires_grad_(True)


def with_stuck_dropout(model: Any) -> None:
    for layer in layers_of(model):
        dropout: Any = layer.lora_dropout["default"]
        dropout.train = lambda *_, dropout=dropout: dropout


def with_cut_graph(model: Any) -> None:
    """Nothing before the second layer gets a gradient."""
    first = model.base_model.model.model.layers[0]
    first.register_forward_hook(
        lambda _module, _inputs, output: (
            output.detach() if isinstance(output, Tensor) else (output[0].detach(), *output[1:])
        )
    )


def with_old_gradients(model: Any) -> None:
    model.zero_grad = lambda *_, **__: None


def detached(right: Any) -> Any:
    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        return right(self, *args, **kwargs).detach().requires_grad_()

    return compute_loss


def mean_per_batch(right: Any) -> Any:
    def compute_loss(self: Any, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        return right(self, model, inputs) / self.args.gradient_accumulation_steps

    return compute_loss


def with_optimizer(make: Callable[[list], Any]) -> Any:
    def wrong(_right: Any) -> Any:
        def create_optimizer(self: Any, *_: Any) -> Any:
            self.optimizer = make([(n, p) for n, p in self.model.named_parameters() if p.requires_grad])
            return self.optimizer

        return create_optimizer

    return in_trainer("create_optimizer", wrong)


class IdleAdamW(AdamW):
    def step(self, closure: Any = None) -> None:
        """Make no step."""


def other_schedule(right: Any) -> Any:
    """The schedule moves the rate of another optimizer."""

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        del optimizer
        other = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=self.args.learning_rate)
        return right(self, num_training_steps, optimizer=other)

    return create_scheduler


def training_mode(right: Any) -> Any:
    def prediction_step(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        model.train()
        return right(self, model, *args, **kwargs)

    return prediction_step


ROW_FAULTS: dict[str, list[Seed]] = {
    "labels_shifted": [in_batch(shifted)],
    "prompt_not_masked": [in_batch(with_prompt)],
    "padding_learned": [in_batch(with_padding)],
    "end_of_turn_not_learned": [in_batch(masked_by_id_of_end)],
    "completion_cut_off": [in_rows(cut_off)],
    "nothing_to_learn": [in_batch(all_masked)],
    "reply_partly_masked": [in_batch(late_labels)],
    "weight_on_wrong_span": [in_batch(swapped_weights), in_rows(answer_from(6)), in_rows(answer_from(-6))],
    "another_chat_template": [other_template],
}
MODEL_FAULTS: dict[str, list[Seed]] = {
    "not_in_optimizer": [
        with_optimizer(lambda named: AdamW([p for n, p in named if "lora_B" not in n], lr=1e-2))
    ],
    "trained_but_not_saved": [in_adapter(with_trained_norm)],
    "merge_changes_nothing": [in_adapter(without_scale), in_adapter(bypassed)],
    "dropout_in_evaluation": [in_adapter(with_stuck_dropout), in_trainer("prediction_step", training_mode)],
    "adapter_not_trained": [in_trainer("compute_loss", detached), in_adapter(with_cut_graph)],
    "loss_not_normalized": [in_trainer("compute_loss", mean_per_batch)],
    "weights_unchanged": [with_optimizer(lambda named: IdleAdamW([p for _, p in named], lr=1e-2))],
    "learning_rate_frozen": [in_trainer("create_scheduler", other_schedule)],
    "gradients_not_cleared": [in_adapter(with_old_gradients)],
}
