import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.data.shapes import is_row, read_conversation
from dycktune.errors import DataError

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": "FINAL ANSWER: 4"}


def turns(row: object) -> list[tuple[str, str, str | None]]:
    return [message[:3] for message in read_conversation(row).messages]


def in_every_shape(question: str, reply: str, thought: str, system: str) -> list[object]:
    """The same conversation in each shape that holds a system message and reasoning."""
    role = [
        {"role": "developer", "content": system},
        {"role": "user", "content": question},
        {"role": "assistant", "content": reply, "reasoning_content": thought},
    ]
    share_gpt = [
        {"from": "system", "value": system},
        {"from": "human", "value": question},
        {"from": "gpt", "value": reply, "thinking": thought},
    ]
    thinking = {"type": "thinking", "thinking": thought}
    in_parts = [{"role": "user", "content": [{"type": "text", "text": question[:1]}, {"text": question[1:]}]}]
    in_parts.append({"role": "assistant", "content": [thinking, {"type": "text", "text": reply}]})
    apart = {"system": system, "reasoning": thought}
    return [
        role,
        {"messages": role},
        {"messages": json.dumps(role)},
        {"conversations": role, "id": 1},
        {"conversations": share_gpt},
        {"conversations": share_gpt[1:], "system": system, "tools": "[]"},
        {"system": system, "messages": in_parts},
        {"prompt": role[:2], "completion": [role[2]]},
        {"prompt": question, "completion": reply, **apart},
        {"prompt": question, "response": reply, **apart},
        {"instruction": question, "input": "", "output": reply, "history": [], **apart},
        {"instruction": question, "output": reply, "text": "all of it", **apart},
        {"system_prompt": system, "question": question, "response": reply, "thinking": thought},
        {"question": question, "answer": reply, **apart, "input": None},
        {"input": question, "output": reply, **apart, "context": float("nan")},
    ]


@given(question=words, reply=words, thought=words, system=words)
def test_the_same_row_in_each_shape_is_the_same_conversation(question, reply, thought, system):
    for row in in_every_shape(question, reply, thought, system):
        assert is_row(row)
        assert turns(row) == [
            ("system", system, None),
            ("user", question, None),
            ("assistant", reply, thought),
        ], row


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ([USER, ASSISTANT], "message arrays"),
        ({"messages": [USER, ASSISTANT]}, "messages"),
        ({"conversations": [USER, ASSISTANT]}, "conversations"),
        ({"conversations": [{"from": "human", "value": "2?"}, {"from": "gpt", "value": "2"}]}, "ShareGPT"),
        ({"instruction": "2?", "output": "2"}, "Alpaca"),
        ({"question": "2?", "answer": "2"}, "question and answer"),
    ],
)
def test_a_shape_has_the_name_that_people_use(row, shape):
    assert read_conversation(row).shape == shape


def test_the_input_and_the_history_of_alpaca_belong_to_the_question():
    row = {"instruction": "Add.", "input": "2 and 2", "output": "4", "history": [["Hello", "Hi"]]}
    assert turns(row) == [
        ("user", "Hello", None),
        ("assistant", "Hi", None),
        ("user", "Add.\n2 and 2", None),
        ("assistant", "4", None),
    ]


def test_other_fields_of_a_trainers_own_format_are_remarks():
    row = {"prompt": "2?", "completion": "2", "input": "remark", "answer": "2", "question": "remark"}
    assert turns(row) == [("user", "2?", None), ("assistant", "2", None)]


def asked(**answer: object) -> list[object]:
    return [USER, ASSISTANT | answer]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        # no conversation
        ("(", 'row: a string ("("); a row is'),
        ({}, "the row has no fields; a row is"),
        ({"a": 1}, 'the row has "a"; a row is'),
        ({"messages": None}, "the row has no fields"),
        ({"text": "( ["}, "text: text without turns; split it into prompt and completion"),
        ({"prompt": "2?", "chosen": "2", "rejected": "3"}, "chosen, rejected: a preference pair; keep"),
        ({"mesages": [USER, ASSISTANT]}, "shape is {\"messages\": ...}: rename 'mesages' to 'messages'"),
        (
            {"instruction": "2?", "ouput": "2"},
            'the row has "instruction", "ouput"; the nearest shape is {"instruction": ..., "output": ...}: '
            "rename 'ouput' to 'output'",
        ),
        (
            {"Question": "2?", "Answer": "2"},
            "rename 'Question' to 'question', rename 'Answer' to 'answer'",
        ),
        ({"prompt": "2?", "completion": None}, "'completion' is missing or null"),
        # two of one thing
        ({"messages": [USER, ASSISTANT], "completion": "4"}, "messages, completion: two conversations in one"),
        ({"messages": [USER], "conversations": []}, "messages, conversations: two conversations in one row"),
        ({"messages": [USER, ASSISTANT], "thinking": "2"}, "thinking: stands beside messages; put it into"),
        ({"question": "2?", "query": "3?", "answer": "2"}, "question, query: two questions in one row"),
        ({"question": "2?", "answer": "2", "response": "3"}, "response, answer: two replies in one row"),
        (asked(thinking="3", reasoning="2"), "row[1]: thinking and reasoning: the reasoning twice"),
        (asked(reasoning="3", content="<think>2</think>4"), "row[1]: reasoning both in a field and in a <think>"),
        (asked(value="5"), "row[1]: content and value: two texts in one message"),
        ({"system": "A", "messages": [{"role": "system", "content": "B"}, *asked()]}, "two system messages"),
        # messages
        ([], "row: empty; a row is"),
        ({"messages": []}, "messages: empty; give an array of messages"),
        ({"messages": "( ["}, 'messages: a string ("( [")'),
        ({"messages": "[{'role': 'user'}]"}, "messages: a Python list as text, not JSON"),
        ({"messages": [USER, "4"]}, 'messages[1]: a string ("4"); a message is {"role"'),
        ({"messages": [{"speaker": "A", "text": "2?"}]}, 'messages[0]: has "speaker", "text"; a message is'),
        ({"messages": [{"role": "user"}, ASSISTANT]}, "messages[0].content: missing or null; give a string"),
        ([{"role": 1, "content": ""}, ASSISTANT], "row[0].role: a number (1); give a string"),
        ([{"role": "narrator", "content": "2"}], 'row[0].role: "narrator" is unknown; use system, user or'),
        (asked(reasoning_content=3), "row[1].reasoning_content: a number (3); give a string"),
        (asked(content="\ud800"), "row[1].content: character 1 is \\ud800, half of a surrogate pair"),
        # tools and parts
        (asked(tool_calls=[{"id": "c1"}]), "row[1].tool_calls: a tool call, which is not trained"),
        ([USER, {"role": "tool", "content": "4"}], 'row[1].role: "tool"; tool calls and their results are not'),
        ({"messages": asked(), "tools": [{"type": "function"}]}, "tools: tools are not put into the prompt"),
        (asked(content=["4"]), 'row[1].content[0]: a string ("4"); a part is {"type": "text"'),
        (asked(content=[{"type": "image_url"}]), 'row[1].content[0].type: "image_url"; only text is trained'),
        (asked(content=[{"type": ["text"]}]), "row[1].content[0].type: "),
        (asked(content=[{"type": "text", "text": 4}]), "row[1].content[0].text: a number (4)"),
        # order
        ([USER], "row[0]: the user speaks last; end with the assistant's reply"),
        ([ASSISTANT], "row[0]: the assistant's message alone; put the user's question before it"),
        ([ASSISTANT, *asked()], "row[0]: the assistant speaks first; put the user's question before it"),
        ([USER, *asked()], "row[1]: the user speaks twice in a row; join the two messages, or remove one"),
        ([USER, {"role": "system", "content": "A"}, ASSISTANT], "row[1]: a system message; only the first"),
        ([{"role": "system", "content": "A"}], "row[0]: the system speaks last"),
        (asked(content=" "), "row[1]: empty; a turn of the assistant needs text"),
        ([USER | {"content": ""}, ASSISTANT], "row[0]: empty; a turn of the user needs text"),
        # pairs
        ({"prompt": 3, "completion": "4"}, "prompt: a number (3); give a string or an array of messages"),
        ({"prompt": "2", "completion": [ASSISTANT, ASSISTANT]}, "completion: 2 messages; give one"),
        ({"prompt": "2?", "completion": ""}, "completion: empty; a turn of the assistant needs text"),
        ({"instruction": [USER], "input": "2", "output": "4"}, "input: instruction is an array of messages"),
        ({"instruction": "2?", "input": 2, "output": "4"}, "input: a number (2); give a string"),
        ({"instruction": "2?", "output": "4", "history": "none"}, 'history: a string ("none"); give an array'),
        ({"instruction": "2?", "output": "4", "history": [["a"]]}, "history[0]: an array; give [question, reply]"),
        ({"prompt": "2?", "completion": "4", "thinking": 3}, "thinking: a number (3); give a string"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_named_by_field_value_and_remedy(row, message):
    with pytest.raises(DataError) as caught:
        read_conversation(row)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
