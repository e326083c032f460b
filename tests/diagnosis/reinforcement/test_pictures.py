from dycktune.diagnosis import compare, draw
from dycktune.report.curves import chart


def test_the_picture_shows_the_reward_its_spread_kl_and_length(judged, run_rows, tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        draw(judged(run_rows([0.5, 0.8, 0.8, 0.0, 0.0], evals=[0.4, 0.5, 0.1])), tmp_path / "loss.svg")
    drawn = (tmp_path / "loss.svg").read_text()
    for words in (
        "Collapsed",
        "onset, step",
        "deploy step",
        "spread in groups",
        "KL",
        "length",
        "exact match",
    ):
        assert words in drawn


def test_the_report_has_a_panel_for_each(judged, run_rows):
    shown = chart(judged(run_rows([0.2, 0.8], evals=[0.2, 0.3, 0.5])))
    titles = [panel.title for panel in shown.panels]
    assert titles[:2] == ["reward", "exact match"]
    assert {"spread in groups", "KL", "length"} <= set(titles)


def test_a_run_is_compared_with_its_baselines_by_reward(judged, run_rows):
    good = [judged(run_rows([0.2, 0.8], seed=seed)) for seed in (1, 2)]
    assert compare(judged(run_rows([0.2, 0.8])), good).findings[-1].kind == "like_baseline"
    assert compare(judged(run_rows([0.2, 0.3])), good).findings[-1].kind == "worse_than_baseline"
