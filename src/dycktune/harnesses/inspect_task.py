"""A task for inspect_ai: `inspect eval dycktune/verified --model MODEL -T count=200`."""

from collections.abc import Mapping
from typing import Any

from inspect_ai import Task as InspectTask  # pyright: ignore[reportMissingImports]
from inspect_ai import task  # pyright: ignore[reportMissingImports]
from inspect_ai.dataset import MemoryDataset, Sample  # pyright: ignore[reportMissingImports]
from inspect_ai.model import (  # pyright: ignore[reportMissingImports]
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr  # pyright: ignore[reportMissingImports]
from inspect_ai.solver import TaskState, generate  # pyright: ignore[reportMissingImports]

from dycktune.harnesses.items import Question, questions, scores
from dycktune.tasks.base import Item, Message, Task

_ROLES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


@task
def verified(
    name: str = "dyck",
    count: int = 100,
    seed: int = 0,
    data: str | None = None,
    benchmark: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> InspectTask:
    """The items of a task, answered greedily and scored by its verifier; the arguments are those of `questions`."""
    asked = questions(name, count=count, seed=seed, data=data, benchmark=benchmark, options=options)
    items = {str(number): question.item for number, question in enumerate(asked.questions)}
    return InspectTask(
        dataset=MemoryDataset([_sample(number, question) for number, question in enumerate(asked.questions)]),
        solver=generate(),
        scorer=verifier(asked.task, items),
        config=GenerateConfig(temperature=0.0),
    )


@scorer(metrics={"*": [mean(), stderr()]})
def verifier(task: Task, items: Mapping[str, Item]) -> Scorer:
    """Exact match, format and valid traces by the task's verifier; `items` by the sample's id."""

    async def score(state: TaskState, target: Target) -> Score:
        del target  # the verifier knows the right answer, and the ways to write it
        verdict = task.verify(items[str(state.sample_id)], state.output.completion)
        return Score(
            value=dict(scores(verdict)),
            answer=verdict.answer,
            explanation=verdict.summary(),
            metadata=verdict.to_json(),
        )

    return score


def _sample(number: int, question: Question) -> Sample:
    return Sample(id=str(number), input=list(map(_message, question.messages)), target=question.answer)


def _message(message: Message) -> ChatMessage:
    return _ROLES[message["role"]](content=message["content"])
