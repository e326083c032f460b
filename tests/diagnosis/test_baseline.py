import numpy as np
import pytest

from dycktune.diagnosis import compare
from dycktune.errors import RunError

FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
SHUFFLED = [1.0, 0.95, 0.91, 0.88, 0.86, 0.85, 0.84, 0.84]


@pytest.fixture(scope="session")
def seeded(judged, curve):
    """A run of the recipe with another seed: another level, by about 1 %."""

    def build(losses, seed):
        level = 1 + 0.01 * float(np.random.default_rng(seed).standard_normal())
        return judged(curve([level * loss for loss in losses], losses))

    return build


def beside(diagnosis):
    return diagnosis.findings[-1]


def test_shuffled_labels_look_healthy_alone_and_not_beside_a_good_run(seeded):
    shuffled = seeded(SHUFFLED, 0)
    assert shuffled.label == "healthy"
    finding = beside(compare(shuffled, [seeded(FALLING, 1)]))
    assert finding.kind == "worse_than_baseline"
    assert 200 <= finding.first_step <= 300
    assert any("differs from the baseline" in line for line in compare(shuffled, [seeded(FALLING, 1)]).advice)


@pytest.mark.parametrize("count", [1, 3])
def test_another_seed_is_not_called_worse(seeded, count):
    kinds = [
        beside(
            compare(seeded(FALLING, seed), [seeded(FALLING, 1000 + seed * 10 + i) for i in range(count)])
        ).kind
        for seed in range(50)
    ]
    assert kinds.count("worse_than_baseline") <= 1


def test_more_baselines_find_smaller_differences(seeded):
    slightly = seeded([1.12 * loss for loss in FALLING], 0)
    assert beside(compare(slightly, [seeded(FALLING, 1)])).kind == "like_baseline"
    assert (
        beside(compare(slightly, [seeded(FALLING, seed) for seed in range(1, 8)])).kind
        == "worse_than_baseline"
    )


def test_only_steps_that_all_runs_reached_are_compared(seeded):
    assert beside(compare(seeded(FALLING[:5], 0), [seeded(FALLING, 1)])).kind == "like_baseline"


def test_a_run_that_ends_worse_is_worse_even_if_it_was_as_good_before(seeded):
    risen = seeded([*FALLING[:5], 0.7, 0.9, 1.0], 0)
    finding = beside(compare(risen, [seeded([*FALLING[:6], 0.44, 0.44], 1)]))
    assert finding.kind == "worse_than_baseline"
    assert "its last eval_loss" in finding.message


def test_the_run_s_metric_is_compared_where_the_baseline_has_it(judged, curve):
    def scored(best):
        values = iter(np.linspace(0.3, best, 8))
        return judged(
            [
                row | ({"eval_accuracy": float(next(values))} if "eval_loss" in row else {})
                for row in curve(FALLING)
            ]
        )

    assert beside(compare(scored(0.5), [scored(0.8)])).kind == "worse_than_baseline"
    assert beside(compare(scored(0.8), [scored(0.5)])).kind == "like_baseline"


def test_runs_with_nothing_in_common_are_refused(judged, curve):
    with pytest.raises(RunError, match="no metric and no loss in common"):
        compare(judged(curve(FALLING)), [judged([{"step": i, "loss": 1.0} for i in range(20)])])
