"""The prompt of a problem, the same for generation, training and inference."""

from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER_MARKER, TraceStyle

PROMPT_VERSION = 9
"""Raised with every change of the wording or of a trace style. Adapters and merged models record theirs."""

_INSTRUCTION = (
    "Complete the Dyck sequence: add the missing closing brackets in reverse stack order. "
    "Write dataset format only, no other words: # Thought N, # Step k: add 'X', "
    f"then {ANSWER_MARKER}and the full sequence."
)


def build_prompt(problem: Problem, style: TraceStyle) -> str:
    """The user's message for `problem`; `style` decides how the prefix is shown."""
    return f"{_INSTRUCTION}\nSequence: {style.sequence(problem.prefix)}"


def messages(problem: Problem, style: TraceStyle) -> list[dict[str, str]]:
    """The conversation that asks a model: one user turn."""
    return [{"role": "user", "content": build_prompt(problem, style)}]
