"""How a tokenizer splits brackets. A model can only tell brackets apart that are separate tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, cast

from dycktune.errors import ModelError
from dycktune.tasks.dyck.brackets import Alphabet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Cut(NamedTuple):
    """One bracket as tokens."""

    bracket: str
    alone: tuple[str, ...]
    """The tokens of the bracket by itself, as the tokenizer writes them."""
    spaced: tuple[str, ...]
    """The tokens of the bracket after a space, as in a trace."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """How a tokenizer splits an alphabet."""

    cuts: tuple[Cut, ...]
    merged: tuple[str, ...]
    """Pairs of brackets that share a token when written together, such as `((`."""
    merged_spaced: tuple[str, ...]
    """Pairs that share a token even with a space between them."""

    @property
    def split(self) -> tuple[str, ...]:
        """Brackets that take more than one token by themselves."""
        return tuple(cut.bracket for cut in self.cuts if len(cut.alone) > 1)

    @property
    def warnings(self) -> list[str]:
        """Obstacles to learning, each with its remedy; empty where every bracket is one token."""
        warnings = []
        if self.merged_spaced:
            warnings.append(
                f"{_some(self.merged_spaced)} share a token even when spaced: the model cannot see them apart; "
                "use a tokenizer that does not merge brackets, or pairs it keeps apart (--pairs)"
            )
        elif self.merged:
            warnings.append(
                f"{_some(self.merged)} become one token when written together; keep a space between brackets, "
                "as every trace style does, also in data files of your own"
            )
        if self.split:
            warnings.append(
                f"{_some(self.split)} take more than one token each: traces get longer and harder to learn; "
                "use fewer pairs (--pairs 4 are ASCII), or a tokenizer that knows these"
            )
        return warnings

    def __str__(self) -> str:
        rows = [f"{'bracket':<9}{'alone':<20}{'behind a space'}"]
        rows += [f"{cut.bracket:<9}{' '.join(cut.alone):<20}{' '.join(cut.spaced)}" for cut in self.cuts]
        verdict = [f"warning: {warning}" for warning in self.warnings] or ["every bracket is one token"]
        return "\n".join([*rows, "", *verdict])


def audit(tokenizer: "PreTrainedTokenizerBase", alphabet: Alphabet) -> Audit:
    """Tokenize every bracket and every pair of brackets of `alphabet`.

    Raises:
        ModelError: the tokenizer is not a fast one, so it gives no character offsets.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer {tokenizer.name_or_path!r} gives no character offsets, which the audit needs; "
            "use a fast tokenizer"
        )
    brackets = sorted(alphabet.symbols, key="".join(alphabet.pairs).index)
    pairs = [first + second for first, second in product(brackets, repeat=2)]
    return Audit(
        cuts=tuple(Cut(b, _pieces(tokenizer, b), _pieces(tokenizer, f" {b}")) for b in brackets),
        merged=tuple(pair for pair in pairs if _share_a_token(tokenizer, pair, alphabet)),
        merged_spaced=tuple(pair for pair in pairs if _share_a_token(tokenizer, " ".join(pair), alphabet)),
    )


def _pieces(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[str, ...]:
    ids = cast("list[int]", tokenizer(text, add_special_tokens=False)["input_ids"])
    return tuple(cast("list[str]", tokenizer.convert_ids_to_tokens(ids)))


def _share_a_token(tokenizer: "PreTrainedTokenizerBase", text: str, alphabet: Alphabet) -> bool:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = cast("list[tuple[int, int]]", encoded["offset_mapping"])
    return any(sum(symbol in alphabet.symbols for symbol in text[start:end]) > 1 for start, end in spans)


def _some(items: Sequence[str]) -> str:
    shown = " ".join(items[:6])
    return shown if len(items) <= 6 else f"{shown} and {len(items) - 6} more"
