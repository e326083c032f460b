"""The text codec of the built-in base: position tokens that number the steps and the brackets of the final answer.

A small model copies reliably only after a key, and the brackets of the answer carry no numbers. So the built-in
tokenizer has one special token for each position in the full sequence. The model writes it before each step and before
the bracket that the step adds, before the answer marker, before each bracket of the answer, and at the end. Before the
marker and at the end it is the position after the last bracket. Decoding without special tokens drops all of them.

In the answer, the token comes before the space between two brackets. So one lookup decides whether another bracket
follows.
"""

import re
from itertools import chain, count, islice, pairwise

from transformers import PreTrainedTokenizerBase

from dycktune.models.tiny.vocabulary import MAX_NUMBER, position_token
from dycktune.tasks.dyck.trace import ADD_MARKER

_STEP = re.compile(rf"^# Step [0-9]+:{ADD_MARKER}", re.MULTILINE)
_THOUGHT = re.compile(r"^# Thought ([0-9]+):", re.MULTILINE)


def has_positions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether `tokenizer` has position tokens."""
    first = tokenizer.convert_tokens_to_ids(position_token(1))
    return first is not None and first != tokenizer.unk_token_id


class PositionCodec:
    """Adds position tokens to a reply."""

    def encode(self, text: str, *, marker: str) -> str:
        """`text` with position tokens; a text without `marker` is returned unchanged.

        Single spaces separate the items of the answer. Item i gets the number of thought i. After the last thought, or
        without thoughts, the numbers continue by one. The steps add the last items, one item a step; if there are more
        steps than items, the steps are numbered from the first item on.
        """
        start = text.rfind(marker)
        if start < 0:
            return text
        reasoning, items = text[:start], text[start + len(marker) :].split(" ")
        steps = len(_STEP.findall(reasoning))
        numbers = _numbers(reasoning, max(len(items), steps) + 1)
        step_numbers = iter(numbers[max(0, len(items) - steps) :])
        numbered = _STEP.sub(lambda step: r"{0}{1}{0}".format(_token(next(step_numbers)), step[0]), reasoning)
        spaced = [items[0], *(f" {item}" for item in items[1:])]
        answer = "".join(_token(i) + item for i, item in zip(numbers, spaced, strict=False))
        end = _token(numbers[len(items)])
        return numbered + end + marker + answer + end

    def unsupervised(self, text: str) -> list[str]:
        """The position tokens of numbers that do not follow from the number before: a first one other than 1, jumps."""
        numbers = [0, *_thought_numbers(text)]
        return [
            re.escape(position_token(after)) for before, after in pairwise(numbers) if after != before + 1
        ]


def _thought_numbers(reasoning: str) -> list[int]:
    return [int(number) for number in _THOUGHT.findall(reasoning)]


def _numbers(reasoning: str, size: int) -> list[int]:
    """The numbers of the first `size` thoughts of `reasoning`; after the last thought the numbers continue by one."""
    stated = _thought_numbers(reasoning)
    return list(islice(chain(stated, count(stated[-1] + 1 if stated else 1)), size))


def _token(position: int) -> str:
    """The position token; no text for a position that has none."""
    return position_token(position) if 1 <= position <= MAX_NUMBER else ""
