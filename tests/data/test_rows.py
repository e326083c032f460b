import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given

from dycktune.data.corpus import Corpus, CorpusSpec, problem_row
from dycktune.data.files import write_rows
from dycktune.data.rows import Example, read_examples
from dycktune.errors import DataError
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.trace import STYLES, render
from strategies import problems, styles

USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": "FINAL ANSWER: 4"}


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@given(problem=problems(), style=styles)
def test_a_generated_row_is_read_as_prompt_trace_and_prefix(problem, style, tmp_path_factory):
    path = write_lines(tmp_path_factory.mktemp("rows") / "rows.jsonl", problem_row(problem, style))
    assert list(read_examples(path)) == [
        Example(
            prompt=messages(problem, style),
            completion=render(problem, style),
            reasoning=None,
            prefix=problem.prefix,
            source=f"{path}:1",
        )
    ]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_corpus_is_read_from_either_format(ending, tmp_path):
    corpus, path = Corpus(CorpusSpec(count=30, pairs=8)), tmp_path / f"rows.{ending}"
    write_rows(path, corpus.rows())
    read = list(read_examples(path))
    assert [example.prefix for example in read] == [problem.prefix for problem in corpus]
    assert [example.completion for example in read] == [render(p, STYLES["compact"]) for p in corpus]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ASSISTANT], "id": 7},
        [USER, ASSISTANT],
        {"prompt": USER["content"], "completion": ASSISTANT["content"]},
        {"prompt": [USER], "completion": [ASSISTANT]},
        {"prompt": [USER], "completion": ASSISTANT["content"], "problem": "What is 2 + 2?"},
    ],
    ids=["messages", "array", "strings", "message lists", "mixed"],
)
def test_every_shape_of_any_task_is_the_same_example(row, tmp_path):
    files = [write_lines(tmp_path / "rows.jsonl", row)]
    if isinstance(row, dict):
        files.append(tmp_path / "rows.parquet")
        write_rows(files[-1], [row])
    for file in files:
        (example,) = read_examples(file)
        assert example.prompt == [USER]
        assert example.completion == "FINAL ANSWER: 4"
        assert (example.reasoning, example.prefix) == (None, None)


@pytest.mark.parametrize("as_array", [True, False])
def test_reasoning_is_kept_apart_and_earlier_turns_are_the_prompt(as_array, tmp_path):
    system = {"role": "system", "content": "Be brief."}
    turns = [system, USER, ASSISTANT, USER, ASSISTANT | {"reasoning_content": "2, then 2 more"}]
    path = write_lines(tmp_path / "rows.jsonl", turns if as_array else {"messages": turns})
    (example,) = read_examples(path)
    assert example.prompt == [system, USER, ASSISTANT, USER]
    assert example.reasoning == "2, then 2 more"


def test_a_completion_without_an_answer_marker_is_an_example(tmp_path):
    (example,) = read_examples(
        write_lines(tmp_path / "rows.jsonl", [USER, {"role": "assistant", "content": "4"}])
    )
    assert example.completion == "4"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "( ["}, "the row has 'text'; a row is"),
        ({}, "no fields"),
        ("(", "a row is"),
        ({"messages": []}, "messages: empty"),
        ({"messages": "( ["}, "messages: a string"),
        ({"messages": None}, "messages: missing"),
        ([], "row: empty"),
        ({"messages": [USER]}, r"messages\[-1\].role: 'user'"),
        ({"messages": [ASSISTANT]}, "the assistant's message alone"),
        ({"messages": [USER, "4"]}, r"messages\[1\]: a string"),
        ({"messages": [{"role": "user"}, ASSISTANT]}, r"messages\[0\].content: missing"),
        ([{"role": 1, "content": ""}, ASSISTANT], r"row\[0\].role: a number"),
        ([USER, ASSISTANT | {"reasoning_content": 3}], r"row\[1\].reasoning_content"),
        ({"prompt": 3, "completion": "4"}, "prompt: a number"),
        ({"prompt": "2", "completion": [ASSISTANT, ASSISTANT]}, "completion: 2 messages"),
        ({"messages": [USER, ASSISTANT], "problem": {"prefix": "([)"}}, "problem.prefix: .* position 3"),
        ({"messages": [USER, ASSISTANT], "problem": {"prefix": 4}}, "problem.prefix: a number"),
    ],
)
def test_a_row_of_no_known_shape_is_refused_with_file_line_and_field(row, why, tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [USER, ASSISTANT], row)
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{why}") as caught:
        list(read_examples(path))
    assert "\n" not in str(caught.value)


def test_examples_are_read_one_at_a_time(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [USER, ASSISTANT], [USER, ASSISTANT], {})
    assert len(list(islice(read_examples(path), 2))) == 2


def test_a_file_without_rows_is_refused(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="holds no rows"):
        list(read_examples(path))
