"""The task's drafts as tokens."""

from collections.abc import Sequence
from functools import cached_property

from dycktune.models.chat import THINK_CLOSE, completion_text, end_of_turn
from dycktune.models.loading import LoadedModel
from dycktune.models.positions import number_brackets
from dycktune.task.draft import continuation
from dycktune.task.problem import Problem
from dycktune.task.trace import ANSWER_MARKER, TraceStyle, render

AHEAD = 100_000
"""Characters a draft from the middle of a trace may have: links that a model has written in a circle never end."""


class TraceDraft:
    """Guesses the correct trace, and from the middle of a wrong one how that goes on."""

    def __init__(
        self, loaded: LoadedModel, problem: Problem, style: TraceStyle, *, inside_think: bool
    ) -> None:
        """Prepare drafts for one prompt.

        Args:
            loaded: Whose tokenizer cuts the text.
            problem: What was asked.
            style: How the trace is written.
            inside_think: Whether the prompt opens a think block, which the trace closes before its answer.
        """
        self._tokenizer = loaded.tokenizer
        self._problem, self._style = problem, style
        self._inside_think = inside_think

    def __call__(self, written: Sequence[int]) -> Sequence[int]:
        """Ids likely to follow `written`, the end of the turn included where the draft reaches it."""
        if not written:
            return self._correct
        text = str(self._tokenizer.decode(list(written), skip_special_tokens=True))
        plain = text.replace(f"{THINK_CLOSE}\n\n", "") if self._inside_think else text
        rest = continuation(self._problem, self._style.name, plain, limit=AHEAD)
        if rest is None:
            return ()
        ids = self._ids(self._reply(plain + rest))
        # The model's own ids may part otherwise, or carry wrong positions; a guess of their number will do.
        return ids[len(written) :]

    @cached_property
    def _correct(self) -> list[int]:
        return self._ids(self._reply(render(self._problem, self._style)))

    def _reply(self, trace: str) -> str:
        return completion_text(trace, reasoning=None, inside_think=self._inside_think, marker=ANSWER_MARKER)

    def _ids(self, text: str) -> list[int]:
        written = number_brackets(text, self._tokenizer, marker=ANSWER_MARKER)
        ids: list[int] = self._tokenizer(written, add_special_tokens=False)["input_ids"]  # pyright: ignore
        return [*ids, *end_of_turn(self._tokenizer)]
