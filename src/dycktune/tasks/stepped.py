"""Solutions with one line for each step and then the marked answer, and the judgement of a reply line by line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from dycktune.tasks.answers import THINK_CLOSE, THINK_OPEN, first_turn, read_answer
from dycktune.tasks.base import Verdict, WrongStep

_ANSWER = "the answer"
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class SteppedSolution:
    """The only right solution of an item."""

    steps: Mapping[str, str]
    """The line of each step by the step's name."""
    answer: str
    marker: str
    """The text that begins the answer."""
    form: re.Pattern[str]
    """The form of a step. Its groups name the parts that a wrong step's reason compares."""

    @cached_property
    def lines(self) -> dict[str, str]:
        """Every line by its name, the answer last."""
        return {**self.steps, _ANSWER: f"{self.marker}{self.answer}"}

    @property
    def text(self) -> str:
        """The solution as it is learned."""
        return "\n".join(self.lines.values())

    def judge(self, reply: str) -> Verdict:
        """Judge the answer, and each line if there is a step among them."""
        answer = read_answer(reply, marker=self.marker)
        correct = answer.text == self.answer
        lines = _nonblank_lines(first_turn(reply))
        kinds = [self._kind(text) for text in lines.values()]
        wrong = self._first_wrong(lines, kinds) if "step" in kinds else None
        format_ok = kinds[-1:] == ["answer"] and set(kinds[:-1]) == {"step"}
        return Verdict(
            correct=correct,
            answer=answer.text,
            reason=None if correct else answer.slip or f"the answer is {self.answer}",
            format_ok=format_ok,
            trace_valid=correct and format_ok and wrong is None,
            first_wrong_step=wrong,
        )

    def _kind(self, text: str) -> str:
        if text.startswith(" ".join(self.marker.split())):
            return "answer"
        return "step" if self.form.fullmatch(text) else "prose"

    def _first_wrong(self, lines: Mapping[int, str], kinds: Sequence[str]) -> WrongStep | None:
        for found, kind, due in zip_longest(lines.items(), kinds, self.lines.items()):
            if due is None:
                return WrongStep(f"line {found[0]}", "extra", found[0], "nothing belongs behind the answer")
            if found is None:
                name, right = due
                return WrongStep(name, "missing", max(lines) + 1, f"the reply ends before {name}", right)
            (number, text), (name, right) = found, due
            if text != " ".join(right.split()):
                due_kind = "answer" if name == _ANSWER else "step"
                shown_kind = "prose" if kind == "prose" else due_kind
                return WrongStep(name, shown_kind, number, self._contrast(text, right, name), right)
        return None

    def _contrast(self, text: str, right: str, name: str) -> str:
        """Where a line differs from the right one, by the names of the form's groups."""
        theirs, ours = self.form.fullmatch(text), self.form.fullmatch(right)
        if theirs is None or ours is None:
            return f"{text[:_SHOWN]!r} stands where {right[:_SHOWN]!r} belongs"
        part = next(part for part in ours.groupdict() if theirs[part] != ours[part])
        return f"the {part} of {name} is {ours[part][:_SHOWN]}, not {theirs[part][:_SHOWN]}"


def _nonblank_lines(reply: str) -> dict[int, str]:
    """The lines of a reply by their number, evenly spaced, without blank ones and tags of thinking."""
    lines = {number: " ".join(line.split()) for number, line in enumerate(reply.split("\n"), start=1)}
    return {number: line for number, line in lines.items() if line not in ("", THINK_OPEN, THINK_CLOSE)}
