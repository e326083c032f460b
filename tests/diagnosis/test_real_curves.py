import json
from pathlib import Path

import pytest

from dycktune.diagnosis import Criterion, diagnose

CURVES = Path(__file__).parents[3] / "shared" / "curves"

pytestmark = pytest.mark.skipif(
    not (CURVES / "index.json").is_file(), reason="the labelled curves are not here"
)


def _diagnosis(run, **by):
    return diagnose(CURVES / f"{run['id']}.json", criterion=Criterion(**by))


@pytest.fixture(scope="module")
def read():
    index = json.loads((CURVES / "index.json").read_text())
    core = [run for run in index if run["usable_core"] and not run["near_duplicate_of"]]
    return [(run, _diagnosis(run)) for run in core]


def test_unambiguous_runs_get_their_label(read):
    clear = [(run["label"], diagnosis.label) for run, diagnosis in read if not run["ambiguous"]]
    assert sum(wanted == got for wanted, got in clear) >= 0.95 * len(clear)


def test_hardly_a_healthy_run_is_called_ill(read):
    clear = [diagnosis.label for run, diagnosis in read if run["acceptable_labels"] == ["healthy"]]
    assert sum(label != "healthy" for label in clear) <= 0.02 * len(clear)


def test_steps_recommended_by_loss_are_acceptable(read):
    steps = [_diagnosis(run, by="loss").recommended_step in run["acceptable_best_steps"] for run, _ in read]
    assert sum(steps) >= 0.97 * len(steps)


def test_recommended_steps_are_acceptable_by_the_metric_that_was_trained_for():
    index = json.loads((CURVES / "metrics-index.json").read_text())
    steps = [_diagnosis(run).recommended_step in run["acceptable_steps"] for run in index]
    assert sum(steps) >= 0.97 * len(steps)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("146", "nan_inf"),
        ("151", "not_applicable"),
        ("145", "too_short"),
        ("144", "too_short"),
        ("036", "overfitting"),
    ],
)
def test_the_hard_cases_are_read_right(name, label):
    assert diagnose(CURVES / f"{name}.json").label == label


def test_the_same_checkpoint_resumed_at_half_the_rate_is_not_unstable():
    assert diagnose(CURVES / "118.json").label == "instability"
    assert diagnose(CURVES / "136.json").label in ("healthy", "transient_spike")
