"""How many questions a model answers right, for brackets and for any other task with an answer marker."""

from collections.abc import Callable, Sequence

from dycktune.data.rows import Example
from dycktune.evaluation.evaluate import evaluate
from dycktune.inference.completion import prompt_row, style_of
from dycktune.inference.greedy import decode
from dycktune.inference.plain import Prompt
from dycktune.models.chat import prompt_ids
from dycktune.models.loading import LoadedModel
from dycktune.task.problem import Problem

Progress = Callable[[int], None]


def answers(
    loaded: LoadedModel, examples: Sequence[Example], *, marker: str, on_reply: Progress | None = None
) -> tuple[bool, ...]:
    """Whether the model answers each example right under greedy decoding.

    Bracket problems are judged by the verifier; other rows by exact match of what follows the last marker.
    """
    if all(example.prefix is not None for example in examples):
        problems = [Problem(example.prefix) for example in examples if example.prefix is not None]
        judged = evaluate(loaded, problems, on_reply=on_reply)
        return tuple(completion.verdict.correct for completion in judged.completions)
    replies = decode(loaded, [question(loaded, example) for example in examples], on_reply=on_reply)
    texts = [str(loaded.tokenizer.decode(reply.ids, skip_special_tokens=True)) for reply in replies]
    return tuple(
        _after(marker, text) == _after(marker, example.completion)
        for text, example in zip(texts, examples, strict=True)
    )


def question(loaded: LoadedModel, example: Example) -> Prompt:
    """The prompt of an example, and room for a quarter more than its completion."""
    if example.prefix is not None:
        return prompt_row(loaded, Problem(example.prefix), style_of(loaded))
    expected = (example.reasoning or "") + example.completion
    needed = len(loaded.tokenizer(expected, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]
    return Prompt(ids=prompt_ids(loaded.tokenizer, example.prompt), limit=needed + needed // 4 + 32)


def _after(marker: str, text: str) -> str | None:
    """What stands behind the last marker; None where there is none, which equals no answer."""
    _, found, rest = text.rpartition(marker.strip())
    return rest.strip() if found else None
