"""A tokenizer as a GGUF file holds it, with its chat template and stop tokens."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase

from dycktune.errors import ModelError
from dycktune.models.chat import end_of_turn
from dycktune.models.gguf.vocabulary import (
    CONTROL,
    ENDS,
    USER_DEFINED,
    keeps_words_whole,
    pre_tokenizer_of,
)
from dycktune.models.tiny import llama_cpp
from dycktune.models.tiny.positions import has_positions

_CUTS = ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "tekken")
"""One rule for cutting text of each kind that is known."""
_NORMAL, _UNUSED = 1, 5

# Text that the rules cut differently: digits, marks, signs, contractions, spaces, line ends, letters of many scripts.
_HARD = (
    "1234567890 3.14159 x1y22z333 ½ ² ٣ Ⅷ",
    "it's I'LL we'Re don't 's",
    "((((([[[[{{{{<<<< ( [ { < )]}> a.b,c;d:e!f?g http://example.org/a?b=c&d=%20",
    "a  b   c    d \t\tx \n \n\na\r\nb\rc   ",
    "naïve é e\u0301 ﬁ 日本語のテキスト 🙂🙂 \u00a0nbsp\u2003em",
    "ALLCAPSword CamelCase snake_case /path/to\nx/ y",
)


class _Words(NamedTuple):
    """How a tokenizer cuts text."""

    cut: str
    """llama.cpp's name of the rule."""
    merges: Sequence[tuple[str, str]]
    searched: Mapping[str, str]
    """Tokens of the vocabulary that llama.cpp finds before it cuts the text, with their texts."""


def tokenizer_metadata(
    tokenizer: PreTrainedTokenizerBase, *, vocabulary: int, stops: Sequence[int]
) -> dict[str, Any]:
    """The metadata of a tokenizer, by GGUF's full names.

    Args:
        tokenizer: A byte-level BPE.
        vocabulary: Rows of the model's embedding; rows without a token get a name of their own.
        stops: Ids that end a reply.

    Raises:
        ModelError: llama.cpp cannot cut text as this tokenizer does, or cannot stop where this model does.
    """
    if len(tokenizer) > vocabulary:
        raise _refusal(f"has {len(tokenizer)} tokens, and the model {vocabulary}")
    words = _words(tokenizer)
    tokens, types = _tokens(tokenizer, vocabulary, words.searched)
    values = {
        "model": "gpt2",
        "pre": words.cut,
        "tokens": tokens,
        "token_type": types,
        "merges": [" ".join(merge) for merge in words.merges],
        "add_bos_token": _adds_bos(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "padding_token_id": tokenizer.pad_token_id,
        **_stops(tokenizer, stops),
    }
    found = {f"tokenizer.ggml.{name}": value for name, value in values.items() if value is not None}
    return found | {"tokenizer.chat_template": tokenizer.get_chat_template()}


def _words(tokenizer: PreTrainedTokenizerBase) -> _Words:
    if has_positions(tokenizer):
        return _Words(llama_cpp.CUT, llama_cpp.merges(), llama_cpp.searched_pieces())
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _refusal("is written in Python alone")
    content = json.loads(backend.to_str())
    kind, decoder = content["model"]["type"], (content["decoder"] or {}).get("type")
    if (kind, decoder) != ("BPE", "ByteLevel"):
        raise _refusal(f"is no byte-level BPE (it is a {kind} with the decoder {decoder})")
    merges = [tuple(merge) for merge in content["model"]["merges"]]
    return _Words(_cut(backend, whole=bool(content["model"].get("ignore_merges"))), merges, {})


def _cut(backend: Tokenizer, *, whole: bool) -> str:
    """The rule that cuts hard text into the same words."""
    if any(_normalized(backend.normalizer, text) != text for text in _composed()):
        raise _refusal("changes text before it cuts it")
    own = _pieces(backend.pre_tokenizer)
    for cut in _CUTS:
        if whole == keeps_words_whole(cut) and own == _pieces(pre_tokenizer_of(cut)):
            return cut
    raise _refusal(f"cuts text by none of the rules {', '.join(_CUTS)}")


def _composed() -> list[str]:
    """Hard text in the form NFC, to which some tokenizers turn a text and llama.cpp does not."""
    return [unicodedata.normalize("NFC", text) for text in _HARD]


def _normalized(normalizer: normalizers.Normalizer | None, text: str) -> str:
    return text if normalizer is None else normalizer.normalize_str(text)


def _pieces(pre_tokenizer: pre_tokenizers.PreTokenizer | None) -> list[list[str]]:
    if pre_tokenizer is None:
        return []
    return [[piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)] for text in _composed()]


class _Tokens(NamedTuple):
    """The vocabulary by id."""

    texts: list[str]
    types: list[int]


def _tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: int, searched: Mapping[str, str]) -> _Tokens:
    added = tokenizer.added_tokens_decoder
    special = {i for i, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}

    def entry(i: int) -> tuple[str, int]:
        text = by_id.get(i)
        if text is None:
            return f"[PAD{i}]", _UNUSED
        if i in special:
            return text, CONTROL
        if i in added or text in searched:
            return searched.get(text, text), USER_DEFINED
        return text, _NORMAL

    texts, types = zip(*map(entry, range(vocabulary)), strict=True)
    return _Tokens(list(texts), list(types))


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer begins a plain text with its bos token."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]  # pyright: ignore[reportIndexIssue]


def _stops(tokenizer: PreTrainedTokenizerBase, stops: Sequence[int]) -> dict[str, int]:
    """The stop ids as eos, eot and eom; llama.cpp finds well-known end tokens by itself."""
    eos = end_of_turn(tokenizer)[-1]
    known = {i for token, i in tokenizer.get_vocab().items() if token in ENDS}
    others = [i for i in stops if i != eos and i not in known]
    if len(others) > 2:
        raise _refusal(f"has {len(others)} stop tokens beside the end of turn, and a file holds two")
    return {"eos_token_id": eos, **dict(zip(("eot_token_id", "eom_token_id"), others, strict=False))}


def _refusal(why: str) -> ModelError:
    return ModelError(f"the model cannot be written as GGUF: its tokenizer {why}")
