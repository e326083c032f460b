"""Chat templates: how a prompt ends, how a reply ends, whether the prompt opens a think block.

Training and inference both build their ids here, so that a model gets the same prompts in both.
"""

from collections.abc import Sequence
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from dycktune.errors import ModelError
from dycktune.models.template_limits import (
    RENDER_BYTES,
    RENDER_SECONDS,
    TemplateLimitError,
    check_template,
    limited,
)
from dycktune.tasks.base import Message

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

_SENTINEL = "DYCKTUNE-REPLY"


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The ids of a prompt: the template with its generation prompt, without a second BOS.

    Raises:
        ModelError: the tokenizer has no chat template, or the template refuses the conversation.
    """
    return _encode(tokenizer, prompt_text(tokenizer, messages))


def prompt_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The text of a prompt, as `prompt_ids` encodes it. Raises ModelError as that does."""
    return _render(tokenizer, messages, add_generation_prompt=True)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids with which the template ends an assistant's turn; the last one stops decoding.

    They are found by rendering a sentinel reply: they end with the first special token after it. Text after that
    token (Qwen's newline) belongs to the next turn and is not trained.

    Raises:
        ModelError: no special token follows the reply.
    """
    conversation = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": _SENTINEL}]
    _, found, after = _render(tokenizer, conversation, add_generation_prompt=False).rpartition(_SENTINEL)
    special = _special_ids(tokenizer)
    ids = _encode(tokenizer, after) if found else []
    end = next((i for i, token in enumerate(ids) if token in special), None)
    if end is None:
        ending = f"with {after!r}, no special token" if found else "without showing the reply"
        raise ModelError(
            f"the chat template of {_name(tokenizer)} ends an assistant's turn {ending}, so a model "
            "could not learn where to stop; give it a template that ends each turn with the eos token"
        )
    return ids[: end + 1]


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: Any = None) -> list[int]:
    """Every id that ends a reply, sorted: the template's, the tokenizer's eos, the generation config's."""
    declared = getattr(generation_config, "eos_token_id", None)
    listed = declared if isinstance(declared, list) else [declared]
    known = [end_of_turn(tokenizer)[-1], tokenizer.eos_token_id, *listed]
    return sorted({i for i in known if isinstance(i, int)})


def reply_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a reply, without special tokens."""
    return cast("str", tokenizer.decode(list(ids), skip_special_tokens=True))


def opens_think(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> bool:
    """Whether the generation prompt ends by opening a think block, so that the reply begins inside it."""
    return prompt_text(tokenizer, messages).rstrip().endswith(THINK_OPEN)


def completion_text(completion: str, *, reasoning: str | None, inside_think: bool, marker: str) -> str:
    """The assistant's text after the prompt.

    Args:
        completion: The answer with or without the reasoning before it.
        reasoning: The reasoning, where the data keeps it apart from the completion; else None.
        inside_think: Whether the prompt has opened a think block, which the reasoning then closes.
        marker: The text that begins the answer; its last occurrence counts.
    """
    if THINK_CLOSE in completion:
        return completion.removeprefix(THINK_OPEN).lstrip("\n") if inside_think else completion
    if reasoning is None:
        start = max(completion.rfind(marker), 0)
        reasoning, completion = completion[:start], completion[start:]
        if not inside_think:
            return reasoning + completion
    closing = f"\n{THINK_CLOSE}\n\n" if inside_think else "\n"
    return reasoning.rstrip("\n") + closing + completion.lstrip("\n")


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, add_generation_prompt: bool
) -> str:
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of {_name(tokenizer)} has no chat template; use an instruction-tuned model, "
            "or set tokenizer.chat_template"
        )
    try:
        check_template(str(tokenizer.chat_template))
        with limited():
            text = tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
    except TemplateLimitError as error:
        limits = f"it took more than {RENDER_SECONDS:g} seconds or {RENDER_BYTES / 2**30:g} GiB of memory"
        reason = str(error) or limits
        raise ModelError(
            f"the chat template of {_name(tokenizer)} is not run: {reason}; give the model another template"
        ) from error
    except Exception as error:  # a template can fail in every way that Python can
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"the chat template of {_name(tokenizer)} refuses this conversation: {reason}"
        ) from error
    return cast("str", text)


def _encode(tokenizer: PreTrainedTokenizerBase, rendered: str) -> list[int]:
    return cast("list[int]", tokenizer(rendered, add_special_tokens=False)["input_ids"])


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return tokenizer.name_or_path or "this model"
