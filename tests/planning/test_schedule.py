import pytest

from dycktune.planning.schedule import schedule
from dycktune.runs import RunFolder
from small_runs import fit_small, small_config


def scheduled(count: int = 16, **changes: object):
    return schedule(small_config(**changes), [10] * count, supervised=count * 6, ranks=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"optim__max_steps": 5, "eval__steps": 2, "save__steps": 2},
        {"optim__max_steps": None, "optim__epochs": 1.5, "eval__steps": 4, "save__steps": 3, "save__keep": 1},
    ],
)
def test_steps_evaluations_and_checkpoints_are_those_of_a_real_run(tmp_path, changes):
    config = small_config(**changes)
    run = RunFolder(fit_small(tmp_path / "run", config=config))
    found = scheduled(**changes)
    metrics = list(run.read_metrics())
    assert max(row["step"] for row in metrics) == found.steps
    assert sum("eval_loss" in row for row in metrics) == found.evaluations
    assert len(run.checkpoints()) == found.kept


def test_an_epoch_ends_with_a_smaller_step():
    found = scheduled(count=17, optim__max_steps=None, optim__epochs=1)
    assert found.steps == 5
    assert found.epochs == 1
    assert found.tokens == 170


def test_more_ranks_make_fewer_steps():
    config = small_config(optim__max_steps=None, optim__epochs=2)
    steps = [schedule(config, [10] * 32, supervised=1, ranks=ranks).steps for ranks in (1, 2, 4)]
    assert steps == [16, 8, 4]


def test_a_warm_up_of_1_is_all_steps_in_the_plan_and_in_the_run(tmp_path):
    changes = {"optim__warmup": 1.0, "optim__max_steps": 4, "optim__schedule": "constant_with_warmup"}
    run = RunFolder(fit_small(tmp_path / "run", config=small_config(**changes)))
    rates = [row["learning_rate"] for row in run.read_metrics() if "learning_rate" in row]
    assert scheduled(**changes).warmup_steps == 4
    assert rates == sorted(rates)
    assert len(set(rates)) == 4
