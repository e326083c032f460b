"""The text codec of the built-in base: position tokens that number the steps and the brackets of the final answer.

The brackets of the answer carry no numbers, and a small model copies reliably only behind a key. So the built-in
tokenizer has one special token for each position. The model writes it before each step and each bracket that the step
adds, before the answer marker, before each bracket of the answer, and at the end. Decoding without special tokens drops
it. A position token names a place in the full sequence; before the marker and at the end it names the place behind the
last. In the answer it stands before the space between two brackets, so that one look-up decides whether another
bracket follows.
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
    known = tokenizer.convert_tokens_to_ids(position_token(1))
    return known is not None and known != tokenizer.unk_token_id


class PositionCodec:
    """Adds position tokens to a reply."""

    def encode(self, text: str, *, marker: str) -> str:
        """`text` with position tokens; a text without `marker` is returned unchanged.

        The items of the answer are separated by single spaces. The steps add the last items, one each; where there are
        more steps than items, the steps count from the first item on. The items are numbered like the thoughts of the
        trace; behind the last thought, or without thoughts, the count continues by one.
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
    """The numbers of the first `size` thoughts of `reasoning`; where they are fewer, the count continues by one."""
    named = _thought_numbers(reasoning)
    return list(islice(chain(named, count(named[-1] + 1 if named else 1)), size))


def _token(position: int) -> str:
    return position_token(position) if 1 <= position <= MAX_NUMBER else ""
