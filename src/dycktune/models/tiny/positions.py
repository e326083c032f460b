"""Position tokens: how a tokenizer that has them numbers the steps and the brackets of the final answer.

There the brackets must read plain, yet a small model copies reliably only what has a key. The built-in tokenizer
therefore holds one special token a position; the model writes it before each of these brackets, before each step,
before the answer marker and at the answer's end, and decoding without special tokens drops it. It names a place in
the full sequence, in the last two cases the one behind its last, and nothing else. In the answer it stands before
the space between two brackets, so that going on or ending is one look-up of the place that was just named.
Tokenizers without such tokens (every real model's) are left as they are.
"""

import re
from itertools import chain, count, islice

from transformers import PreTrainedTokenizerBase

from dycktune.models.tiny.vocabulary import MAX_NUMBER, position_token
from dycktune.tasks.dyck.trace import ADD_MARKER

_STEP = re.compile(rf"^# Step [0-9]+:{ADD_MARKER}", re.MULTILINE)
_THOUGHT = re.compile(r"^# Thought ([0-9]+):", re.MULTILINE)


def has_positions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether `tokenizer` holds position tokens."""
    known = tokenizer.convert_tokens_to_ids(position_token(1))
    return known is not None and known != tokenizer.unk_token_id


def number_brackets(text: str, tokenizer: PreTrainedTokenizerBase, *, marker: str) -> str:
    """`text` with position tokens.

    They stand before each item after its last `marker` and the space before it, behind the last item, before the
    marker, before each step and before what the step adds. Items are parted by single spaces; the steps add the last
    ones, one each; where there are more steps than items, the steps count from the first item on. Item by item, their
    numbers are those of the trace's thoughts; behind the last thought, or where there is none, they count on by one.
    Decoded without special tokens, the result is `text` again. A text without `marker` is not changed.
    """
    start = text.rfind(marker)
    if start < 0 or not has_positions(tokenizer):
        return text
    reasoning, items = text[:start], text[start + len(marker) :].split(" ")
    steps = len(_STEP.findall(reasoning))
    numbers = _numbers(reasoning, max(len(items), steps) + 1)
    places = iter(numbers[max(0, len(items) - steps) :])
    numbered = _STEP.sub(lambda step: r"{0}{1}{0}".format(_token(next(places)), step[0]), reasoning)
    spaced = [items[0], *(f" {item}" for item in items[1:])]
    answer = "".join(_token(i) + item for i, item in zip(numbers, spaced, strict=False))
    end = numbers[len(items)]
    return numbered + _token(end) + marker + answer + _token(end)


def _numbers(reasoning: str, size: int) -> list[int]:
    """What the first `size` thoughts of `reasoning` are numbered, and on from the last by one where they are fewer."""
    named = [int(number) for number in _THOUGHT.findall(reasoning)]
    return list(islice(chain(named, count(named[-1] + 1 if named else 1)), size))


def _token(position: int) -> str:
    return position_token(position) if 1 <= position <= MAX_NUMBER else ""
