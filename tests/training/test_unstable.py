from pathlib import Path

import pytest

from dycktune.diagnosis import diagnose
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


def test_the_founding_curve_is_made_and_read_as_what_it_was(tmp_path):
    """A good region, then train and eval rise together; the doctor deploys the good region, not the end."""
    found = diagnose(train(recipe.load(RECIPE, SMALL), tmp_path / "run"))
    assert found.label == "instability"
    assert 30 <= found.best_step <= 90
    evals, train_loss = found.view.evals, found.view.curves.train
    assert evals.values[-3:].min() > 3 * evals.at(found.best_step)
    assert train_loss.values[-10:].mean() > 3 * train_loss.at(found.best_step)
