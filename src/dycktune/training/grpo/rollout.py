"""Samples the replies of a training step: speculative sampling, whose distribution is the model's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.inference.completion import PromptBuilder
from dycktune.inference.reference import Prompt, Reply
from dycktune.inference.sampling import draws_of
from dycktune.inference.speculative import decode
from dycktune.models.chat import prompt_text
from dycktune.models.loading import LoadedModel
from dycktune.tasks.base import Item, Message, Task


class Rollout:
    """Samples a reply to each prompt of a step, as TRL's trainer calls it (`rollout_func`).

    Up to rounding of the logits, a reply depends on the weights, the seed, the step and its place in the step, not on
    the batch it is sampled in. A resumed training samples the same batches, and so the replies of an uninterrupted one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        items: Sequence[Item],
        *,
        temperature: float,
        seed: int,
    ) -> None:
        """Prepare to sample replies to `items`; no other prompts can be answered.

        Raises:
            ItemError: an item and its reply exceed the context of `model`.
        """
        self._tokenizer = tokenizer
        self._temperature, self._seed = temperature, seed
        self._build = PromptBuilder(self._loaded(model), task)
        for item in items:
            # An item that is too long would end the training at the step that asks it. The prompts are not kept,
            # because the drafts of each follow one reply.
            self._build(item)
        self._items = {self._key(task.messages(item)): item for item in items}

    def __call__(self, prompts: Sequence[Sequence[Message]], trainer: Any) -> dict[str, Any]:
        """The ids of each prompt and of a sampled reply, stop token included."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        seed = (self._seed, trainer.state.global_step, trainer.accelerator.process_index)
        asked = self._prompts(prompts, seed)
        # A resumed training begins the step again.
        with trainer.stop_at_once():
            replies = self._sample(model, asked)
        return {
            "prompt_ids": [prompt.ids for prompt in asked],
            "completion_ids": [_with_stop(reply) for reply in replies],
            # The trainer computes them itself where it needs them.
            "logprobs": None,
        }

    def _prompts(self, prompts: Sequence[Sequence[Message]], seed: tuple[int, ...]) -> list[Prompt]:
        built = [self._build(self._items[self._key(prompt)]) for prompt in prompts]
        return [
            replace(prompt, draws=draws_of(prompt.limit, temperature=self._temperature, seed=(*seed, i)))
            for i, prompt in enumerate(built)
        ]

    def _sample(self, model: PreTrainedModel | PeftModel, prompts: Sequence[Prompt]) -> list[Reply]:
        was_training = model.training
        model.eval()
        try:
            return decode(self._loaded(model), prompts)
        finally:
            model.train(was_training)

    def _loaded(self, model: PreTrainedModel | PeftModel) -> LoadedModel:
        return LoadedModel(
            model=cast("PreTrainedModel", model),
            tokenizer=self._tokenizer,
            card=None,
            reference="the model in training",
        )

    def _key(self, messages: Sequence[Mapping[str, str]]) -> str:
        return prompt_text(self._tokenizer, cast("Sequence[Message]", messages))


def _with_stop(reply: Reply) -> list[int]:
    return reply.ids if reply.stop is None else [*reply.ids, reply.stop]
