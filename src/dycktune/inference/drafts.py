"""Drafts for speculative decoding: likely continuations of a reply, from several sources.

The sources are the task, texts that resemble the reply (the correct solution, the model's earlier reply), and the row
itself. They decide how fast a reply is decoded, never its text.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice

import numpy as np
from transformers import PreTrainedTokenizerBase

from dycktune.inference.reference import NO_GUESS, Drafter, Guess
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

    def __call__(self, written: Sequence[int], room: int) -> Guess:
        """The ids that are likely to follow `written`; the draft restarts if `written` is a new reply."""
        known, written = len(written), list(written)
        if not written or written[: len(self._line_ids)] != self._line_ids:
            self._restart()
        if self._expected[:known] != written or len(self._expected) == known:
            self._expected = written + self._continuation(written, room)
        return Guess(self._expected[known : known + room], math.inf)

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


class KnownText:
    """Drafts from a text that resembles the reply, realigned after each difference.

    The place in the text is where the part before it has the smallest edit distance to the reply so far; of several
    places the last. After one difference it is the place of the same text behind a deletion, of a replaced token, or of
    an insertion, in this order.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        """Prepare drafts from a text, end of turn included."""
        self._ids, self._text = list(ids), np.array(ids, dtype=np.int64)
        self._columns = np.arange(len(ids) + 1)
        self._restart()

    def _restart(self) -> None:
        self._agreed, self._read = 0, 0
        """Tokens of the reply that the text begins with, and tokens that were read."""
        self._distances = self._columns
        """Edit distance of the tokens read to the first j tokens of the text, for each j."""

    def __call__(self, written: Sequence[int], room: int) -> Guess:
        """The rest of the text from the place where the reply is; the draft restarts with a shorter reply."""
        if len(written) < self._read:
            self._restart()
        for token in written[self._read :]:
            self._advance(token)
        if self._agreed == self._read:
            return Guess(self._ids[self._read :][:room], math.inf)
        place = len(self._ids) - int(self._distances[::-1].argmin())
        return Guess(self._ids[place:][:room], _common_suffix(self._ids[:place], written))

    def _advance(self, token: int) -> None:
        if self._agreed == self._read:
            if self._ids[self._read : self._read + 1] == [token]:
                self._agreed, self._read = self._agreed + 1, self._read + 1
                return
            self._distances = abs(self._columns - self._agreed)
        before = self._distances
        after = before + 1
        after[1:] = np.minimum(after[1:], before[:-1] + (self._text != token))
        self._distances = np.minimum.accumulate(after - self._columns) + self._columns
        self._read += 1


def _common_suffix(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def best_guess(sources: Iterable[Drafter], written: Sequence[int], room: int) -> Guess:
    """The guess with the most support, the first of equal ones; a source after one that is certain is not asked."""
    best = NO_GUESS
    for source in sources:
        guess = source(written, room)
        if guess.ids and (guess.support > best.support or not best.ids):
            best = guess
        if best.support == math.inf:
            break
    return best


class PromptLookup:
    """Prompt lookup: the draft is the text that followed an earlier place with the same last tokens, repeated.

    See https://github.com/apoorvumang/prompt-lookup-decoding.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        """Prepare drafts for the row that begins with the ids of `prompt`."""
        self._row, self._prompt_length = list(prompt), len(prompt)
        self._end_of: dict[tuple[int, ...], int] = {}
        self._indexed = LOOKUP_LENGTH

    def __call__(self, written: Sequence[int], room: int) -> Guess:
        """No ids where the last tokens are new. `written` only grows from call to call."""
        row = self._row
        row += written[len(row) - self._prompt_length :]
        for end in range(self._indexed, len(row)):
            self._end_of[tuple(row[end - LOOKUP_LENGTH : end])] = end
        self._indexed = max(self._indexed, len(row))
        place = self._end_of.get(tuple(row[-LOOKUP_LENGTH:]))
        if place is None:
            return NO_GUESS
        # In a row that repeats itself, only one repetition follows the place.
        repeated = list(islice(cycle(row[place:]), room))
        return Guess(repeated, _common_suffix(row[:place], row))
