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
"""The same climb, steeper and cut short."""


def run(out: Path, *, guarded: bool) -> Diagnosis:
    return diagnose(train(recipe.load(RECIPE, SMALL | {"guard.enabled": str(guarded).lower()}), out))


def test_the_founding_curve_is_made_and_read_as_what_it_was(tmp_path):
    """A good region, then train and eval rise together; the doctor deploys the good region, not the end."""
    found = run(tmp_path / "run", guarded=False)
    assert found.label == "instability"
    assert 30 <= found.best_step <= 90
    evals, train_loss = found.view.evals, found.view.curves.train
    assert evals.values[-3:].min() > 3 * evals.at(found.best_step)
    assert train_loss.values[-10:].mean() > 3 * train_loss.at(found.best_step)


def test_the_guard_saves_it(tmp_path):
    found = run(tmp_path / "run", guarded=True)
    assert {event.action for event in found.guarded} == {"rolled back"}
    assert found.view.evals.values[-1] < 0.2
