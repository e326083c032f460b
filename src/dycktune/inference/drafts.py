"""Drafts: how a reply is likely to go on, from the task and from the row itself.

They decide how fast a reply is found, never what it is.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import cycle, islice

from transformers import PreTrainedTokenizerBase

from dycktune.models.chat import THINK_CLOSE, completion_text, reply_text
from dycktune.models.tiny.positions import number_brackets
from dycktune.tasks.dyck.draft import Telling
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER_MARKER, TraceStyle, render

AHEAD = 100_000
"""Characters a draft from the middle of a trace may have: links that a model has written in a circle never end."""

TOKEN_LENGTH = 40
"""Characters of a trace's longest tokens: no more text is cut into ids than the draft has room for."""

LOOK_BACK = 3
"""How many of a row's last tokens must stand earlier in it, for what followed them there to be the draft."""


class TraceDraft:
    """Guesses the correct trace, and from the middle of a wrong one how that goes on.

    What the lines written so far say is kept from call to call, and so is the guess while it comes true.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        problem: Problem,
        style: TraceStyle,
        *,
        inside_think: bool,
        end: Sequence[int],
    ) -> None:
        """Prepare drafts for one prompt.

        Args:
            tokenizer: Cuts the text.
            problem: What was asked.
            style: How the trace is written.
            inside_think: Whether the prompt opens a think block, which the trace closes before its answer.
            end: The ids that end a turn.
        """
        self._tokenizer, self._end = tokenizer, end
        self._problem, self._style = problem, style
        self._answer = f"{THINK_CLOSE}\n\n{ANSWER_MARKER}" if inside_think else ANSWER_MARKER
        trace = completion_text(
            render(problem, style), reasoning=None, inside_think=inside_think, marker=ANSWER_MARKER
        )
        self.correct: list[int] = self._ids(self._numbered(trace))
        """The correct trace, end of turn included."""
        self._begin()

    def _begin(self) -> None:
        self._telling = Telling(self._problem, self._style.name, answer=self._answer)
        self._heard: list[int] = []
        """Ids whose lines the telling has heard."""
        self._lines = ""
        """These lines."""
        self._begun = ""
        """What the last of these ids say behind the end of a line."""
        self._told = self.correct
        """What was written at the last telling, and what was likely to follow."""

    def __call__(self, written: Sequence[int], room: int) -> Sequence[int]:
        """At most `room` ids likely to follow `written`, the end of the turn included where they reach it."""
        known, written = len(written), list(written)
        if not written or written[: len(self._heard)] != self._heard:
            self._begin()
        if self._told[:known] != written or len(self._told) == known:
            self._told = written + self._tell(written, room)
        return self._told[known : known + room]

    def _tell(self, written: list[int], room: int) -> list[int]:
        if self._telling.lost:
            return []
        text = self._hear(written)
        rest = self._telling.rest(text, limit=AHEAD)
        if rest is None:
            return []
        # Only the line that is being written, and what follows it, is cut into ids again.
        line = self._numbered(self._lines + text + rest).split("\n", self._lines.count("\n"))[-1]
        own = len(written) - len(self._heard)
        new = line[len(self._begun) :][: TOKEN_LENGTH * (own + room)]
        # The model's own ids may part otherwise, or carry wrong positions; a guess of their number will do.
        return self._ids(new)[own : own + room]

    def _hear(self, written: list[int]) -> str:
        """Take in the lines that have ended; the text behind them."""
        new = written[len(self._heard) :]
        text = self._said(new)
        ended = self._telling.hear(text)
        if not ended:
            return text
        ids = bisect_left(range(len(new)), ended, key=lambda i: len(self._said(new[:i])))
        self._lines += text[:ended]
        self._begun = self._said(new[:ids])[ended:]
        self._heard += new[:ids]
        return text[ended:]

    def _said(self, new: list[int]) -> str:
        return self._begun + reply_text(self._tokenizer, new)

    def _numbered(self, trace: str) -> str:
        return number_brackets(trace, self._tokenizer, marker=ANSWER_MARKER)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore
        return [*ids, *self._end]


class LookUp:
    """What followed the last tokens at the last place where they stood before (prompt look-up), over and over."""

    def __init__(self, prompt: Sequence[int]) -> None:
        """Prepare drafts for the row that begins with the ids of `prompt`."""
        self._text, self._prompt = list(prompt), len(prompt)
        self._behind: dict[tuple[int, ...], int] = {}
        self._known = LOOK_BACK

    def __call__(self, written: Sequence[int], room: int) -> Sequence[int]:
        """At most `room` ids; none where the last tokens are new. `written` only grows from call to call."""
        text = self._text
        text += written[len(text) - self._prompt :]
        for end in range(self._known, len(text)):
            self._behind[tuple(text[end - LOOK_BACK : end])] = end
        self._known = max(self._known, len(text))
        place = self._behind.get(tuple(text[-LOOK_BACK:]))
        # A row that goes round in a circle has only one turn of it behind the place.
        return () if place is None else list(islice(cycle(text[place:]), room))
