import pytest

from dycktune.data.rows import Example
from dycktune.data.summary import summary


def example(shape: str, *roles: str) -> Example:
    prompt = [{"role": role, "content": "2?"} for role in roles]
    return Example(prompt=prompt, completion="2", item=None, source="rows.jsonl:1", shape=shape)


@pytest.mark.parametrize(
    ("examples", "line"),
    [
        ([example("ShareGPT", "user")], "read 1 example (ShareGPT)"),
        ([example("ShareGPT", "user")] * 3, "read 3 examples (ShareGPT)"),
        (
            [example("messages", "user"), *[example("Alpaca", "user")] * 2],
            "read 3 examples (2 Alpaca, 1 messages)",
        ),
    ],
)
def test_the_shapes_of_the_rows_are_counted(examples, line):
    assert summary(examples) == line


def test_replies_that_are_not_learned_are_counted():
    examples = [example("messages", "user"), example("messages", "user", "assistant", "user")]
    assert summary(examples).endswith(
        '; 1 hold several replies: only the last is learned (data.turns = "each" for all)'
    )
    assert summary(examples, turns="each") == "read 2 examples (messages)"
