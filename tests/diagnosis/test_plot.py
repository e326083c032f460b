import pytest

from dycktune.diagnosis import draw

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_the_picture_is_written_whole_in_the_format_its_name_asks_for(judged, seed_rows, tmp_path, suffix):
    path = tmp_path / f"loss{suffix}"
    draw(judged(seed_rows), path)
    assert path.read_bytes().startswith(SIGNATURES[suffix])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_marks_and_words_are_in_the_picture(judged, seed_rows, tmp_path):
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}):
        draw(judged(seed_rows), tmp_path / "loss.svg")
    drawn = (tmp_path / "loss.svg").read_text()
    for words in (
        "deploy step 150",
        "fluke, step 490",
        "onset, step",
        "good region",
        "learning rate",
        "Unstable",
    ):
        assert words in drawn


def test_exact_match_has_a_panel_where_it_was_logged(judged, seed_rows, tmp_path):
    from matplotlib import rc_context

    scored = [row | {"eval_exact_match": 0.5} if "eval_loss" in row else row for row in seed_rows]
    with rc_context({"svg.fonttype": "none"}):
        draw(judged(seed_rows), tmp_path / "plain.svg")
        draw(judged(scored), tmp_path / "scored.svg")
    assert "exact match" not in (tmp_path / "plain.svg").read_text()
    assert "exact match" in (tmp_path / "scored.svg").read_text()


def test_a_log_of_one_row_can_be_drawn(judged, tmp_path):
    draw(judged([{"step": 1, "loss": 0.0, "grad_norm": 0.0}]), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
