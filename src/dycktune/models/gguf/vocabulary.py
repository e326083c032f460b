"""The tokenizer of a GGUF file, which cuts text as llama.cpp does."""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from dycktune.errors import ModelError
from dycktune.models.gguf.header import Header
from dycktune.models.gguf.layout import short, unsupported

_PLAIN = frozenset({"gpt-2", "jais", "mpt", "olmo", "phi-2"})
"""Cut as GPT-2's."""
_SINGLE_DIGITS = frozenset(
    {"codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder"}
)
"""Cut as GPT-2's, and every digit by itself."""
_QWEN = frozenset({"deepseek-r1-qwen", "qwen2"})
_SPLIT = _QWEN | {"dbrx", "smaug-bpe"}
"""Cut by an expression that transformers holds."""
_WHOLE_WORDS = frozenset({"llama-bpe", "llama-v3", "llama3", "tekken"})
"""The same; a word that is a token is never merged from parts, and a text begins with the bos token by default."""

_LONGEST_TOKEN = 1024
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens that are found in a text before it is cut; the first are special."""
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
ENDS = frozenset(
    {
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<|end|>",
        "</s>",
        "<｜end▁of▁sentence｜>",
    }
)
"""Tokens at which llama.cpp stops wherever a vocabulary has them."""


def read_tokenizer(header: Header) -> PreTrainedTokenizerFast:
    """The tokenizer with its chat template, special tokens, and llama.cpp's way to cut text.

    Raises:
        ModelError: its kind is not supported, or its lists do not fit together.
    """
    metadata = header.metadata
    kind, cut = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in _cuts(header.metadata["general.architecture"]):
        raise unsupported(
            header,
            f"has a tokenizer of kind {short(kind)} that cuts text as {short(cut)}, which is not supported",
        )
    tokens = _tokens(header)
    special = {name: _special(header, tokens, own) for name, own in _SPECIAL.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_backend(header, tokens, cut),
        clean_up_tokenization_spaces=False,
        add_bos_token=bool(metadata.get("tokenizer.ggml.add_bos_token", cut in _WHOLE_WORDS)),
        **special,
    )
    if len(tokenizer) != len(tokens):
        raise _damaged(header, f"its vocabulary lists {len(tokens)} tokens, of which some are the same")
    tokenizer.chat_template = _template(header)
    return tokenizer


def stop_tokens(header: Header) -> list[int]:
    """Ids at which llama.cpp ends a reply, sorted: the file's own, and those of well-known end tokens."""
    tokens = _tokens(header)
    own = (_number(header, tokens, name) for name in ("eos", "eot", "eom"))
    known = (i for i, token in enumerate(tokens) if token in ENDS)
    return sorted({*known, *(i for i in own if i is not None)})


def _cuts(architecture: str) -> frozenset[str]:
    """The known ways to cut text. transformers 5 gives any tokenizer beside a Qwen model Qwen's own."""
    return _PLAIN | _SINGLE_DIGITS | _SPLIT | _WHOLE_WORDS if architecture == "llama" else _QWEN


def _backend(header: Header, tokens: list[str], cut: str) -> Tokenizer:
    """Byte-level BPE. That of transformers 5.23 leaves numbers whole and lacks the special tokens of DeepSeek."""
    vocabulary = {token: i for i, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocabulary, _merges(header), ignore_merges=keeps_words_whole(cut)))
    backend.pre_tokenizer = pre_tokenizer_of(cut)  # pyright: ignore[reportAttributeAccessIssue]
    backend.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    types = _list(header, "token_type", int, len(tokens))
    backend.add_tokens(
        [
            AddedToken(token, normalized=False, special=kind == CONTROL)
            for token, kind in zip(tokens, types, strict=True)
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    return backend


def keeps_words_whole(cut: str) -> bool:
    """Whether a word that is a token is never merged from parts."""
    return cut in _WHOLE_WORDS


def pre_tokenizer_of(cut: str) -> pre_tokenizers.PreTokenizer:
    """llama.cpp's rule for cutting a text into words, by its name in a file."""
    if cut in _PLAIN:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if cut in _SINGLE_DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[cut]), behavior="isolated")
    encoding = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, encoding])


def _tokens(header: Header) -> list[str]:
    tokens = _list(header, "tokens", str)
    if max(map(len, tokens), default=0) > _LONGEST_TOKEN:
        raise _damaged(header, f"a token of its vocabulary is longer than {_LONGEST_TOKEN} characters")
    return tokens


def _merges(header: Header) -> list[tuple[str, str]]:
    merges = _list(header, "merges", str)
    odd = next((merge for merge in merges if merge.count(" ") != 1), None)
    if odd is not None:
        raise _damaged(header, f"{short(odd)} is no merge of two tokens")
    return [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]


def _list(header: Header, name: str, kind: type, length: int | None = None) -> list[Any]:
    values = header.metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise _damaged(header, f"its tokenizer has no list of {name}")
    if length is not None and len(values) != length:
        raise _damaged(header, f"its tokenizer has {length} tokens and {len(values)} values of {name}")
    return values


def _special(header: Header, tokens: list[str], name: str) -> str | None:
    number = _number(header, tokens, name)
    return None if number is None else tokens[number]


def _number(header: Header, tokens: list[str], name: str) -> int | None:
    number = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
    if number is not None and not (isinstance(number, int) and 0 <= number < len(tokens)):
        raise _damaged(header, f"its {name} token is {short(number)}, and there are {len(tokens)} tokens")
    return number


def _template(header: Header) -> str | None:
    template = header.metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise _damaged(header, "its chat template is no text")
    return template


def _damaged(header: Header, why: str) -> ModelError:
    return ModelError(f"{header.path} is damaged: {why}")
