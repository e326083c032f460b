import json

import pytest

from dycktune.errors import DataError
from dycktune.preview.survey import overlap, survey
from dycktune.training.examples import with_task
from dycktune.training.recipe import build
from small_models import make_tokenizer

TOKENIZER = make_tokenizer()


def row(question: str, completion: str) -> str:
    return json.dumps({"prompt": question, "completion": completion})


@pytest.fixture
def surveyed(tmp_path):
    """Surveys of both splits of a recipe with these lines in its files."""

    def make(train: list[str], evaluation: list[str] | None = None, **data: object):
        for name, lines in (("train", train), ("eval", evaluation or train)):
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "eval")}
        config = with_task(build({"task": {"name": "marked_answer"}, "data": files | data}, {}))
        return survey(config, "train", TOKENIZER), survey(config, "eval", TOKENIZER)

    return make


GOOD = row("2 + 2?", "FINAL ANSWER: 4")


def test_each_refused_row_has_its_line_and_reason_and_the_others_are_kept(surveyed):
    found, _ = surveyed(
        [GOOD, row("3 + 3?", "six"), row("5 + 5?", "FINAL ANSWER: "), row("1?", "FINAL ANSWER: 1")]
    )
    assert [refusal.source.rpartition(":")[2] for refusal in found.refused] == ["2", "3"]
    assert all("answer" in refusal.reason for refusal in found.refused)
    assert len(found.examples) == len(found.tokenized) == 2
    assert found.rows == 4


def test_a_broken_line_is_refused_with_its_number(surveyed):
    found, _ = surveyed([GOOD, '{"prompt": "x"'])
    (refusal,) = found.refused
    assert refusal.source.endswith("train.jsonl:2")
    assert "not JSON" in refusal.reason


def test_lengths_are_those_of_the_tokenized_rows(surveyed):
    found, _ = surveyed([row("?", f"{'a' * n}\nFINAL ANSWER: 4") for n in range(1, 11)])
    counts = sorted(map(len, found.tokenized))
    assert found.lengths is not None
    assert (found.lengths.min, found.lengths.max) == (counts[0], counts[-1])
    assert counts[0] < found.lengths.median < found.lengths.p95 == counts[-1]


def test_rows_over_the_limit_are_found_the_longest_first(surveyed):
    lines = [GOOD, row("?", f"{'a b ' * 60}\nFINAL ANSWER: 4"), row("!", f"{'a b ' * 90}\nFINAL ANSWER: 4")]
    found, _ = surveyed(lines, max_tokens=180)
    assert [example.source.rpartition(":")[2] for example in found.overlong] == ["3", "2"]


def test_repeated_questions_are_counted_and_other_answers_to_them_named(surveyed):
    found, _ = surveyed([GOOD, row("2  +  2?", "so\nFINAL ANSWER: 4"), row("2 + 2?", "FINAL ANSWER: 5")])
    assert found.repeated == 2
    ((first, other),) = found.contradictions("FINAL ANSWER: ")
    assert (first.source[-1], other.source[-1]) == ("1", "3")


def test_questions_of_both_splits_are_counted_with_an_example(surveyed):
    train, evaluation = surveyed([GOOD, row("1?", "FINAL ANSWER: 1")], [row("9?", "FINAL ANSWER: 9"), GOOD])
    found = overlap(train, evaluation)
    assert (found.items, found.prompts, found.of) == (1, 1, 2)
    assert found.example is not None
    assert [source.rpartition("/")[2] for source in found.example] == ["train.jsonl:1", "eval.jsonl:2"]


def test_generated_splits_share_no_question():
    config = with_task(build({"task": {"max_length": 6}, "data": {"count": 60, "eval_count": 20}}, {}))
    assert overlap(survey(config, "train", TOKENIZER), survey(config, "eval", TOKENIZER)).items == 0


def test_an_empty_file_is_one_error(surveyed):
    with pytest.raises(DataError, match="holds no rows"):
        surveyed([""])
