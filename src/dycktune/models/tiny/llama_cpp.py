"""The built-in tokenizer in a form that llama.cpp knows: merges, and pieces that are found before the text is cut.

llama.cpp has no rule that cuts text as the built-in tokenizer does, and its rule `superbpe` hardly cuts at all: only
before and after digits. So merges build the words from bytes, across the whole text. Words with a space before them
come first, so that no shorter word inside them is built. A colon takes the space behind it last, if that space belongs
to no word. Phrases and numbers are found in the text beforehand.

Every prompt of `dyck` becomes the same tokens. In other texts an unknown word becomes bytes in the built-in tokenizer,
and in llama.cpp perhaps a known beginning and bytes.
"""

from collections.abc import Iterator, Sequence

from tokenizers import pre_tokenizers

from dycktune.models.tiny.vocabulary import MAX_NUMBER, number_piece, pieces
from dycktune.tasks.dyck.trace import ANSWER_MARKER

CUT = "superbpe"
"""llama.cpp's name of the rule."""

_ROLES = ("user", "assistant", "system")


def searched_pieces() -> dict[str, str]:
    """The pieces that llama.cpp finds in a text before it cuts the rest, by their tokens in the byte alphabet."""
    found = [piece for piece in pieces() if _is_phrase(piece)]
    found += map(number_piece, range(MAX_NUMBER + 1))
    return {_byte_level(piece): piece for piece in found}


def merges() -> list[tuple[str, str]]:
    """The merges of all other pieces in the byte alphabet, in their order."""
    searched = searched_pieces().values()
    words = sorted((piece for piece in pieces() if piece not in searched), key=_rank)
    return list(dict.fromkeys(merge for word in words for merge in _chain(_byte_level(word))))


def _is_phrase(piece: str) -> bool:
    """Whether a piece has two words. A prompt names the answer's marker, cut into words, so it is not searched."""
    return len(piece.split()) > 1 and piece != ANSWER_MARKER


def _rank(piece: str) -> tuple[bool, bool, bool, bool]:
    """Words with a space, capital words, roles, other words, and the colon with its space."""
    return piece.startswith(":"), piece[0] != " ", not piece[0].isupper(), piece not in _ROLES


def _chain(characters: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Merges that build a piece from its first character on, one character at a time."""
    for end in range(1, len(characters)):
        yield "".join(characters[:end]), characters[end]


def _byte_level(piece: str) -> str:
    encode = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return encode.pre_tokenize_str(piece)[0][0]
