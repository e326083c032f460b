import pytest

from dycktune.diagnosis import Criterion
from dycktune.errors import RunError

FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
TURNING = [1.0, 0.7, 0.5, 0.45, 0.5, 0.6, 0.7, 0.78]


@pytest.fixture(scope="session")
def several():
    """Rows of several evaluation sets, each set on rows of its own, as Trainer logs them."""

    def build(scores=(), **losses):
        rows = [{"step": 100 * (i + 1), "loss": 0.8**i} for i in range(8)]
        for name, values in losses.items():
            for i, value in enumerate(values):
                row = {"step": 100 * (i + 1), f"eval_{name}_loss": value}
                rows.append(row | ({f"eval_{name}_accuracy": scores[i]} if scores else {}))
        return sorted(rows, key=lambda row: row["step"])

    return build


def test_several_sets_are_judged_together_whatever_their_units(judged, several):
    diagnosis = judged(several(a=TURNING, b=[100 * value for value in TURNING]))
    assert (diagnosis.label, diagnosis.best_step) == ("overfitting", 400)
    (sets,) = [one for one in diagnosis.findings if one.kind == "eval_sets"]
    assert "Lowest loss: step 400 in all" in sets.message
    assert "each is overfitting" in sets.message


def test_a_set_that_disagrees_is_named(judged, several):
    diagnosis = judged(several(a=FALLING, b=FALLING, math=TURNING))
    (sets,) = [one for one in diagnosis.findings if one.kind == "eval_sets"]
    assert "healthy in a, b; overfitting in math" in sets.message
    assert "step 400 in math; step 800 in a, b" in sets.message


def test_one_set_can_be_chosen(judged, several):
    rows = several(a=FALLING, math=TURNING)
    chosen = judged(rows, criterion=Criterion(eval_set="math"))
    assert (chosen.label, chosen.recommended_step) == ("overfitting", 400)
    with pytest.raises(RunError, match="no eval set 'law'"):
        judged(rows, criterion=Criterion(eval_set="law"))


def test_the_mean_of_the_sets_metric_decides(judged, several):
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.55, 0.5]
    diagnosis = judged(several(scores, a=FALLING, b=FALLING))
    assert (diagnosis.view.metric.name, diagnosis.recommended_step) == ("mean eval_accuracy", 600)


def test_beside_a_plain_eval_loss_the_others_are_only_named(judged, several):
    rows = [
        row | ({"eval_loss": row["eval_a_loss"]} if "eval_a_loss" in row else {})
        for row in several(a=FALLING)
    ]
    diagnosis = judged(rows)
    assert diagnosis.view.curves.eval_key == "eval_loss"
    assert "other_eval_sets" in {one.kind for one in diagnosis.findings}
