"""Text codecs: what a tokenizer needs done to a reply's text before it is cut into tokens.

Only the built-in base needs something; every other model has the identity.
"""

from typing import Protocol

from transformers import PreTrainedTokenizerBase

from dycktune.models.tiny.positions import PositionCodec, has_positions


class TextCodec(Protocol):
    """Turns the text of a reply into the text a model writes; decoding without special tokens turns it back."""

    def encode(self, text: str, *, marker: str) -> str:
        """`text` as the model writes it; the answer begins behind the last `marker`."""
        ...

    def unsupervised(self, text: str) -> list[str]:
        """Regular expressions of encoded text that nothing before it determines, so that it carries no loss."""
        ...


class IdentityCodec:
    """Leaves the text as it is."""

    def encode(self, text: str, *, marker: str) -> str:
        """`text` itself."""
        del marker
        return text

    def unsupervised(self, text: str) -> list[str]:
        """None."""
        del text
        return []


def codec_of(tokenizer: PreTrainedTokenizerBase) -> TextCodec:
    """The codec of the model that `tokenizer` belongs to."""
    return PositionCodec() if has_positions(tokenizer) else IdentityCodec()
