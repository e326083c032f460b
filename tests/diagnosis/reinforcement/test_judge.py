import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.diagnosis import REWARD_LABELS, Criterion, diagnose, first_visible, prose
from dycktune.errors import RunError


def kinds(diagnosis):
    return [finding.kind for finding in diagnosis.findings]


def advice(diagnosis):
    return " ".join(diagnosis.advice)


def test_a_reward_that_rises_is_healthy_and_the_last_step_is_deployed(judged, run_rows):
    diagnosis = judged(run_rows([0.2, 0.8]))
    assert (diagnosis.label, diagnosis.recommended_step) == ("healthy", 60)
    assert "no_held_out" in kinds(diagnosis)


def test_a_reward_that_falls_to_nothing_is_a_collapse_and_the_step_before_it_is_deployed(judged, run_rows):
    rows = run_rows([0.5, 0.8, 0.8, 0.0, 0.0], frac_reward_zero_std=[0.2, 0.2, 0.2, 1, 1])
    diagnosis = judged(rows)
    assert diagnosis.label == "collapse"
    assert 25 <= diagnosis.recommended_step <= 34
    assert "100% groups of equal rewards" in diagnosis.deciding.message
    assert "optim.learning_rate from 1e-05 to 3.3e-06" in advice(diagnosis)
    assert not {"no_gain", "no_signal", "length_growth"} & set(kinds(diagnosis))


def test_a_fall_that_came_back_is_a_note(judged, run_rows):
    diagnosis = judged(run_rows([0.6, 0.8, 0.1, 0.8, 0.9, 0.9]))
    assert diagnosis.label == "healthy"
    assert "reward_dip" in kinds(diagnosis)


def test_a_peak_in_the_middle_with_an_end_above_the_beginning_is_no_collapse(judged, run_rows):
    assert judged(run_rows([0.2, 0.7, 0.45], noise=0.1)).label == "healthy"


def test_a_reward_that_rises_while_exact_match_does_not_is_reward_hacking(judged, run_rows):
    rows = run_rows([0.2, 0.9], evals=[0.40, 0.41, 0.38, 0.36, 0.30, 0.28])
    diagnosis = judged(rows)
    assert diagnosis.label == "reward_hacking"
    assert "eval_exact_match" in diagnosis.deciding.message
    assert diagnosis.recommended_step == 20


def test_a_reward_and_an_exact_match_that_rise_together_are_healthy(judged, run_rows):
    diagnosis = judged(run_rows([0.2, 0.9], evals=[0.2, 0.3, 0.45, 0.6, 0.58, 0.57]))
    assert (diagnosis.label, diagnosis.recommended_step) == ("healthy", 40)


def test_an_exact_match_of_one_from_the_beginning_is_no_sign_of_hacking(judged, run_rows):
    assert judged(run_rows([0.2, 0.9], evals=[1.0, 0.99, 1.0, 1.0])).label == "healthy"


def test_without_evaluations_the_part_for_right_answers_tells_hacking(judged, run_rows):
    parts = {"rewards/format/mean": [0.0, 1.0], "rewards/accuracy/mean": 0.1}
    diagnosis = judged(run_rows([0.1, 1.1], **parts))
    assert diagnosis.label == "reward_hacking"
    assert diagnosis.recommended_step is None
    assert "less weight: format" in advice(diagnosis)
    grows = {"rewards/format/mean": [0.0, 1.0], "rewards/accuracy/mean": [0.1, 0.6]}
    assert judged(run_rows([0.1, 1.6], **grows)).label == "healthy"


@pytest.mark.parametrize(
    ("reward", "quantities", "cause", "cure"),
    [
        (0.0, {}, "nearly no reply is right", "imitation"),
        (1.0, {}, "nearly every reply is right", "harder problems"),
        (0.0, {"completions/clipped_ratio": 1.0}, "cut off at the limit", "limit of the replies"),
        (0.5, {}, "whatever they say", "Test the reward"),
    ],
)
def test_groups_of_equal_rewards_are_no_signal_with_their_cause(
    judged, run_rows, reward, quantities, cause, cure
):
    rows = run_rows(reward, count=8, noise=0.0, reward_std=0.0, frac_reward_zero_std=1.0, **quantities)
    diagnosis = judged(rows)
    assert diagnosis.label == "no_signal"
    assert cause in diagnosis.deciding.message
    assert cure in advice(diagnosis)


def test_an_older_log_without_the_share_of_equal_groups_tells_it_by_the_spread(judged, run_rows):
    rows = [
        {name: value for name, value in row.items() if name != "frac_reward_zero_std"}
        for row in run_rows(0.0, noise=0.0, reward_std=0.0)
    ]
    assert judged(rows).label == "no_signal"


@pytest.mark.parametrize(
    "quantities",
    [{"completions/mean_length": [100, 100, 400]}, {"completions/clipped_ratio": [0.0, 0.1, 0.9]}],
)
def test_replies_that_grow_or_are_cut_off_without_a_gain_are_growth_of_length(judged, run_rows, quantities):
    diagnosis = judged(run_rows(0.5, **quantities))
    assert diagnosis.label == "length_growth"
    assert diagnosis.recommended_step <= 42
    assert judged(run_rows([0.2, 0.8], **quantities)).label == "healthy"


def test_a_flat_reward_is_no_gain_and_no_step_is_recommended(judged, run_rows):
    diagnosis = judged(run_rows(0.5))
    assert (diagnosis.label, diagnosis.recommended_step) == ("no_gain", None)
    assert "try 3 and 10 times" in advice(diagnosis)


def test_few_rows_or_mere_noise_are_too_short(judged, run_rows):
    assert judged(run_rows([0.2, 0.8], count=6)).label == "too_short"
    assert judged(run_rows(0.5, count=20, noise=1.0, reward_std=0.3)).label == "too_short"


def test_a_reward_that_is_not_finite_to_the_end_is_named_and_what_came_before_is_deployed(judged, run_rows):
    rows = run_rows([0.2, 0.8])
    for row in rows[40:]:
        row["reward"] = math.nan
    diagnosis = judged(rows)
    assert (diagnosis.label, diagnosis.recommended_step) == ("nan_inf", 40)


def test_losses_of_zero_are_usual_here(judged, run_rows):
    assert not {"zero_loss", "memorised"} & set(kinds(judged(run_rows([0.2, 0.8]))))


def test_a_group_size_is_advised_by_the_share_of_right_replies(judged, run_rows, tmp_path):
    rows = run_rows(0.1, frac_reward_zero_std=0.6, noise=0.02)
    assert "Sample 7 replies" in advice(judged(rows))
    (tmp_path / "config.toml").write_text("[grpo]\ngroup_size = 4\n")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "grpo.group_size, now 4" in advice(diagnose(tmp_path))
    (tmp_path / "config.toml").write_text("[grpo]\ngroup_size = 16\n")
    assert "Groups of 16 are large enough" in advice(diagnose(tmp_path))


def test_the_start_is_deployed_where_it_was_best_and_is_a_checkpoint(run_rows, tmp_path):
    rows = [{"step": 0, "eval_exact_match": 0.4}, *run_rows([0.4, 0.2], evals=[0.3, 0.2, 0.1])]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in (20, 40, 60):
        (tmp_path / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
    assert diagnose(tmp_path).recommended_step == 20
    assert "worse_than_untrained" in kinds(diagnose(tmp_path))
    (tmp_path / "checkpoints/checkpoint-0").mkdir()
    assert diagnose(tmp_path).recommended_step == 0
    assert "worse_than_untrained" not in kinds(diagnose(tmp_path))


def test_notes_name_a_constant_part_a_foreign_reference_and_entropy(judged, run_rows):
    parts = {"rewards/format/mean": 0.0, "rewards/accuracy/mean": [0.2, 0.8]}
    diagnosis = judged(run_rows([0.2, 0.8], kl=0.5, entropy=[0.2, 0.9], **parts))
    assert {"constant_reward", "reference_differs", "entropy"} <= set(kinds(diagnosis))
    assert "rewards/format (0)" in prose(diagnosis)


def test_the_loss_decides_nothing_and_is_refused_as_a_criterion(judged, run_rows):
    rows = [*run_rows([0.2, 0.8]), *({"step": step, "eval_loss": 0.01 * step} for step in (20, 40, 60))]
    assert judged(rows).recommended_step == 60
    with pytest.raises(RunError, match="tells no steps apart"):
        judged(rows, Criterion(by="loss"))


def test_the_reward_on_held_out_problems_decides_where_nothing_better_was_logged(judged, run_rows):
    rewards = ((15, 0.4), (30, 0.55), (45, 0.6), (60, 0.55))
    rows = [*run_rows([0.2, 0.8]), *({"step": step, "eval_reward": value} for step, value in rewards)]
    diagnosis = judged(sorted(rows, key=lambda row: row["step"]))
    assert diagnosis.recommended_step == 45
    assert diagnosis.view.metric.name == "eval_reward"


def test_a_collapse_is_visible_soon_after_it_began(judged, run_rows):
    diagnosis = judged(run_rows([0.5, 0.8, 0.8, 0.0, 0.0, 0.0]))
    assert diagnosis.label == "collapse"
    assert first_visible(diagnosis, "collapse") <= 45


def test_a_verl_console_log_is_read(tmp_path):
    path = tmp_path / "verl.log"
    line = (
        "(TaskRunner pid=1) step:{step} - actor/entropy_loss:0.3 - actor/kl_loss:0.02 - actor/pg_loss:0.001 - "
        "actor/grad_norm:0.2 - actor/lr:1e-06 - critic/score/mean:{reward:.3f} - response_length/mean:330.4 - "
        "response_length/clip_ratio:0.004\n"
    )
    path.write_text("".join(line.format(step=i, reward=0.2 + 0.02 * i) for i in range(1, 31)))
    diagnosis = diagnose(path)
    assert (diagnosis.label, diagnosis.recommended_step) == ("healthy", 30)
    assert diagnosis.rewards.length.values[0] == 330.4


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"reward": st.floats(allow_infinity=True, width=32), "loss": st.floats(-1, 1)},
            optional={
                "reward_std": st.floats(0, 5),
                "kl": st.floats(0, 1e6),
                "completions/mean_length": st.floats(0, 1e4),
                "entropy": st.floats(0, 10),
            },
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_was_logged_gets_a_label_and_a_page(judged, rows):
    diagnosis = judged([{"step": i + 1, **row} for i, row in enumerate(rows)])
    assert diagnosis.label in REWARD_LABELS
    assert prose(diagnosis)
    json.dumps(diagnosis.to_json(), allow_nan=False)


def test_a_log_that_begins_in_the_middle_tells_nothing_of_the_reference(judged, run_rows):
    later = [{**row, "step": row["step"] + 800} for row in run_rows([0.2, 0.8], kl=0.5)]
    assert "reference_differs" not in kinds(judged(later))


def test_a_dpo_log_stays_not_applicable(judged):
    rows = [
        {"step": i, "loss": 0.7, "reward": 0.1, "rewards/chosen": 0.1, "rewards/margins": 0.2}
        for i in range(30)
    ]
    assert judged(rows).label == "not_applicable"
