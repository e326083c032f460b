"""Drafts: how a reply is likely to go on, from the task and from the row itself.

They decide how fast a reply is found, never what it is.
"""

from bisect import bisect_left
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from dycktune.models.chat import THINK_CLOSE, completion_text, reply_text
from dycktune.models.positions import number_brackets
from dycktune.task.draft import continuation
from dycktune.task.problem import Problem
from dycktune.task.trace import ANSWER_MARKER, TraceStyle, render

AHEAD = 100_000
"""Characters a draft from the middle of a trace may have: links that a model has written in a circle never end."""

TOKEN_LENGTH = 16
"""Characters of a trace's longest tokens: no more text is cut into ids than the draft has room for."""

LOOK_BACK = 3
"""How many of a row's last tokens must stand earlier in it, for what followed them there to be the draft."""


class TraceDraft:
    """Guesses the correct trace, and from the middle of a wrong one how that goes on."""

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
        self._inside_think = inside_think
        self.correct: list[int] = self._ids(self._numbered(render(problem, style)))
        """The correct trace, end of turn included."""

    def __call__(self, written: Sequence[int], room: int) -> Sequence[int]:
        """At most `room` ids likely to follow `written`, the end of the turn included where they reach it."""
        if not written:
            return self.correct[:room]
        text = reply_text(self._tokenizer, written)
        plain = text.replace(f"{THINK_CLOSE}\n\n", "") if self._inside_think else text
        rest = continuation(self._problem, self._style.name, plain, limit=AHEAD)
        if rest is None:
            return ()
        # Only the line that is being written, and what follows it, is cut into ids again.
        line = self._numbered(plain + rest).split("\n", text.count("\n"))[-1]
        own = len(written) - self._line_start(written)
        # The model's own ids may part otherwise, or carry wrong positions; a guess of their number will do.
        return self._ids(line[: TOKEN_LENGTH * (own + room)])[own : own + room]

    def _line_start(self, written: Sequence[int]) -> int:
        """Index of the first id behind the last newline."""
        return bisect_left(
            range(len(written)), True, key=lambda i: "\n" not in reply_text(self._tokenizer, written[i:])
        )

    def _numbered(self, trace: str) -> str:
        reply = completion_text(trace, reasoning=None, inside_think=self._inside_think, marker=ANSWER_MARKER)
        return number_brackets(reply, self._tokenizer, marker=ANSWER_MARKER)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore
        return [*ids, *self._end]


class LookUp:
    """What followed the last tokens at the last place where they stood before (prompt look-up)."""

    def __init__(self, prompt: Sequence[int]) -> None:
        """Prepare drafts for the row that begins with the ids of `prompt`."""
        self._prompt = list(prompt)
        self._behind: dict[tuple[int, ...], int] = {}
        self._known = LOOK_BACK

    def __call__(self, written: Sequence[int], room: int) -> Sequence[int]:
        """At most `room` ids; none where the last tokens are new. `written` only grows from call to call."""
        text = [*self._prompt, *written]
        for end in range(self._known, len(text)):
            self._behind[tuple(text[end - LOOK_BACK : end])] = end
        self._known = max(self._known, len(text))
        place = self._behind.get(tuple(text[-LOOK_BACK:]))
        return () if place is None else text[place : place + room]
