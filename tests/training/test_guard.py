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

from dycktune.checkpoints import SEAL
from dycktune.errors import ConfigError, RunError
from dycktune.records import GuardRow
from dycktune.runs import RunFolder
from dycktune.training import guard
from dycktune.training.config import GuardSection
from dycktune.training.divergence import DivergenceDetector
from dycktune.training.meter import StepMeter
from dycktune.training.snapshot import Snapshot
from dycktune.training.trainer import WeightedLossTrainer
from small_runs import fit_small, small_config
from spoilt_trainer import nan_at, trainer_with
from weighted_rows import logged


def events_in(folder: Path) -> list[GuardRow]:
    return list(RunFolder(folder).read_guard_events())


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("kind", [Trainer, WeightedLossTrainer])
def test_a_run_without_an_anomaly_has_the_weights_of_one_without_the_guard(tmp_path, kind):
    plain, guarded = (trainer_with(tmp_path, kind=kind, max_steps=25) for _ in range(2))
    guard.attach(guarded)
    plain.train()
    guarded.train()
    assert torch.equal(weights(plain), weights(guarded))
    assert logged(plain, "loss") == logged(guarded, "loss")
    assert events_in(tmp_path) == []


@pytest.fixture(scope="module")
def with_a_nan(tmp_path_factory) -> tuple[Trainer, Trainer]:
    """An unguarded and a guarded training, both with a NaN loss at one step."""
    plain, guarded = (
        trainer_with(tmp_path_factory.mktemp(name), nan_at(25)) for name in ("plain", "guarded")
    )
    guard.attach(guarded)
    plain.train()
    guarded.train()
    return plain, guarded


def test_a_nan_loss_ruins_an_unguarded_run_and_costs_a_guarded_one_a_few_steps(with_a_nan):
    plain, guarded = with_a_nan
    assert weights(plain).isnan().any()
    assert weights(guarded).isfinite().all()
    (event,) = events_in(Path(guarded.args.output_dir))
    assert (event["step"], event["action"], event["reason"]) == (26, "rolled back", "non_finite")
    assert (event["restored_step"], event["abandoned"]) == (20, [21, 26])
    assert (event["learning_rate_factor"], event["rollbacks_left"]) == (1.0, 7)
    losses = logged(guarded, "loss")
    assert [i for i, loss in enumerate(losses) if math.isnan(loss)] == [25]
    assert losses[-1] < losses[10]


def test_only_the_second_nan_cuts_the_rate_and_the_schedule_keeps_its_shape(tmp_path):
    """The first step of the warm-up has rate 0, and a row holds the rate of the step before."""
    plain = trainer_with(tmp_path / "plain")
    guarded = trainer_with(tmp_path / "guarded", nan_at(15, 25))
    guard.attach(guarded)
    plain.train()
    guarded.train()
    rates, ours = (np.array(logged(trainer, "learning_rate")[1:]) for trainer in (plain, guarded))
    assert ours[:26] / rates[:26] == pytest.approx(1.0)
    assert ours[26:] / rates[26:] == pytest.approx(guard.LEARNING_RATE_CUT)


def test_a_window_of_bad_data_is_skipped_and_the_rate_returns(tmp_path):
    """The loss is 30 times as high for 15 steps: the guard detects it after eight, and skips the rest."""
    guarded = trainer_with(tmp_path, lambda step: 30.0 if 20 <= step < 35 else 1.0)
    guard.attach(guarded)
    guarded.train()
    first, *skips = events_in(tmp_path)
    assert (first["reason"], first["action"], first["step"]) == ("loss", "rolled back", 26)
    assert [event["action"] for event in skips] == ["skipped"] * 9
    assert [event["step"] for event in skips] == list(range(27, 36))
    assert [event["learning_rate_factor"] for event in skips] == [0.125] * 3 + [1.0] * 6
    assert skips[-1]["rollbacks_left"] == 7


def test_repeated_anomalies_cut_the_rate_again_and_finally_stop_the_run(tmp_path):
    guarded = trainer_with(tmp_path, lambda step: math.nan if step in (8, 10, 12) else 1.0)
    attached = guard.attach(guarded, max_rollbacks=2)
    guarded.train()
    assert [event["learning_rate_factor"] for event in events_in(tmp_path)] == [1.0, 0.125, 0.125]
    assert events_in(tmp_path)[-1]["action"] == "stopped"
    assert attached.stopped_training
    assert guarded.state.global_step == 13
    assert weights(guarded).isfinite().all()


def test_data_whose_loss_stays_high_is_accepted_after_the_last_skip(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_SKIPS", 5)
    guarded = trainer_with(tmp_path, lambda step: 1.0 if step < 12 else 30.0)
    attached = guard.attach(guarded)
    guarded.train()
    assert [event["action"] for event in events_in(tmp_path)] == ["rolled back"] + ["skipped"] * 5
    assert not attached.stopped_training


def test_an_anomalous_evaluation_rolls_the_run_back_to_its_best_one(tmp_path):
    """Both losses are 1.5 times as high from step 20: too little to be an anomaly of the train loss alone."""
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


def test_a_snapshot_restores_weights_moments_and_random_state(tmp_path):
    trainer = trainer_with(tmp_path, max_steps=3)
    trainer.train()
    snapshot = Snapshot.take(trainer, DivergenceDetector(first_losses=[1.0]))

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
        assert snapshot.restore(trainer) == DivergenceDetector(first_losses=[1.0])
        assert all(map(torch.equal, state(), before))
        assert (torch.rand(1), np.random.rand(), random.random()) == drawn  # noqa: NPY002


def test_the_overflow_of_a_gradient_scaler_is_no_anomaly(tmp_path):
    trainer = trainer_with(tmp_path)
    meter = StepMeter(trainer)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    meter.record_loss(torch.tensor(1.0))
    meter.record_grad_norm(torch.tensor(math.inf))
    assert meter.read() == (1.0, None)


def test_a_sharded_model_is_refused(tmp_path):
    trainer = trainer_with(tmp_path)
    trainer.is_deepspeed_enabled = True
    with pytest.raises(ConfigError, match=r"guard\.enabled = false"):
        guard.attach(trainer)


GUARDED = small_config(optim__max_steps=16, save__steps=4, eval__steps=4)


@contextmanager
def nan_loss_at(*steps: int) -> Iterator[None]:
    """Within the block, the loss of a recipe's run is NaN at `steps`, counted from 0."""
    compute_loss = WeightedLossTrainer.compute_loss

    def spoilt(self, *args, **kwargs):
        return compute_loss(self, *args, **kwargs) * nan_at(*steps)(self.state.global_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightedLossTrainer, "compute_loss", spoilt)
        yield


def killed_at(step: int) -> Callable[[dict], None]:
    def on_log(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    return on_log


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    with nan_loss_at(5, 7):
        return fit_small(tmp_path_factory.mktemp("guard") / "run", config=GUARDED)


def adapter(out: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(out).checkpoints()[-1].path / "adapter_model.safetensors")


def test_a_recipe_s_run_is_guarded_unless_the_recipe_turns_it_off(saved, tmp_path):
    assert [event["step"] for event in events_in(saved)] == [6, 8]
    assert all(tensor.isfinite().all() for tensor in adapter(saved).values())
    with nan_loss_at(5):
        fit_small(tmp_path / "off", config=replace(GUARDED, guard=GuardSection(enabled=False)))
    assert not all(tensor.isfinite().all() for tensor in adapter(tmp_path / "off").values())


def test_a_run_killed_after_a_rollback_resumes_to_the_weights_and_rates_of_an_uninterrupted_one(
    saved, tmp_path
):
    with nan_loss_at(5, 7), pytest.raises(KeyboardInterrupt):
        fit_small(tmp_path / "run", config=GUARDED, on_log=killed_at(15))
    with RunFolder(tmp_path / "run").guard.open("a") as file:
        file.write(json.dumps({**events_in(saved)[0], "step": 15}) + "\n")
    fit_small(tmp_path / "run", config=GUARDED, resume=True)
    assert events_in(tmp_path / "run") == events_in(saved)
    states = [json.loads(RunFolder(out).trainer_state.read_text()) for out in (saved, tmp_path / "run")]
    kept = [state["stateful_callbacks"]["dycktune_guard"] for state in states]
    assert kept[0] == kept[1]
    assert (kept[0]["rollbacks_left"], kept[0]["learning_rate_factor"]) == (6, guard.LEARNING_RATE_CUT)
    ours, theirs = adapter(tmp_path / "run"), adapter(saved)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_that_the_guard_stops_ends_with_one_clear_error(tmp_path):
    config = small_config(guard__max_rollbacks=0)
    with (
        nan_loss_at(3),
        pytest.raises(RunError, match=r"after 0 rollbacks; lower optim\.learning_rate") as raised,
    ):
        fit_small(tmp_path / "run", config=config)
    assert "\n" not in str(raised.value)
    assert [c.step for c in RunFolder(tmp_path / "run").checkpoints()] == [2, 4]


def test_a_run_from_before_the_guard_existed_can_be_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit_small(tmp_path / "run", on_log=killed_at(3))
    run = RunFolder(tmp_path / "run")
    sections = run.config.read_text().split("\n\n")
    run.config.write_text("\n\n".join(part for part in sections if not part.startswith("[guard]")))
    state_file = run.checkpoints()[-1].path / "trainer_state.json"
    state = json.loads(state_file.read_text())
    del state["stateful_callbacks"]["dycktune_guard"]
    state_file.write_text(json.dumps(state))
    (state_file.parent / SEAL).unlink()
    fit_small(tmp_path / "run", resume=True)
    assert run.finished
