"""One line about the rows that were read."""

from collections import Counter
from collections.abc import Sequence

from dycktune.data.rows import Example, Skipped, Turns


def summary(examples: Sequence[Example], *, turns: Turns = "last", skipped: Skipped | None = None) -> str:
    """How many examples were read, from rows of which shapes, and which replies are not learned.

    Args:
        examples: Examples from a data file.
        turns: As they were read.
        skipped: The rows that were left out.
    """
    shapes = Counter(example.shape for example in examples).most_common()
    kinds = shapes[0][0] if len(shapes) == 1 else ", ".join(f"{count} {name}" for name, count in shapes)
    line = f"read {len(examples)} example{'s' * (len(examples) != 1)} ({kinds})"
    if skipped is not None and skipped.count:
        line += f"; {skipped}"
    several = sum(map(_has_earlier_replies, examples))
    if turns == "each" or not several:
        return line
    return f'{line}; {several} hold several replies: only the last is learned (data.turns = "each" for all)'


def _has_earlier_replies(example: Example) -> bool:
    return any(message["role"] == "assistant" for message in example.prompt)
