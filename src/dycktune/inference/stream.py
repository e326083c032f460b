"""A reply shown while it is decoded: plain greedy decoding, token by token.

The row is decoded alone with the model's own `generate`, which every other way of decoding must agree with. So the text
is that of `complete`, and only slower, since no draft is used.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from dycktune.inference.completion import Completion, PromptBuilder
from dycktune.inference.reference import Prompt, Reply, generate_batch
from dycktune.models.chat import reply_text, stop_ids
from dycktune.models.loading import LoadedModel
from dycktune.tasks.base import Item, Task

OnText = Callable[[str], None]
"""Called with the whole text so far, each time it has changed. An error that it raises ends the decoding."""

UNFINISHED = "\ufffd"
"""What a decoder writes for a character whose last bytes are still to come."""


def stream(loaded: LoadedModel, task: Task, item: Item, on_text: OnText) -> Completion:
    """Decode a model's reply to one item greedily, showing it as it grows, and verify it.

    Args:
        loaded: The model.
        task: The task whose messages ask for the item.
        item: The question.
        on_text: Called with the text after each token, without special tokens. Each text begins with the one before,
            unless the tokenizer's clean-up of spaces changes it; the last is the reply's whole text.

    Returns:
        The same text and verdict as `complete`.

    Raises:
        ItemError: the item and its reply exceed the model's context.
    """
    prompt = PromptBuilder(loaded, task)(item)
    reply = stream_prompt(loaded, prompt, on_text)
    text = reply_text(loaded.tokenizer, reply.ids)
    return Completion(item=item, prompt=prompt, text=text, verdict=task.verify(item, text), reply=reply)


def stream_prompt(loaded: LoadedModel, prompt: Prompt, on_text: OnText) -> Reply:
    """As `stream`, for a prompt; nothing is verified."""
    watch = _Watch(loaded, len(prompt.ids), on_text)
    (reply,) = generate_batch(loaded, [prompt], watch=watch)
    watch.show(reply_text(loaded.tokenizer, reply.ids))
    return reply


class _Watch(StoppingCriteria):
    """Sees every token and stops nothing."""

    def __init__(self, loaded: LoadedModel, prompt_length: int, on_text: OnText) -> None:
        self._tokenizer, self._start, self._on_text = loaded.tokenizer, prompt_length, on_text
        self._stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
        self._shown = ""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        """Show the text, and let the decoding continue."""
        del scores, kwargs
        written = input_ids[0, self._start :].tolist()
        if written[-1] not in self._stops:
            self.show(reply_text(self._tokenizer, written).rstrip(UNFINISHED))
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    def show(self, text: str) -> None:
        """Show a text that differs from the last one."""
        if text != self._shown:
            self._shown = text
            self._on_text(text)
