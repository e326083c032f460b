import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from dycktune.errors import ConfigError, RunError
from dycktune.runs import RunFolder
from dycktune.training import guard
from dycktune.training.config import GuardSection
from dycktune.training.snapshot import Snapshot
from dycktune.training.trainer import WeightedLossTrainer
from dycktune.training.divergence import Watch
from small_runs import fit_small, small_config
from spoilt_trainer import not_a_number_at, trainer_with
from weighted_rows import logged


def events_in(folder: Path) -> list[dict]:
    file = RunFolder(folder).guard
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("kind", [Trainer, WeightedLossTrainer])
def test_a_run_without_trouble_has_the_weights_of_one_without_the_guard(tmp_path, kind):
    plain, guarded = (trainer_with(tmp_path, kind=kind, max_steps=25) for _ in range(2))
    guard.attach(guarded)
    plain.train()
    guarded.train()
    assert torch.equal(weights(plain), weights(guarded))
    assert logged(plain, "loss") == logged(guarded, "loss")
    assert events_in(tmp_path) == []


@pytest.fixture(scope="module")
def with_a_nan(tmp_path_factory) -> tuple[Trainer, Trainer]:
    """An unguarded and a guarded training, both with a loss that is NaN at one step."""
    plain, guarded = (
        trainer_with(tmp_path_factory.mktemp(name), not_a_number_at(25)) for name in ("plain", "guarded")
    )
    guard.attach(guarded)
    plain.train()
    guarded.train()
    return plain, guarded


def test_a_nan_ruins_a_run_and_costs_a_guarded_one_a_few_steps(with_a_nan):
    plain, guarded = with_a_nan
    assert weights(plain).isnan().any()
    assert weights(guarded).isfinite().all()
    (event,) = events_in(Path(guarded.args.output_dir))
    assert (event["step"], event["action"], event["reason"]) == (26, "rolled back", "non_finite")
    assert (event["restored_step"], event["abandoned"]) == (20, [21, 26])
    assert (event["learning_rate_factor"], event["attempts_left"]) == (1.0, 7)
    losses = logged(guarded, "loss")
    assert [i for i, loss in enumerate(losses) if math.isnan(loss)] == [25]
    assert losses[-1] < losses[10]


def test_one_nan_leaves_the_rate_as_it_is_and_a_second_cuts_it_and_keeps_the_schedule_s_shape(tmp_path):
    """The first step of the warm-up has none, and a row tells the rate the schedule gave at the step before."""
    plain = trainer_with(tmp_path / "plain")
    guarded = trainer_with(tmp_path / "guarded", not_a_number_at(15, 25))
    guard.attach(guarded)
    plain.train()
    guarded.train()
    rates, ours = (np.array(logged(trainer, "learning_rate")[1:]) for trainer in (plain, guarded))
    assert ours[:26] / rates[:26] == pytest.approx(1.0)
    assert ours[26:] / rates[26:] == pytest.approx(guard.CUT)


def test_a_window_of_bad_data_is_skipped_at_the_rate_as_it_is(tmp_path):
    """The loss is turned round for 15 steps: eight to notice it, and the rest is refused with restored weights."""
    guarded = trainer_with(tmp_path, lambda step: 30.0 if 20 <= step < 35 else 1.0)
    guard.attach(guarded)
    guarded.train()
    first, *skips = events_in(tmp_path)
    assert (first["reason"], first["action"], first["step"]) == ("loss", "rolled back", 26)
    assert [event["action"] for event in skips] == ["skipped"] * 9
    assert [event["step"] for event in skips] == list(range(27, 36))
    assert [event["learning_rate_factor"] for event in skips] == [0.125] * 3 + [1.0] * 6
    assert skips[-1]["attempts_left"] == 7


def test_trouble_that_comes_again_lowers_the_rate_further_and_at_last_stops_the_run(tmp_path):
    guarded = trainer_with(tmp_path, lambda step: math.nan if step in (8, 10, 12) else 1.0)
    watcher = guard.attach(guarded, attempts=2)
    guarded.train()
    assert [event["learning_rate_factor"] for event in events_in(tmp_path)] == [1.0, 0.125, 0.125]
    assert events_in(tmp_path)[-1]["action"] == "stopped"
    assert watcher.stopped
    assert guarded.state.global_step == 13
    assert weights(guarded).isfinite().all()


def test_data_that_stays_out_of_line_is_taken_for_the_run_s_own(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "SKIPS", 5)
    guarded = trainer_with(tmp_path, lambda step: 1.0 if step < 12 else 30.0)
    watcher = guard.attach(guarded)
    guarded.train()
    assert [event["action"] for event in events_in(tmp_path)] == ["rolled back"] + ["skipped"] * 5
    assert not watcher.stopped


def test_an_ill_evaluation_takes_the_run_back_to_its_best(tmp_path):
    """Both losses are half as high again from step 20: too little for the train loss alone to say."""
    guarded = trainer_with(
        tmp_path,
        lambda step: 1.0 if step < 20 else 1.5,
        eval_strategy="steps",
        eval_steps=10,
        learning_rate=1e-5,
        max_steps=32,
    )
    guard.attach(guarded)
    guarded.train()
    reasons = {event["reason"]: event for event in events_in(tmp_path)}
    assert list(reasons) == ["eval"]
    assert (reasons["eval"]["step"], reasons["eval"]["restored_step"]) == (30, 10)


def test_a_snapshot_gives_back_weights_moments_and_random_state(tmp_path):
    trainer = trainer_with(tmp_path, max_steps=3)
    trainer.train()
    snapshot = Snapshot.take(trainer, Watch(first=[1.0]))

    def state():
        moments = [s["exp_avg"].clone() for s in trainer.optimizer.optimizer.state.values()]
        return weights(trainer), torch.cat([m.flatten() for m in moments])

    before = state()
    drawn = torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    for _ in range(2):
        for parameter in trainer.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        trainer.optimizer.step()
        assert not torch.equal(weights(trainer), before[0])
        assert snapshot.restore(trainer) == Watch(first=[1.0])
        assert all(map(torch.equal, state(), before))
        assert (torch.rand(1), np.random.rand(), random.random()) == drawn  # noqa: NPY002


def test_a_gradient_scaler_s_overflow_is_not_trouble(tmp_path):
    trainer = trainer_with(tmp_path)
    watcher = guard.attach(trainer)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    watcher.saw_loss(torch.tensor(1.0))
    watcher.saw_norm(torch.tensor(math.inf))
    assert watcher._measured() == (1.0, None)


def test_a_model_that_is_sharded_is_refused(tmp_path):
    trainer = trainer_with(tmp_path)
    trainer.is_deepspeed_enabled = True
    with pytest.raises(ConfigError, match=r"guard\.enabled = false"):
        guard.attach(trainer)


GUARDED = small_config(optim__max_steps=16, save__steps=4, eval__steps=4)


@contextmanager
def nan_in_recipes_runs(*steps: int) -> Iterator[None]:
    """While it lasts, a run's loss is NaN at `steps`, counted from 0."""
    compute_loss = WeightedLossTrainer.compute_loss

    def spoilt(self, *args, **kwargs):
        return compute_loss(self, *args, **kwargs) * not_a_number_at(*steps)(self.state.global_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightedLossTrainer, "compute_loss", spoilt)
        yield


def killed_at(step: int) -> Callable[[dict], None]:
    def report(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    return report


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    with nan_in_recipes_runs(5, 7):
        return fit_small(tmp_path_factory.mktemp("guard") / "run", config=GUARDED)


def adapter(out: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(out).checkpoints()[-1].path / "adapter_model.safetensors")


def test_a_recipe_s_run_is_guarded_unless_it_says_otherwise(saved, tmp_path):
    assert [event["step"] for event in events_in(saved)] == [6, 8]
    assert all(tensor.isfinite().all() for tensor in adapter(saved).values())
    with nan_in_recipes_runs(5):
        fit_small(tmp_path / "off", config=replace(GUARDED, guard=GuardSection(enabled=False)))
    assert not all(tensor.isfinite().all() for tensor in adapter(tmp_path / "off").values())


def test_a_run_killed_after_a_rollback_resumes_to_the_weights_and_rates_of_one_that_was_not(saved, tmp_path):
    with nan_in_recipes_runs(5, 7), pytest.raises(KeyboardInterrupt):
        fit_small(tmp_path / "run", config=GUARDED, report=killed_at(15))
    with RunFolder(tmp_path / "run").guard.open("a") as file:
        file.write(json.dumps({"step": 15}) + "\n")
    fit_small(tmp_path / "run", config=GUARDED, resume=True)
    assert events_in(tmp_path / "run") == events_in(saved)
    states = [json.loads(RunFolder(out).trainer_state.read_text()) for out in (saved, tmp_path / "run")]
    kept = [state["stateful_callbacks"]["dycktune_guard"] for state in states]
    assert kept[0] == kept[1]
    assert (kept[0]["attempts"], kept[0]["factor"]) == (6, guard.CUT)
    ours, theirs = adapter(tmp_path / "run"), adapter(saved)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_the_guard_gives_up_is_one_clear_error(tmp_path):
    config = small_config(guard__attempts=0)
    with (
        nan_in_recipes_runs(3),
        pytest.raises(RunError, match=r"after 0 rollbacks; lower optim\.learning_rate") as told,
    ):
        fit_small(tmp_path / "run", config=config)
    assert "\n" not in str(told.value)
    assert [c.step for c in RunFolder(tmp_path / "run").checkpoints()] == [2, 4]


def test_a_run_begun_before_there_was_a_guard_is_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit_small(tmp_path / "run", report=killed_at(3))
    run = RunFolder(tmp_path / "run")
    sections = run.config.read_text().split("\n\n")
    run.config.write_text("\n\n".join(part for part in sections if not part.startswith("[guard]")))
    state_file = run.checkpoints()[-1].path / "trainer_state.json"
    state = json.loads(state_file.read_text())
    del state["stateful_callbacks"]["dycktune_guard"]
    state_file.write_text(json.dumps(state))
    fit_small(tmp_path / "run", resume=True)
    assert run.finished
