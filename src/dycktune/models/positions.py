"""Position tokens: how a tokenizer that has them numbers the brackets of a final answer.

The final answer must read as plain brackets, yet a small model copies a long sequence reliably only where each
symbol has a key. The built-in tokenizer therefore holds one special token a position; the model writes it
before each bracket of the answer, and decoding without special tokens drops it. It says where the bracket
stands and nothing else. Tokenizers without such tokens (every real model's) are left as they are.
"""

from transformers import PreTrainedTokenizerBase

from dycktune.models.tiny.vocabulary import MAX_NUMBER, position_token


def has_positions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether `tokenizer` holds position tokens."""
    known = tokenizer.convert_tokens_to_ids(position_token(1))
    return known is not None and known != tokenizer.unk_token_id


def number_answer(text: str, tokenizer: PreTrainedTokenizerBase, *, marker: str) -> str:
    """`text` with a position token before each space-separated item after its last `marker`.

    Decoded without special tokens, the result is `text` again. Text before the marker is never changed.
    """
    start = text.rfind(marker)
    if start < 0 or not has_positions(tokenizer):
        return text
    end = start + len(marker.rstrip())
    first, *words = text[end:].split(" ")
    return text[:end] + first + "".join(f"{_token(i)} {word}" for i, word in enumerate(words, start=1))


def _token(position: int) -> str:
    return position_token(position) if position <= MAX_NUMBER else ""
