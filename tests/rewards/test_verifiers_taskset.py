"""The taskset in the package itself, which is too large to be installed for every test."""

import asyncio
from types import SimpleNamespace

import pytest

from dycktune.rewards import PARTS
from dycktune.tasks.registry import make_task

pytest.importorskip("verifiers.v1", reason="needs the package verifiers, 0.4 or later")


def test_a_taskset_asks_each_item_once_and_rewards_its_solution():
    from dycktune.rewards.verifiers_taskset import VerifiedConfig, VerifiedTaskset

    options = {"max_operations": 3}
    tasks = list(VerifiedTaskset(VerifiedConfig(task_name="arithmetic", options=options, count=4)))
    task = make_task("arithmetic", options)
    items = list(task.items("train", count=4, seed=0))
    assert [made.data.prompt_text for made in tasks] == [task.messages(item)[-1]["content"] for item in items]
    for made, item in zip(tasks, items, strict=True):
        assert asyncio.run(_rewards(made, task.solution(item))) == dict.fromkeys(PARTS, 1.0)
        assert asyncio.run(_rewards(made, "FINAL ANSWER: ")) == dict.fromkeys(PARTS, 0.0)


async def _rewards(task, reply):
    return {part: await getattr(task, part)(SimpleNamespace(last_reply=reply)) for part in PARTS}
