"""A task as an environment of the `verifiers` package (https://docs.primeintellect.ai/verifiers/environments).

`load_environment` needs that package; `environment_rows` and `rubric_functions` are its parts and need none, so any
trainer that asks with messages and calls rewards one by one can use them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from dycktune.errors import ConfigError
from dycktune.rewards.functions import ITEM_COLUMN, Completion, Rewards
from dycktune.rewards.parts import PARTS
from dycktune.rewards.weights import RewardKind
from dycktune.tasks.registry import make_task

RubricFunction = Callable[..., float]
"""Takes `completion` and `info` by name."""


def load_environment(
    task: str = "dyck",
    *,
    count: int = 1000,
    eval_count: int = 200,
    seed: int = 0,
    kind: RewardKind = "binary",
    **options: Any,
) -> Any:
    """A `verifiers.SingleTurnEnv` of generated items.

    Args:
        task: A name of `make_task`.
        count: Number of training items.
        eval_count: Number of evaluation items; none of them is a training item.
        seed: Of the items.
        kind: Whether the dense part of the reward counts. `dense_to_binary` stays as it begins, dense.
        **options: Of the task.

    Raises:
        ConfigError: `verifiers` is not installed, or the task or an option is unknown.
        CorpusError: a split holds fewer items.
    """
    made = make_task(task, options)
    items = [
        *made.items("train", count=count, seed=seed),
        *made.items("eval", count=eval_count, seed=seed),
    ]
    rewards = Rewards(made, items, kind=kind)
    rows, functions = environment_rows(rewards), rubric_functions(rewards)
    try:
        import verifiers  # pyright: ignore[reportMissingImports]
        from datasets import Dataset
    except ImportError as error:
        raise ConfigError(
            f"an environment needs the package verifiers: pip install verifiers ({error})"
        ) from error
    return verifiers.SingleTurnEnv(
        dataset=Dataset.from_list(rows[:count]),
        eval_dataset=Dataset.from_list(rows[count:]),
        rubric=verifiers.Rubric(funcs=functions, weights=rewards.weights),
    )


def environment_rows(rewards: Rewards) -> list[dict[str, Any]]:
    """A row for each item: its messages as `prompt`, and as `info` the JSON that its reward functions read."""
    return [
        {"prompt": row["prompt"], "info": json.dumps({ITEM_COLUMN: row[ITEM_COLUMN]})} for row in rewards.rows
    ]


def rubric_functions(rewards: Rewards) -> list[RubricFunction]:
    """A function for each part of the reward, in the order of its weights; 0 where the verifier cannot decide."""
    return [_rubric_function(rewards, part) for part in PARTS]


def _rubric_function(rewards: Rewards, part: str) -> RubricFunction:
    def reward(completion: Completion, info: Mapping[str, Any] | str) -> float:
        place = (json.loads(info) if isinstance(info, str) else info)[ITEM_COLUMN]
        return getattr(rewards.parts(completion, place), part) or 0.0

    reward.__name__ = part
    return reward
