import json
from itertools import islice
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.data.corpus import Corpus
from dycktune.data.files import write_rows
from dycktune.data.rows import Example, examples_and_faults, read_examples, row_of, task_name_for
from dycktune.errors import DataError
from dycktune.tasks.marked_answer import Question
from dycktune.tasks.registry import make_task
from small_runs import dyck
from strategies import problems

USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": "FINAL ANSWER: 4"}

NAMES = st.sampled_from(
    [
        "messages",
        "conversations",
        "role",
        "from",
        "content",
        "value",
        "prompt",
        "completion",
        "instruction",
        "input",
        "output",
        "history",
        "system",
        "tools",
        "question",
        "answer",
        "user",
        "assistant",
        "human",
        "gpt",
        "tool",
        "type",
        "text",
        "thinking",
        "reasoning_content",
    ]
)
"""The names that shapes know, so that arbitrary values come close to rows."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


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


def test_a_row_of_unknown_shape_is_refused_with_file_line_and_field(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [USER, ASSISTANT], {"messages": [USER, {"role": "bot"}]})
    with pytest.raises(DataError, match=r"rows\.jsonl:2: messages\[1\].content: missing or null") as caught:
        list(read_examples(path))
    assert "\n" not in str(caught.value)


def test_each_row_is_judged_by_itself(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", {"prompt": "2?"}, [USER, ASSISTANT], "4", [USER])
    judged = list(examples_and_faults(path))
    assert [type(row) for row in judged] == [DataError, Example, DataError, DataError]
    assert [":1: " in str(judged[0]), ":3: " in str(judged[2]), ":4: " in str(judged[3])] == [True] * 3


def test_each_reply_of_a_conversation_is_learned_on_request_without_the_reasoning_of_earlier_ones(tmp_path):
    first, second = ({"role": "user", "content": text} for text in ("2 + 2?", "3 + 3?"))
    replies = [ASSISTANT | {"thinking": "two twice"}, {"role": "assistant", "content": "FINAL ANSWER: 6"}]
    path = write_lines(tmp_path / "rows.jsonl", [first, replies[0], second, replies[1]])
    one, two = read_examples(path, make_task("marked_answer"), turns="each")
    assert (one.prompt, one.completion, one.reasoning) == ([first], "FINAL ANSWER: 4", "two twice")
    assert (two.prompt, two.completion) == ([first, ASSISTANT, second], "FINAL ANSWER: 6")
    assert [cast("Question", example.item).answer for example in (one, two)] == ["4", "6"]
    (last,) = read_examples(path)
    assert (last.prompt, last.completion) == (two.prompt, two.completion)


@given(values=st.lists(JSON, min_size=1, max_size=3))
def test_any_json_value_is_an_example_or_an_error_of_one_line(values, tmp_path_factory):
    path = write_lines(tmp_path_factory.mktemp("rows") / "rows.jsonl", *values)
    try:
        judged = list(examples_and_faults(path))
    except DataError as error:
        judged = [error]
    for row in judged:
        assert isinstance(row, Example) or ("\n" not in str(row) and str(path) in str(row))


def test_examples_are_read_one_at_a_time(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [USER, ASSISTANT], [USER, ASSISTANT], {})
    assert len(list(islice(read_examples(path), 2))) == 2


def test_a_file_without_rows_is_refused(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="holds no rows"):
        list(read_examples(path))
