"""A task for lm-evaluation-harness: `simple_evaluate(model, tasks=[verified(count=200)], apply_chat_template=True)`."""

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from lm_eval.api.task import ConfigurableTask  # pyright: ignore[reportMissingImports]

from dycktune.harnesses.items import questions, scores

NAME = "dycktune_verified"


def verified(
    name: str = "dyck",
    *,
    count: int = 100,
    seed: int = 0,
    data: str | None = None,
    benchmark: str | None = None,
    options: Mapping[str, Any] | None = None,
    max_tokens: int = 4096,
) -> ConfigurableTask:
    """The items of a task, answered greedily and scored by its verifier.

    The harness asks in one user message, so a task whose items have several messages is not asked as in training.

    Args:
        name: The task; it and the arguments up to `options` are those of `questions`.
        count: Items to generate.
        seed: Their seed.
        data: Rows of the task.
        benchmark: A published benchmark file.
        options: Options of the task.
        max_tokens: Longest reply; one that is cut off has no answer.
    """
    asked = questions(name, count=count, seed=seed, data=data, benchmark=benchmark, options=options)
    rows = [
        {
            "number": number,
            "question": "\n\n".join(m["content"] for m in question.messages),
            "answer": question.answer,
        }
        for number, question in enumerate(asked.questions)
    ]

    def verify(row: Mapping[str, Any], replies: list[str]) -> dict[str, float]:
        return scores(asked.task.verify(asked.questions[row["number"]].item, replies[0]))

    def rows_by_split(**_: Any) -> dict[str, Dataset]:
        return {"test": Dataset.from_list(rows)}

    sample = scores(asked.task.verify(asked.questions[0].item, ""))
    metrics = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in sample]
    return ConfigurableTask(
        config={
            "task": NAME,
            "custom_dataset": rows_by_split,
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}",
            "process_results": verify,
            "metric_list": metrics,
            "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_tokens},
        }
    )
