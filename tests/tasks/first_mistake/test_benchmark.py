import json
from pathlib import Path

import pytest

from dycktune.errors import DataError
from dycktune.tasks.first_mistake.benchmark import read_benchmark
from dycktune.tasks.registry import make_task

BBEH = Path(__file__).parents[4] / "shared" / "benchmarks" / "bbeh_dyck_languages.json"
TASK = make_task("first_mistake")
LOST = """\
You are an expert in a language called dyck where you must complete the language sequence of unclosed brackets of all \
types (e.g., [], {}, <>). You are given an initial initial dyck language sequence and the steps, provided as
thoughts, that were used to arrive at the closing bracket sequence in the dyck language. Your job is to identify the \
first step that was a mistake in reasoning about the closing bracket sequence in dyck language, if any.
This can be forgetting to close a bracket or closing with the wrong bracket or incorrectly copying the prior \
subsequence of closing brackets to the next step.
Task: Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: { < < > [
Thought 1: We should process each input one by one and keep track of the stack configuration.
Thought 2: stack: empty
Thought 3: { ; stack: {
Thought 4: < ; stack: { <
Thought 5: < ; stack: { < <
Thought 6: > ; stack: { <
Thought 7: [ ; stack: { [
Thought 8: Now, we have reached the end. The final stack is "{ [".
Thought 9: We will need to pop out "[", "{" one by one in that order.
Thought 10: So, we need "]", "}". So the answer is ] }
Q: Is there a mistake in this sequence? Write "No" if there are no mistakes, or the number N if there is a mistake in \
Thought N."""
RIGHT = (
    LOST.replace("[ ; stack: { [", "[ ; stack: { < [")
    .replace('is "{ [".', 'is "{ < [ ".')
    .replace('out "[", "{" one', 'out "[" and "<" and "{" one')
    .replace('need "]", "}". So the answer is ] }', 'need "]" and ">" and "}". So the answer is ] > }')
)
JOINED = RIGHT.replace("Thought 5: < ; stack: { < <", "Thought 5: < ; stack: { <<")
EMPTY = LOST.replace("Thought 6: > ; stack: { <", "Thought 6: ")


def write(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text(json.dumps({"canary": "x", "examples": [{"input": a, "target": b} for a, b in rows]}))
    return path


def test_every_target_is_the_first_mistake_by_the_dyck_verifier(tmp_path):
    rows = [(LOST, "7"), (RIGHT, "No"), (JOINED, "5"), (EMPTY, "6")]
    items = read_benchmark(write(tmp_path / "task.json", *rows))
    assert [(item.answer, item.kind) for item in items] == [
        ("7", "missing"),
        ("No", "none"),
        ("5", "spelling"),
        ("6", "other"),
    ]


def test_a_model_is_asked_in_the_published_words(tmp_path):
    for text, target in [(LOST, "7"), (RIGHT, "No"), (JOINED, "5"), (EMPTY, "6")]:
        [item] = TASK.read_benchmark(write(tmp_path / "task.json", (text, target)))
        [message] = TASK.messages(item)
        assert message["content"].startswith(f"{text}\nCheck one thought a line")


@pytest.mark.parametrize("target", ["8", "No", "no", ""])
def test_a_target_that_is_not_the_first_mistake_names_its_row(tmp_path, target):
    path = write(tmp_path / "task.json", (RIGHT, "No"), (LOST, target))
    with pytest.raises(DataError, match=rf"examples\[1\].target is '{target}', but the first mistake is '7'"):
        read_benchmark(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Is there a mistake?", "the text is no question"),
        (RIGHT.replace("Thought 5:", "Thought 55:"), "Thought 5 is missing: 'Thought 55: "),
        (RIGHT.replace("Input: {", "Input: }"), "closes nothing"),
        (RIGHT.replace("Thought 10:", "Thought 9:"), "Thought 10 is missing"),
    ],
)
def test_a_damaged_question_names_its_row(tmp_path, text, reason):
    with pytest.raises(DataError, match=r"examples\[0\].input: .*" + reason):
        read_benchmark(write(tmp_path / "task.json", (text, "No")))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"examples": [{"input": "x"}]}', '{"examples": [{"input": 1, "target": 2}]}']
)
def test_another_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "task.json"
    path.write_text(content)
    with pytest.raises(DataError, match="is not a BIG-Bench Extra Hard file"):
        read_benchmark(path)


@pytest.mark.skipif(not BBEH.exists(), reason="the published file is not here")
def test_the_published_file_is_read_whole():
    published = [row["input"] for row in json.loads(BBEH.read_text())["examples"]]
    items = TASK.read_benchmark(BBEH)
    assert len(items) == 200
    asked = [TASK.messages(item)[0]["content"] for item in items]
    assert all(question.startswith(text) for question, text in zip(asked, published, strict=True))
