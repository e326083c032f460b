import json
import re

import pytest

from dycktune.cli import main
from small_models import make_tokenizer


@pytest.fixture
def model(tmp_path):
    """A folder with a tokenizer."""
    make_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    return str(tmp_path / "model")


@pytest.fixture
def rows(tmp_path):
    """A good row with HTML in it, and one without an answer."""
    path = tmp_path / "rows.jsonl"
    good = {"prompt": "<script>alert(1)</script> & \x1b[31m", "completion": "so\nFINAL ANSWER: 4"}
    path.write_text(json.dumps(good) + "\n" + json.dumps({"prompt": "?", "completion": "four"}) + "\n")
    return str(path)


def test_without_colours_each_part_has_its_kind_and_weight_and_status_1_says_that_rows_are_refused(
    rows, model, capsys
):
    assert main(["preview", "--data", rows, "--model", model]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^answer +5 │ FINAL ANSWER: 4$", shown, re.MULTILINE)
    assert re.search(r"^reasoning +1 │ so⏎$", shown, re.MULTILINE)
    assert re.search(r"^end +5 │ <\|im_end\|>$", shown, re.MULTILINE)
    assert "rows.jsonl:2: the completion has no answer" in shown
    assert "\x1b" not in shown


def test_the_page_escapes_the_data_and_needs_no_network(rows, model, tmp_path, capsys):
    page = tmp_path / "page.html"
    main(["preview", "--data", rows, "--model", model, "--html", str(page)])
    assert f"written: {page}" in capsys.readouterr().out
    html = page.read_text()
    assert "<script" not in html
    assert "\x1b" not in html
    assert not re.search(r"""(?:src|href)=|url\(|@import""", html)
    assert 'class="part answer"' in html


def test_json_holds_every_id_with_its_weight(rows, model, capsys):
    assert main(["preview", "--data", rows, "--model", model, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (example,) = found["examples"]
    assert sum(len(piece["ids"]) for piece in example["pieces"]) == example["tokens"]
    assert found["trainable"] is False
    assert found["splits"]["train"]["refused"][0]["source"].endswith(":2")


def test_a_recipe_shows_both_splits_and_their_overlap(tmp_path, model, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'[model]\nbase = "{model}"\n[task]\nmax_length = 6\n[data]\ncount = 20\neval_count = 5\n'
    )
    assert main(["preview", str(recipe), "--count", "1", "--data.eval-count", "6"]) == 0
    shown = capsys.readouterr().out
    assert "example 1 of 1" in shown
    assert "overlap: 0 of 6 eval rows" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a recipe"),
        (["--data", "rows.jsonl"], "--data needs --model"),
        (["--data", "none.jsonl", "--model", "builtin:tiny"], "none.jsonl"),
        (["--data", "rows.jsonl", "--model", "no such model"], "no such model"),
        (["none.toml", "--count", "-1"], "--count is -1"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, said, rows, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["preview", *arguments]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
