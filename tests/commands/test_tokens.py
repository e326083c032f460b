import json

import pytest

from dycktune.cli import main
from small_models import make_tokenizer


@pytest.fixture
def merging_model(tmp_path):
    """A folder with a tokenizer in which `((` is one token."""
    make_tokenizer("merged").save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    return str(tmp_path / "model")


@pytest.fixture
def sums(tmp_path):
    """Rows of another task, with an answer marker of its own."""
    rows = [
        [
            {"role": "user", "content": f"{n} + 1?"},
            {"role": "assistant", "content": f"one more\n#### {n + 1}"},
        ]
        for n in range(5)
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return str(path)


def test_merged_brackets_give_a_warning_with_the_remedy(merging_model, capsys):
    assert main(["tokens", merging_model]) == 0
    shown = capsys.readouterr().out
    assert "warning: (( " in shown
    assert "keep a space between brackets" in shown
    assert "500 examples: generated items of task dyck" in shown


def test_lengths_and_shares_of_a_file_are_printed(merging_model, sums, capsys):
    assert main(["tokens", merging_model, "--data", sums, "--marker", "#### ", "--answer-weight", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"{sums}: read 5 examples (messages)" in shown
    assert any(line.startswith("tokens per example: 50 % up to ") for line in shown)
    shares = {
        line.split()[0]: line.split()[1:]
        for line in shown
        if line.startswith(("prompt", "reasoning", "answer"))
    }
    assert shares["prompt"][1:] == ["0", "0.0%"]
    assert shares["answer"][1] == "2"
    assert sum(float(share[0].rstrip("%")) for share in shares.values()) == pytest.approx(100, abs=0.2)


def test_a_file_without_the_marker_is_one_line_and_status_2(merging_model, sums, capsys):
    assert main(["tokens", merging_model, "--data", sums]) == 2
    printed = capsys.readouterr().err
    assert "sums.jsonl:1: the completion holds no answer marker" in printed
    assert printed.count("\n") == 1
