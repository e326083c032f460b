"""Data files of any content: each row is an example or an error of one line that names its place."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import bounded, check_message, fuzzed, used_or_refused
from dycktune.data.rows import examples_and_faults, read_examples, task_name_for
from dycktune.errors import DataError
from dycktune.tasks.registry import make_task
from fuzz.mutation import damaged

FIELDS = [
    "messages", "conversations", "prompt", "completion", "instruction", "input", "output", "question", "answer",
    "history", "reasoning", "thinking", "reasoning_content", "role", "content", "from", "value", "text", "type",
    "problem", "prefix", "system", "chosen", "rejected", "tool_calls", "",
]  # fmt: skip
TEXTS = [
    "user",
    "assistant",
    "system",
    "tool",
    "FINAL ANSWER: 1",
    "([{",
    "[]",
    "[{",
    "\ud800",
    "\0",
    "<think>",
    " ",
]
texts = st.sampled_from(TEXTS) | st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | texts, inner, max_size=5)
    ),
    max_leaves=20,
)
turns = st.fixed_dictionaries({"role": texts, "content": texts | values}, optional={"thinking": values})
rows = values | st.fixed_dictionaries(
    {"messages": st.lists(turns | values, max_size=4)}, optional={"problem": values, "other": values}
)
TASKS = [
    None,
    make_task("dyck"),
    make_task("arithmetic"),
    make_task("marked_answer"),
    make_task("gym:chain_sum"),
]

SOUND = [
    {
        "messages": [
            {"role": "user", "content": "2 + 2?"},
            {"role": "assistant", "content": "FINAL ANSWER: 4"},
        ]
    },
    {"prompt": "2 + 2?", "completion": "FINAL ANSWER: 4"},
    {"conversations": [{"from": "human", "value": "2?"}, {"from": "gpt", "value": "FINAL ANSWER: 2"}]},
    {"instruction": "Add.", "input": "1 1", "output": "FINAL ANSWER: 2"},
]
FILES = {
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in SOUND).encode(),
    "rows.json": json.dumps(SOUND, indent=1).encode(),
    "rows.csv": b'question,answer\n"2, 2",FINAL ANSWER: 4\n1,FINAL ANSWER: 1\n',
    "rows.tsv": b"question\tanswer\n2\tFINAL ANSWER: 4\n",
    "rows.jsonl.gz": gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in SOUND), mtime=0),
}


def read(path, task=None, turns="last"):
    return used_or_refused(lambda: list(read_examples(path, task, turns=turns)), names=path)


@given(
    content=st.lists(rows, min_size=1, max_size=3),
    task=st.sampled_from(TASKS),
    turns=st.sampled_from(["last", "each"]),
)
@fuzzed
def test_any_json_row_is_an_example_of_its_task_or_refused_by_line(tmp_path, content, task, turns):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    read(path, task, turns)
    used_or_refused(lambda: task_name_for(path), names=path)


@given(content=rows)
@fuzzed
def test_any_json_document_is_read_or_refused(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    read(path)


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@fuzzed
def test_a_damaged_file_is_read_or_refused(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(FILES[name])))
    read(path, data.draw(st.sampled_from(TASKS)))


@pytest.mark.parametrize("name", [*FILES, "rows.parquet"])
@given(content=st.binary(max_size=300))
@fuzzed
def test_noise_is_read_or_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    read(path)


@given(content=st.lists(rows, min_size=2, max_size=4), task=st.sampled_from(TASKS))
@fuzzed
def test_faults_are_counted_and_the_rest_is_read(tmp_path, content, task):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    with bounded():
        found = list(examples_and_faults(path, task))
    assert len(found) == len(content)
    for line, one in enumerate(found, start=1):
        place = f"{path}:{line}"
        if isinstance(one, DataError):
            check_message(str(one), names=place)
        else:
            assert one.source == place
