"""The one prompt builder: generation, training and inference all ask with it."""

from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER_MARKER, TraceStyle

PROMPT_VERSION = 9
"""Raised with every change of the wording, of a trace style or of its position tokens; adapters and
merged models record theirs."""

_INSTRUCTION = (
    "Complete the Dyck sequence: add the missing closing brackets in reverse stack order. "
    "Write dataset format only, no other words: # Thought N, # Step k: add 'X', "
    f"then {ANSWER_MARKER}and the full sequence."
)


def build_prompt(problem: Problem, style: TraceStyle) -> str:
    """The user's message for `problem`, in the form `style` shows sequences in."""
    return f"{_INSTRUCTION}\nSequence: {style.sequence(problem.prefix)}"


def messages(problem: Problem, style: TraceStyle) -> list[dict[str, str]]:
    """The conversation a model is asked with: one user turn."""
    return [{"role": "user", "content": build_prompt(problem, style)}]
