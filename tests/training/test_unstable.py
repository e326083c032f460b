from pathlib import Path

import pytest

from dycktune.diagnosis import Diagnosis, diagnose
from dycktune.training import recipe
from dycktune.training.run import train

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "recipes" / "unstable.toml"
SMALL = {
    "optim.max_steps": "130",
    "optim.learning_rate": "1.5e-2",
    "save.steps": "65",
}
"""The same rise of the learning rate, steeper and shorter."""


def run(out: Path, *, guarded: bool) -> Diagnosis:
    return diagnose(train(recipe.load(RECIPE, SMALL | {"guard.enabled": str(guarded).lower()}), out))


def test_the_unguarded_run_diverges_and_the_doctor_chooses_a_checkpoint_before_that(tmp_path):
    """Train and eval loss fall, then rise together."""
    found = run(tmp_path / "run", guarded=False)
    assert found.label == "instability"
    assert 30 <= found.best_step <= 90
    evals, train_loss = found.view.evals, found.view.curves.train
    assert evals.values[-3:].min() > 3 * evals.at(found.best_step)
    assert train_loss.values[-10:].mean() > 3 * train_loss.at(found.best_step)


def test_the_guarded_run_ends_with_a_low_loss(tmp_path):
    found = run(tmp_path / "run", guarded=True)
    assert {event.action for event in found.beside.guarded} == {"rolled back"}
    assert found.view.evals.values[-1] < 0.2
