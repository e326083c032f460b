"""Reads the final answer of a reply, for every task.

The answer is the text behind the last marker, on the marker's line, outside of any thinking block. A model is trained
to this format, so an answer in bold type or in quotes is read with these signs, and is not right. The slip is named, so
that a person can tell it from a wrong answer.
"""

import re
from typing import NamedTuple

from dycktune.tasks.base import ANSWER_MARKER

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"

END_OF_TURN_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    "</s>",
)
"""The end-of-turn tokens of common chat templates, written as text by a model or by a decoder that keeps them."""

_END_OF_TURN = re.compile("|".join(map(re.escape, END_OF_TURN_TOKENS)))

_SLIPS = (
    (re.compile(r"\A[*_]|\*\*\Z"), "the answer is in bold or italic type; write it plain"),
    (re.compile(r"\A`|`\Z"), "the answer is in backticks; write it plain"),
    (re.compile(r"\A[\"'“‘«]|[\"'”’»]\Z"), "the answer is in quotes; write it plain"),
    (re.compile(r"\A(?:\\boxed\b|\\\(|\\\[|\$)"), "the answer is in LaTeX; write it plain"),
    (re.compile(r"\A(?:<[a-z][^<>]*>|\[[a-z][^][]*\]|\{[a-z][^{}]*\}|…|\.\.\.)", re.IGNORECASE),
     "a placeholder follows the last marker instead of an answer"),
    (re.compile("[\uff01-\uff5e]"), "the answer has fullwidth characters; write the ASCII ones"),
    (re.compile(r"\.\Z"), "a full stop follows the answer; write the answer alone"),
)  # fmt: skip
"""What the text behind a marker looks like where it is more than the answer, and the sentence that says so."""

_LOOP_TAIL = 2000
_LOOP_REPEATS = 8


class Answer(NamedTuple):
    """The final answer of a reply."""

    text: str | None
    """The rest of the line behind the last marker, stripped; None where the reply has no answer."""
    slip: str | None
    """A likely slip of format, as one sentence; None where the text looks plain.

    It explains a missing or wrong answer. Where the text is right as it stands (a right answer may end in a full stop),
    a task ignores it.
    """


def read_answer(reply: str, *, marker: str = ANSWER_MARKER) -> Answer:
    """Read the final answer in time linear in the length of the reply; no reply raises.

    Only the first turn counts, and only text outside of thinking blocks: where the reply has a `</think>`, the text
    behind the last one; where a `<think>` never closes, nothing behind it. A prompt can open a thinking block that the
    reply never closes; the reply does not show that, so its text counts.

    Args:
        reply: The text that a model wrote.
        marker: The text that begins the answer; white space at its end is optional.
    """
    turn, marker = first_turn(reply), marker.rstrip()
    visible = _outside_thinking(turn)
    _, found, behind = visible.rpartition(marker)
    if not found:
        return Answer(None, _why_unmarked(turn, visible, marker))
    line, _, below = behind.partition("\n")
    text = line.strip()
    if not text:
        return Answer(None, _why_empty(below, marker))
    return Answer(text, next((sentence for pattern, sentence in _SLIPS if pattern.search(text)), None))


def first_turn(reply: str) -> str:
    """The reply up to the first end-of-turn token that it holds as text."""
    end = _END_OF_TURN.search(reply)
    return reply[: end.start()] if end else reply


def _outside_thinking(turn: str) -> str:
    return turn.rpartition(THINK_CLOSE)[2].partition(THINK_OPEN)[0]


def _why_unmarked(turn: str, visible: str, marker: str) -> str:
    """Why no marker was found."""
    if turn.rfind(THINK_OPEN) > turn.rfind(THINK_CLOSE):
        return f"the thinking block never closes ({THINK_CLOSE} is missing), so no text in it counts as an answer"
    if marker in turn:
        return f"{marker!r} stands only inside the thinking block, before {THINK_CLOSE}"
    if not visible.strip():
        return "the reply is empty" if THINK_CLOSE not in turn else f"nothing follows {THINK_CLOSE}"
    if _repeats_itself(visible):
        return "the reply repeats itself and never gives an answer"
    near = re.search(re.escape(marker.rstrip(":") or marker), visible, re.IGNORECASE)
    if near:
        return f"the marker is {marker!r}, but the reply has {_line_at(visible, near.start())!r}"
    if "\\boxed{" in visible:
        return f"the answer is in \\boxed{{…}}, without {marker!r} before it"
    return f"the reply has no {marker!r}"


def _why_empty(below: str, marker: str) -> str:
    """Why nothing follows the marker on its line."""
    if below.lstrip().startswith("```"):
        return f"the answer is in a code block; write it behind {marker!r} on the same line"
    if below.strip():
        return f"nothing follows {marker!r} on its line; the answer belongs there, not on the next line"
    return f"nothing follows {marker!r}"


def _repeats_itself(text: str) -> bool:
    """Whether the text ends in one piece, written eight times or more."""
    tail = text.strip()[-_LOOP_TAIL:]
    return any(tail[size:] == tail[:-size] for size in range(1, len(tail) // _LOOP_REPEATS + 1))


def _line_at(text: str, start: int, *, limit: int = 48) -> str:
    return text[start : start + limit].partition("\n")[0].rstrip()
