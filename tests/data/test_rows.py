import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.data.corpus import Corpus
from dycktune.data.files import write_rows
from dycktune.data.rows import read_examples, row_of, task_name_for
from dycktune.errors import DataError
from dycktune.tasks.registry import make_task
from small_runs import dyck
from strategies import problems

USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": "FINAL ANSWER: 4"}


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@given(problem=problems(), style=st.sampled_from(["stack", "compact"]))
def test_a_generated_row_is_read_back_as_prompt_trace_and_problem(problem, style, tmp_path_factory):
    task = dyck(style=style)
    path = write_lines(tmp_path_factory.mktemp("rows") / "rows.jsonl", row_of(task, problem))
    (example,) = read_examples(path, task)
    assert (example.prompt, example.completion) == (task.messages(problem), task.solution(problem))
    assert (example.item, example.source) == (problem, f"{path}:1")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_corpus_is_read_from_either_format(ending, tmp_path):
    task = dyck(pairs=8)
    corpus, path = Corpus(task, count=30), tmp_path / f"rows.{ending}"
    write_rows(path, corpus.rows())
    read = list(read_examples(path, task))
    assert [example.item for example in read] == list(corpus)
    assert [example.completion for example in read] == [task.solution(problem) for problem in corpus]


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
        assert (example.reasoning, example.item) == (None, None)


@pytest.mark.parametrize("as_array", [True, False])
def test_reasoning_is_kept_apart_and_earlier_turns_are_the_prompt(as_array, tmp_path):
    system = {"role": "system", "content": "Be brief."}
    turns = [system, USER, ASSISTANT, USER, ASSISTANT | {"reasoning_content": "2, then 2 more"}]
    path = write_lines(tmp_path / "rows.jsonl", turns if as_array else {"messages": turns})
    (example,) = read_examples(path)
    assert example.prompt == [system, USER, ASSISTANT, USER]
    assert example.reasoning == "2, then 2 more"


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_is_read_from_each_key_that_data_sets_use(key, tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [USER, ASSISTANT | {key: "2, then 2 more"}])
    (example,) = read_examples(path)
    assert example.reasoning == "2, then 2 more"


def test_null_fields_count_as_absent(tmp_path):
    answer = ASSISTANT | {"reasoning_content": None, "tool_calls": None}
    row = {"messages": [USER | {"name": None}, answer], "prompt": None, "completion": None}
    (example,) = read_examples(write_lines(tmp_path / "rows.jsonl", row))
    assert (example.prompt, example.completion, example.reasoning) == ([USER], "FINAL ANSWER: 4", None)


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        ({"prefix": "([)"}, "problem.prefix: .* position 3"),
        ({"prefix": 4}, "problem.prefix: 4 is no string"),
        (None, "problem: task dyck needs an object with prefix here; .*marked_answer"),
        ("What is 2 + 2?", "problem: task dyck needs an object"),
    ],
)
def test_a_row_without_an_item_of_the_task_is_refused_with_file_line_and_field(problem, why, tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", {"messages": [USER, ASSISTANT], "problem": problem})
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{why}"):
        list(read_examples(path, make_task()))


def test_a_file_with_prefixes_is_of_task_dyck_and_any_other_of_marked_answer(tmp_path):
    brackets = write_lines(tmp_path / "a.jsonl", {"messages": [USER, ASSISTANT], "problem": {"prefix": "("}})
    others = write_lines(tmp_path / "b.jsonl", {"messages": [USER, ASSISTANT], "problem": "What?"})
    assert (task_name_for(brackets), task_name_for(others)) == ("dyck", "marked_answer")


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
        ({"messages": None}, "the row has no fields"),
        ([], "row: empty"),
        ({"messages": [USER]}, r"messages\[-1\].role: 'user'"),
        ({"messages": [ASSISTANT]}, "the assistant's message alone"),
        ({"messages": [USER, "4"]}, r"messages\[1\]: a string"),
        ({"messages": [{"role": "user"}, ASSISTANT]}, r"messages\[0\].content: missing"),
        ([{"role": 1, "content": ""}, ASSISTANT], r"row\[0\].role: a number"),
        ([USER, ASSISTANT | {"reasoning_content": 3}], r"row\[1\].reasoning_content"),
        ({"prompt": 3, "completion": "4"}, "prompt: a number"),
        ({"prompt": "2", "completion": [ASSISTANT, ASSISTANT]}, "completion: 2 messages"),
        (
            {"messages": [USER, ASSISTANT], "completion": "4"},
            "messages, completion: two conversations in one row",
        ),
        ({"messages": json.dumps([USER, ASSISTANT])}, "messages: a string that holds JSON"),
        ([USER, ASSISTANT | {"content": " "}], r"row\[-1\].content: empty"),
        ([USER, ASSISTANT | {"tool_calls": [{"id": "c1"}]}], r"row\[1\].tool_calls: a tool call"),
        ([USER, ASSISTANT | {"content": [{"type": "text", "text": "4"}]}], r"row\[1\].content: an array"),
        (
            [USER, ASSISTANT | {"reasoning_content": "2 + 2", "thinking": "3 + 1"}],
            r"row\[1\]: reasoning_content and thinking: the reasoning twice",
        ),
    ],
)
def test_a_row_of_unknown_shape_is_refused_with_file_line_and_field(row, why, tmp_path):
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
