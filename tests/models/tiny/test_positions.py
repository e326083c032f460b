import re

from hypothesis import example, given
from hypothesis import strategies as st

from dycktune.data.rows import example_of
from dycktune.data.tokens import LossWeights, tokenize
from dycktune.models.tiny.positions import PositionCodec
from dycktune.models.tiny.vocabulary import build_tokenizer
from dycktune.tasks.dyck.brackets import PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER_MARKER, STYLES, render
from small_runs import dyck

TOKENIZER, CODEC = build_tokenizer(), PositionCodec()
PROBLEMS = st.text("".join(pair[0] for pair in PAIRS), min_size=1, max_size=30).map(Problem)


@given(PROBLEMS, st.sampled_from(list(STYLES.values())))
def test_decoding_without_special_tokens_drops_the_position_tokens(problem, style):
    text = render(problem, style)
    written = CODEC.encode(text, marker=ANSWER_MARKER)
    ids = TOKENIZER(written, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == text
    assert written.count("<|") == len(problem.full) + 2 * len(problem.closing) + 2
    answer = re.findall(r"<\|(\d+)\|> ?(.)", written.partition(ANSWER_MARKER)[2])
    assert answer == [(str(i), symbol) for i, symbol in enumerate(problem.full, start=1)]
    steps = re.findall(r"^<\|(\d+)\|># Step \d+: add '<\|(\d+)\|>(.)'$", written, re.MULTILINE)
    assert [(place, symbol) for place, _, symbol in steps] == answer[-len(problem.closing) :]
    assert all(of_line == of_bracket for of_line, of_bracket, _ in steps)
    assert f"\n<|{len(problem.full) + 1}|>{ANSWER_MARKER}" in written
    assert written.endswith(f"{problem.full[-1]}<|{len(problem.full) + 1}|>")


@given(PROBLEMS)
def test_the_answer_weight_begins_at_the_marker_despite_position_tokens(problem):
    example = example_of(dyck(), problem, source="test:1")
    (row,) = tokenize([example], TOKENIZER, weights=LossWeights())
    answer = TOKENIZER.decode(row.input_ids[row.answer_start :], skip_special_tokens=True)
    assert answer == ANSWER_MARKER + " ".join(problem.full)


LINES = st.sampled_from(
    [
        "# Thought 1: ( needs 2) over 0",
        "# Thought 7",
        "# Step 1: add ')'",
        "# Step 9: add '",
        "Closing brackets",
        "",
    ]
)


@given(st.lists(LINES, max_size=12), st.text("() ", max_size=12))
@example(["# Step 1: add ')'", "# Step 2: add ')'", "# Step 3: add ')'"], "( )")
def test_a_wrong_trace_with_any_number_of_steps_gets_position_tokens(lines, answer):
    text = "\n".join([*lines, ANSWER_MARKER + answer])
    written = CODEC.encode(text, marker=ANSWER_MARKER)
    ids = TOKENIZER(written, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == text
    steps = [line for line in lines if line.startswith("# Step") and ": add '" in line]
    assert written.count("<|") == len(answer.split(" ")) + 2 * len(steps) + 2


@given(PROBLEMS)
def test_the_fixed_phrases_of_a_trace_are_one_token_each(problem):
    ids = TOKENIZER(render(problem, STYLES["compact"]), add_special_tokens=False)["input_ids"]
    tokens = [TOKENIZER.decode([i]) for i in ids]
    assert tokens.count("Closing brackets in reverse stack order") == 1
    assert tokens.count(ANSWER_MARKER) == 1
    assert tokens.count(" add '") == tokens.count("# Step") == len(problem.closing)


@given(st.text(max_size=200))
def test_any_text_is_encoded_and_decoded_exactly(text):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_a_bracket_is_the_same_token_in_every_context():
    for bracket in "".join(PAIRS):
        (alone,) = TOKENIZER(bracket, add_special_tokens=False)["input_ids"]
        for text in (
            f" {bracket}",
            f"1{bracket} ",
            f" 4{bracket};",
            f"'{bracket}'",
            f": {bracket} ",
            f"<|7|>{bracket}",
        ):
            assert TOKENIZER(text, add_special_tokens=False)["input_ids"].count(alone) == 1
        assert TOKENIZER(bracket * 3, add_special_tokens=False)["input_ids"] == [alone] * 3


@given(PROBLEMS, st.lists(st.integers(0, 700), min_size=31, max_size=31).map(sorted))
def test_the_positions_of_the_answer_are_the_numbers_of_the_thoughts_and_continue_after_them(problem, ahead):
    def shifted(place: str) -> int:
        return int(place) + (ahead[min(int(place) - 1, problem.length)] if int(place) else 0)

    text = render(problem, STYLES["compact"])
    jumping = re.sub(r"(?<!# Step )\b\d+", lambda place: str(shifted(place[0])), text)
    written, expected = (CODEC.encode(t, marker=ANSWER_MARKER) for t in (jumping, text))
    found = [int(place) for place in re.findall(r"<\|(\d+)\|>", written)]
    assert found == [shifted(place) for place in re.findall(r"<\|(\d+)\|>", expected)]


@given(PROBLEMS, st.integers(0, 300))
def test_if_a_count_does_not_start_at_1_only_its_first_position_is_unsupervised(problem, shift):
    text = re.sub(
        r"(?<!# Step )\b[1-9]\d*", lambda n: str(int(n[0]) + shift), render(problem, STYLES["compact"])
    )
    written = CODEC.encode(text, marker=ANSWER_MARKER)
    expected = [re.escape(f"<|{1 + shift}|>")] if shift else []
    assert CODEC.unsupervised(written) == expected


def test_the_position_after_a_jump_is_unsupervised():
    lines = ["# Thought 1: a", "# Thought 2: b", "# Thought 40: c", "# Thought 41: d"]
    assert CODEC.unsupervised("\n".join(lines)) == [re.escape("<|40|>")]


def test_a_text_without_thoughts_has_no_unsupervised_positions():
    assert CODEC.unsupervised("17 + 25\nFINAL ANSWER: 42") == []
