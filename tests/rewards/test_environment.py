import sys
from types import SimpleNamespace

import pytest

from dycktune.errors import ConfigError
from dycktune.rewards import PARTS, Rewards
from dycktune.rewards.environment import environment_rows, load_environment, rubric_functions
from dycktune.tasks.dyck.problem import Problem
from small_runs import dyck


def test_rows_and_functions_score_a_reply_to_each_row():
    task, items = dyck(), [Problem("(["), Problem("{")]
    rewards = Rewards(task, items)
    rows, functions = environment_rows(rewards), rubric_functions(rewards)
    assert [row["prompt"] for row in rows] == list(map(task.messages, items))
    assert [function.__name__ for function in functions] == list(PARTS)
    reply = [{"role": "assistant", "content": task.solution(items[1])}]
    assert [function(completion=reply, info=rows[1]["info"]) for function in functions] == [1.0] * len(PARTS)
    assert functions[0](completion=reply, info=rows[0]["info"]) == 0.0


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "verifiers", None)
    with pytest.raises(ConfigError, match="pip install verifiers"):
        load_environment("arithmetic", count=4, eval_count=2)


def test_an_environment_has_disjoint_rows_and_the_weighted_rubric(monkeypatch):
    pytest.importorskip("datasets")
    made = SimpleNamespace(SingleTurnEnv=SimpleNamespace, Rubric=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "verifiers", made)
    environment = load_environment("arithmetic", count=4, eval_count=2, max_operations=3)
    prompts = [str(row["prompt"]) for rows in (environment.dataset, environment.eval_dataset) for row in rows]
    assert len(set(prompts)) == 6
    assert len(environment.rubric.funcs) == len(environment.rubric.weights) == len(PARTS)
