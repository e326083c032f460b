from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.data.rows import Example
from dycktune.data.tokens import LossWeights, tokenize
from dycktune.models.tiny.vocabulary import build_tokenizer
from dycktune.preview.lines import parts
from dycktune.preview.pieces import ExampleView, view
from dycktune.tasks.dyck.problem import Problem
from small_models import FAMILIES, make_tokenizer
from small_runs import dyck

tokenizer_of = cache(make_tokenizer)

texts = st.lists(
    st.sampled_from(["What is ", "  ", "\n", "\t", "é", "🦊", "日本", "<b>", "\x1b[31m", "\u200b"]),
    max_size=10,
).map("".join)


def viewed(
    prompt: list[dict[str, str]], completion: str, *, family: str = "qwen2.5", **changes: object
) -> ExampleView:
    example = Example(prompt=prompt, completion=completion, item=None, source="d.jsonl:1", **changes)
    tokenizer = tokenizer_of(family)
    return view(example, tokenize([example], tokenizer, weights=LossWeights())[0], tokenizer)


def user(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


@settings(max_examples=60, deadline=None)
@given(prompt=texts.filter(str.strip), reasoning=texts, family=st.sampled_from(sorted(FAMILIES)))
def test_the_pieces_join_to_the_text_of_the_ids(prompt, reasoning, family):
    example = Example(
        prompt=user(prompt), completion=f"{reasoning}FINAL ANSWER: 4", item=None, source="d.jsonl:1"
    )
    tokenizer = tokenizer_of(family)
    tokenized = tokenize([example], tokenizer, weights=LossWeights())[0]
    shown = view(example, tokenized, tokenizer)
    assert [i for piece in shown.pieces for i in piece.ids] == tokenized.input_ids.tolist()
    assert "".join(p.text for p in shown.pieces) == tokenizer.decode(
        tokenized.input_ids.tolist(), clean_up_tokenization_spaces=False
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_kind_holds_its_own_text_and_weight(family):
    shown = viewed(user("How many?"), "two and two\nFINAL ANSWER: 4", family=family)
    text = {kind: "".join(p.text for p in shown.pieces if p.kind == kind) for kind in shown.tokens_by_kind}
    weights = {piece.kind: piece.weight for piece in shown.pieces}
    assert text["prompt"] == "How many?"
    assert text["answer"] == "FINAL ANSWER: 4"
    assert text["reasoning"].startswith("two and two\n")
    assert weights == {"template": 0, "prompt": 0, "reasoning": 1, "answer": 5, "end": 5}


def test_the_end_of_turn_is_of_its_own_kind():
    shown = viewed(user("How many?"), "FINAL ANSWER: 4")
    assert [p.text for p in shown.pieces if p.kind == "end"] == ["<|im_end|>"]
    assert "reasoning" not in shown.tokens_by_kind


def test_text_that_cannot_be_predicted_has_weight_0():
    shown = viewed(user("How many?"), "code 83\nFINAL ANSWER: 4", unsupervised=("83",))
    assert {(p.text, p.weight) for p in shown.pieces if p.kind == "unsupervised"} >= {("3", 0)}


def test_position_tokens_of_the_builtin_base_are_shown():
    tokenizer, task, problem = build_tokenizer(), dyck(), Problem("([")
    example = Example(
        prompt=task.messages(problem), completion=task.solution(problem), item=problem, source="1"
    )
    shown = view(example, tokenize([example], tokenizer, weights=LossWeights())[0], tokenizer)
    assert "<|1|>" in "".join(piece.text for piece in shown.pieces if piece.kind == "answer")


def test_a_message_that_the_template_drops_is_named():
    tokenizer = make_tokenizer("qwen2.5")
    tokenizer.chat_template = (
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    )
    prompt = [{"role": "system", "content": "Be brief."}, *user("How many?")]
    example = Example(prompt=prompt, completion="FINAL ANSWER: 4", item=None, source="d.jsonl:1")
    shown = view(example, tokenize([example], tokenizer, weights=LossWeights())[0], tokenizer)
    assert shown.hidden_messages == (0,)


@settings(max_examples=60, deadline=None)
@given(prompt=texts.filter(str.strip))
def test_no_control_character_of_the_data_reaches_the_lines(prompt):
    shown = viewed(user(prompt), "FINAL ANSWER: 4")
    text = "".join(span.text for part in parts(shown) for line in part for span in line.spans)
    assert text.isprintable()


def test_white_space_is_visible_and_a_line_break_ends_its_line():
    shown = viewed(user("a  b\n\tc"), "FINAL ANSWER: 4")
    (part,) = [part for part in parts(shown) if part[0].kind == "prompt"]
    assert ["".join(span.text for span in line.spans) for line in part] == ["a··b⏎", "→c"]
