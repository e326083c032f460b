"""Drafts for speculative decoding: likely continuations of a reply, from the task and from the row itself.

They decide how fast a reply is decoded, never its text.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from transformers import PreTrainedTokenizerBase

from dycktune.models.chat import reply_text
from dycktune.models.codec import TextCodec
from dycktune.tasks.base import Draft

MAX_CONTINUATION = 100_000
"""Maximum characters of a task's continuation: a continuation that follows circular links would never end."""

MAX_TOKEN_LENGTH = 40
"""Characters of the longest tokens; text that the draft has no room for is not tokenized."""

LOOKUP_LENGTH = 3
"""The number of last tokens that must match an earlier place of the row; the tokens after that place are the draft."""


class TokenDraft:
    """Drafts in tokens: the correct solution while the reply agrees with it, then the task's own continuation.

    The task's draft keeps the complete lines of the reply from call to call, and the last continuation is reused while
    the model confirms it.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        codec: TextCodec,
        *,
        solution: Sequence[int],
        draft: Callable[[], Draft | None],
        marker: str,
        end: Sequence[int],
    ) -> None:
        """Prepare the drafts of one reply.

        Args:
            tokenizer: Of the model.
            codec: Of the model.
            solution: The ids of the correct reply, end of turn included.
            draft: Makes the task's own draft, which guesses what follows a wrong step.
            marker: The text that begins the answer.
            end: The ids that end a turn.
        """
        self._tokenizer, self._codec, self._marker, self._end = tokenizer, codec, marker, end
        self.solution = list(solution)
        self._make_draft = draft
        self._restart()

    def _restart(self) -> None:
        self._draft = self._make_draft()
        self._line_ids: list[int] = []
        """Ids of the lines that the task's draft has taken in."""
        self._lines = ""
        """These lines."""
        self._overhang = ""
        """Decoded text of these ids after the last newline."""
        self._expected = self.solution
        """The reply at the last continuation, and the continuation."""

    def __call__(self, written: Sequence[int], room: int) -> Sequence[int]:
        """At most `room` ids that are likely to follow `written`; the draft restarts if `written` is a new reply."""
        known, written = len(written), list(written)
        if not written or written[: len(self._line_ids)] != self._line_ids:
            self._restart()
        if self._expected[:known] != written or len(self._expected) == known:
            self._expected = written + self._continuation(written, room)
        return self._expected[known : known + room]

    def _continuation(self, written: list[int], room: int) -> list[int]:
        if self._draft is None or self._draft.failed:
            return []
        partial = self._advance(self._draft, written)
        rest = self._draft.continuation(partial, limit=MAX_CONTINUATION)
        if rest is None:
            return []
        # Only the unfinished line and its continuation are tokenized again.
        encoded = self._codec.encode(self._lines + partial + rest, marker=self._marker)
        unfinished = encoded.split("\n", self._lines.count("\n"))[-1]
        own = len(written) - len(self._line_ids)
        new = unfinished[len(self._overhang) :][: MAX_TOKEN_LENGTH * (own + room)]
        # The model may tokenize the same text differently, or have written wrong position tokens. Then the place in the
        # continuation is only approximate, which is enough for a draft.
        return self._ids(new)[own : own + room]

    def _advance(self, draft: Draft, written: list[int]) -> str:
        """Let the task's draft take in the lines that are complete; returns the text after them."""
        new = written[len(self._line_ids) :]
        text = self._text(new)
        taken = draft.advance(text)
        if not taken:
            return text
        ids = bisect_left(range(len(new)), taken, key=lambda i: len(self._text(new[:i])))
        self._lines += text[:taken]
        self._overhang = self._text(new[:ids])[taken:]
        self._line_ids += new[:ids]
        return text[taken:]

    def _text(self, new: list[int]) -> str:
        return self._overhang + reply_text(self._tokenizer, new)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore
        return [*ids, *self._end]


class PromptLookup:
    """Prompt lookup: the draft is the text that followed an earlier place with the same last tokens, repeated.

    See https://github.com/apoorvumang/prompt-lookup-decoding.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        """Prepare drafts for the row that begins with the ids of `prompt`."""
        self._row, self._prompt_length = list(prompt), len(prompt)
        self._end_of: dict[tuple[int, ...], int] = {}
        self._indexed = LOOKUP_LENGTH

    def __call__(self, written: Sequence[int], room: int) -> Sequence[int]:
        """At most `room` ids; none where the last tokens are new. `written` only grows from call to call."""
        row = self._row
        row += written[len(row) - self._prompt_length :]
        for end in range(self._indexed, len(row)):
            self._end_of[tuple(row[end - LOOKUP_LENGTH : end])] = end
        self._indexed = max(self._indexed, len(row))
        place = self._end_of.get(tuple(row[-LOOKUP_LENGTH:]))
        # In a row that repeats itself, only one repetition follows the place.
        return () if place is None else list(islice(cycle(row[place:]), room))
