"""Position tokens: how a tokenizer that has them numbers the brackets of the steps and the final answer.

There the brackets must read plain, yet a small model copies reliably only what has a key. The built-in tokenizer
therefore holds one special token a position; the model writes it before each of these brackets, and decoding
without special tokens drops it. It says where the bracket stands in the full sequence and nothing else.
Tokenizers without such tokens (every real model's) are left as they are.
"""

import re
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from dycktune.models.tiny.vocabulary import MAX_NUMBER, position_token

_STEP = re.compile(r"^# Step [0-9]+: add '", re.MULTILINE)


def has_positions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether `tokenizer` holds position tokens."""
    known = tokenizer.convert_tokens_to_ids(position_token(1))
    return known is not None and known != tokenizer.unk_token_id


def number_brackets(text: str, tokenizer: PreTrainedTokenizerBase, *, marker: str) -> str:
    """`text` with a position token before each item after its last `marker`, and before what each step adds.

    Items are parted by single spaces; the steps add the last ones, one each. Decoded without special tokens, the
    result is `text` again. A text without `marker` is not changed.
    """
    start = text.rfind(marker)
    if start < 0 or not has_positions(tokenizer):
        return text
    end = start + len(marker)
    reasoning, items = text[:end], text[end:].split(" ")
    before = len(items) - len(_STEP.findall(reasoning))
    *steps, last = _parted(reasoning)
    numbered = [step + _token(before + k) for k, step in enumerate(steps, start=1)]
    answer = " ".join(_token(i) + item for i, item in enumerate(items, start=1))
    return "".join(numbered) + last + answer


def _parted(reasoning: str) -> list[str]:
    """`reasoning` cut behind the opening quote of each step."""
    cuts = [0, *(found.end() for found in _STEP.finditer(reasoning)), len(reasoning)]
    return [reasoning[a:b] for a, b in pairwise(cuts)]


def _token(position: int) -> str:
    return position_token(position) if 1 <= position <= MAX_NUMBER else ""
