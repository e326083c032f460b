from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.data.rows import Example
from dycktune.data.tokens import IGNORED, LossWeights, tokenize
from dycktune.errors import DataError, ModelError
from dycktune.models.chat import end_of_turn, prompt_ids
from dycktune.models.tiny.vocabulary import build_tokenizer
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.problem import Problem
from small_models import FAMILIES, make_tokenizer
from small_runs import dyck

tokenizer_of = cache(make_tokenizer)
WEIGHTS = LossWeights()

reasonings = st.lists(
    st.sampled_from(["# Thought 1: read ( ", "FINAL ANSWER: ", "so ", "((", "[", "\n", "é", "⟦", "５", " "]),
    max_size=12,
).map("".join)
answers = st.text(st.sampled_from("([{<>}]) "), min_size=1, max_size=12).filter(str.strip)


def example(completion: str, **changes: object) -> Example:
    prompt = [{"role": "user", "content": "Write FINAL ANSWER: and the sequence ( ["}]
    fields = {
        "prompt": prompt,
        "completion": completion,
        "reasoning": None,
        "item": None,
        "source": "d.jsonl:3",
    }
    return Example(**(fields | changes))


def tokenize_one(completion: str, family: str = "qwen2.5", weights: LossWeights = WEIGHTS, **changes: object):
    return tokenize([example(completion, **changes)], tokenizer_of(family), weights=weights)[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", ["stack", "compact"])
def test_the_ids_of_a_problem_are_prompt_then_trace_then_end_of_turn(family, style):
    tokenizer, problem, task = tokenizer_of(family), Problem("([{}<"), dyck(style=style)
    row = tokenize_one(task.solution(problem), family, prompt=task.messages(problem))
    end = end_of_turn(tokenizer)
    assert row.input_ids[: row.prompt_length].tolist() == prompt_ids(tokenizer, task.messages(problem))
    assert row.input_ids[-len(end) :].tolist() == end
    assert tokenizer.decode(row.input_ids[row.answer_start : -len(end)]).endswith(
        f"{ANSWER_MARKER}( [ {{ }} < > ] )"
    )


@settings(max_examples=60, deadline=None)
@given(reasoning=reasonings, answer=answers, family=st.sampled_from(["qwen2.5", "llama3", "merged"]))
def test_unmasked_labels_decode_to_the_assistant_s_text_and_end_of_turn(reasoning, answer, family):
    tokenizer, text = tokenizer_of(family), reasoning + ANSWER_MARKER + answer
    row = tokenize_one(text, family)
    supervised = row.labels[row.labels != IGNORED]
    assert tokenizer.decode(supervised) == text + tokenizer.decode(end_of_turn(tokenizer))


@settings(max_examples=60, deadline=None)
@given(reasoning=reasonings, answer=answers, family=st.sampled_from(["qwen2.5", "r1-distill", "merged"]))
def test_the_answer_weight_begins_exactly_at_the_last_marker(reasoning, answer, family):
    tokenizer = tokenizer_of(family)
    row = tokenize_one(reasoning + ANSWER_MARKER + answer, family)
    heavy = tokenizer.decode(row.input_ids[row.label_weights == WEIGHTS.answer][:-1])
    without_first = tokenizer.decode(row.input_ids[row.answer_start + 1 : -1])
    assert heavy.endswith(ANSWER_MARKER + answer)
    assert not without_first.endswith(ANSWER_MARKER + answer)


def test_weights_are_zero_on_the_prompt_one_on_reasoning_five_from_marker_through_end_of_turn():
    row = tokenize_one("# Thought 1\nFINAL ANSWER: ( )")
    assert set(row.label_weights[: row.prompt_length]) == {0.0}
    assert set(row.label_weights[row.prompt_length : row.answer_start]) == {1.0}
    assert set(row.label_weights[row.answer_start :]) == {5.0}
    assert (row.labels[: row.prompt_length] == IGNORED).all()
    assert row.prompt_length + row.reasoning_length + row.answer_length == len(row)


@pytest.mark.parametrize("family", FAMILIES)
def test_unsupervised_text_carries_no_loss_and_all_other_text_does(family):
    text = "# Thought 7: ( needs\n# Step 7: add ')'\n# Step 8: add ')'\nFINAL ANSWER: ( )"
    row, whole = (
        tokenize_one(text, family, unsupervised=("(?<=# Step )7", r"<\|7\|>")),
        tokenize_one(text, family),
    )
    dropped = (row.label_weights == 0) & (whole.label_weights > 0)
    assert np.array_equal(dropped, (row.labels == IGNORED) & (whole.labels != IGNORED))
    assert tokenizer_of(family).decode(row.input_ids[dropped]).strip() == "7"
    assert np.array_equal(row.label_weights[~dropped], whole.label_weights[~dropped])
    assert np.array_equal(row.input_ids, whole.input_ids)


def test_position_tokens_of_unpredictable_numbers_carry_no_loss():
    tokenizer = build_tokenizer()
    text = "# Thought 7: ( needs 7) over 0\n# Step 7: add ')'\nFINAL ANSWER: ( )"
    (row,) = tokenize([example(text, unsupervised=("(?<=# Step )7",))], tokenizer, weights=WEIGHTS)
    supervised = tokenizer.decode(row.input_ids[row.label_weights > 0])
    assert (
        supervised
        == "# Thought 7: ( needs 7) over 0\n<|8|># Step: add '<|8|>)'\n<|9|>FINAL ANSWER: (<|8|> )<|9|><|im_end|>"
    )


def test_a_token_that_straddles_the_marker_belongs_to_the_answer():
    """`((` is one token of this tokenizer; the answer begins inside it."""
    row = tokenize_one("x((yz", "merged", LossWeights(marker="(y"))
    tokens = tokenizer_of("merged").convert_ids_to_tokens(row.input_ids)
    assert tokens[row.answer_start] == "(("


def test_weights_do_not_change_the_ids_because_the_text_is_tokenized_whole():
    tokenizer, text = tokenizer_of("merged"), "so FINAL ANSWER: (( [["
    row = tokenize_one(text, "merged")
    assert row.input_ids[row.prompt_length : -1].tolist() == tokenizer(text)["input_ids"]


def test_the_end_of_turn_is_supervised_even_if_it_is_also_the_pad_token():
    tokenizer = tokenizer_of("r1-distill")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    row = tokenize_one("a\nFINAL ANSWER: ( )", "r1-distill")
    assert row.labels[-1] == tokenizer.eos_token_id
    assert row.label_weights[-1] == WEIGHTS.answer


def test_where_the_prompt_opens_a_think_block_the_reasoning_closes_it_before_the_answer():
    row = tokenize_one("# Thought 1\nFINAL ANSWER: ( )", "r1-distill")
    tokenizer = tokenizer_of("r1-distill")
    text = tokenizer.decode(row.input_ids)
    assert text.endswith("<think>\n# Thought 1\n</think>\n\nFINAL ANSWER: ( )<｜end▁of▁sentence｜>")
    close = tokenizer.convert_tokens_to_ids("</think>")
    assert close in row.input_ids[row.prompt_length : row.answer_start]


def test_a_completion_without_the_marker_is_refused_with_its_line_number():
    with pytest.raises(
        DataError, match=r"d\.jsonl:3: the completion holds no answer marker 'FINAL ANSWER: '"
    ):
        tokenize_one("( )")


@pytest.mark.parametrize("tail", ["FINAL ANSWER: ", "FINAL ANSWER:", "FINAL ANSWER: \n"])
def test_a_marker_with_nothing_after_it_is_refused(tail):
    with pytest.raises(DataError, match=r"d\.jsonl:3: nothing follows the answer marker"):
        tokenize_one("# Thought 1\n" + tail)


def test_a_no_break_space_after_the_marker_is_named():
    with pytest.raises(DataError, match=r"followed by '\\xa0', which is not the marker's own white space"):
        tokenize_one("FINAL ANSWER:\xa084")


def test_the_answer_weight_follows_another_marker():
    row = tokenize_one("17 + 25 = 42\n#### 42", weights=LossWeights(marker="#### "))
    heavy = row.input_ids[row.label_weights == 5.0][:-1]
    assert tokenizer_of("qwen2.5").decode(heavy) == "#### 42"


def test_examples_over_the_limit_are_one_error_with_their_number_and_length():
    rows = [example("a FINAL ANSWER: " + "( " * n, source=f"d.jsonl:{n}") for n in (1, 40, 60)]
    tokenizer = tokenizer_of("qwen2.5")
    lengths = [len(row) for row in tokenize(rows, tokenizer, weights=WEIGHTS)]
    with pytest.raises(DataError, match=rf"2 of 3 examples .* d\.jsonl:60, has {lengths[2]}; raise"):
        tokenize(rows, tokenizer, weights=WEIGHTS, max_tokens=lengths[0])


def test_an_example_of_exactly_the_limit_is_kept_whole():
    row = tokenize_one("a FINAL ANSWER: ( )")
    kept = tokenize(
        [example("a FINAL ANSWER: ( )")], tokenizer_of("qwen2.5"), weights=WEIGHTS, max_tokens=len(row)
    )
    assert np.array_equal(kept[0].input_ids, row.input_ids)


def test_characters_that_the_tokenizer_does_not_know_are_refused():
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"unk_token": "<unk>"})
    with pytest.raises(DataError, match="cannot write part of the completion"):
        tokenize([example("a <unk> FINAL ANSWER: x")], tokenizer, weights=WEIGHTS)


def test_a_tokenizer_without_character_offsets_is_refused():
    class Slow:
        is_fast = False
        name_or_path = "slow"

    with pytest.raises(ModelError, match="no character offsets"):
        tokenize([example("a FINAL ANSWER: x")], Slow(), weights=WEIGHTS)
