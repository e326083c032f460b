import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.inference.completion import PromptBuilder
from dycktune.inference.drafts import KnownText, PromptLookup, TokenDraft, best_guess
from dycktune.models.chat import reply_text
from dycktune.models.loading import BUILTIN, LoadedModel, load_tokenizer
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import dyck
from strategies import problems


def builder(tokenizer) -> PromptBuilder:
    model = make_model(tokenizer)
    loaded = LoadedModel(model=model, tokenizer=tokenizer, card=None, reference="small")
    return PromptBuilder(loaded, dyck())


@pytest.fixture(scope="module")
def builders():
    tokenizers = [load_tokenizer(BUILTIN), make_tokenizer("qwen2.5"), make_tokenizer("r1-distill")]
    return [builder(tokenizer) for tokenizer in tokenizers]


def task_draft(build: PromptBuilder, problem: Problem) -> TokenDraft:
    (draft,) = build(problem).drafts
    return draft


@given(problems(max_length=12, pairs=4), st.data())
@settings(max_examples=30)
def test_at_any_place_of_a_correct_reply_the_draft_is_the_rest_of_it(builders, problem, data):
    (draft,) = data.draw(st.sampled_from(builders))(problem).drafts
    cut = data.draw(st.integers(0, len(draft.solution)))
    room = data.draw(st.integers(1, 400))
    assert draft(draft.solution[:cut], room) == (draft.solution[cut:][:room], math.inf)


def test_a_draft_continues_from_the_wrong_stack_in_the_reply(builders):
    """A model that reads `[` as `<` gets a draft that closes `<`, after the prefix of the real prompt."""
    tokenizer = load_tokenizer(BUILTIN)
    draft, wrong = (task_draft(builders[0], Problem(prefix)) for prefix in ("([", "(<"))
    written = wrong.solution[: len(wrong.solution) // 2]
    drafted = reply_text(tokenizer, draft(written, 10**4).ids)
    expected = reply_text(tokenizer, wrong.solution[len(written) :])
    assert drafted == expected.replace("( < > )", "( [ > )")
    assert "add '>'" in drafted


@given(problems(max_length=6, pairs=4), st.data())
@settings(max_examples=30)
def test_a_draft_resumed_from_any_wrong_reply_equals_a_new_one(builders, problem, data):
    """Drafted and wrong tokens alternate, like the reply of a model that accepts drafts and errs."""
    build = data.draw(st.sampled_from(builders))
    draft, written = task_draft(build, problem), []
    for kept, wrong in data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), max_size=6)):
        drafted = draft(written, 80).ids
        assert drafted == task_draft(build, problem)(written, 80).ids
        written += [*drafted[:kept], draft.solution[wrong % len(draft.solution)]]


def test_a_draft_restarts_with_a_new_reply(builders):
    draft = task_draft(builders[0], Problem("(["))
    wrong = task_draft(builders[0], Problem("(<")).solution[:20]
    assert draft(wrong, 10).ids != draft.solution[20:30]
    assert draft([], 500).ids == draft.solution


def test_a_reply_that_is_no_trace_has_no_draft(builders):
    prompt = builders[0](Problem("(["))
    assert not prompt.drafts[0](prompt.ids, 100).ids


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=30), st.data())
def test_prompt_lookup_repeats_the_tokens_after_the_last_earlier_place_of_the_last_three_tokens(
    prompt, reply, data
):
    lookup, room = PromptLookup(prompt), data.draw(st.integers(1, 8))
    written = 0
    while True:
        text = prompt + reply[:written]
        places = [end for end in range(3, len(text)) if text[end - 3 : end] == text[-3:]]
        expected = (text[places[-1] :] * room)[:room] if places else []
        found = lookup(reply[:written], room)
        assert list(found.ids) == expected
        agreed = places and range(3, places[-1] + 1)
        assert found.support == max(
            (n for n in agreed if text[places[-1] - n : places[-1]] == text[-n:]), default=0
        )
        if written == len(reply):
            return
        written = data.draw(st.integers(written + 1, len(reply)))


def edit_distance(first: list[int], second: list[int]) -> int:
    """By its recursive definition."""
    if not first or not second:
        return len(first) + len(second)
    if first[-1] == second[-1]:
        return edit_distance(first[:-1], second[:-1])
    shorter = [(first[:-1], second), (first, second[:-1]), (first[:-1], second[:-1])]
    return 1 + min(edit_distance(*pair) for pair in shorter)


few = st.lists(st.integers(0, 2), max_size=5)


@given(few, few, st.data())
def test_a_known_text_continues_behind_the_part_that_is_most_like_the_reply(text, reply, data):
    draft, written = KnownText(text), 0
    while written < len(reply):
        written = data.draw(st.integers(written + 1, len(reply)))
        ids, support = draft(reply[:written], 9)
        distances = [edit_distance(text[:j], reply[:written]) for j in range(len(text) + 1)]
        place = max(j for j, distance in enumerate(distances) if distance == min(distances))
        assert list(ids) == text[place:]
        assert support <= place or text[:written] == reply[:written]


TEXT = [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ([], TEXT),
        ([1, 2], [3, 4, 5, 6, 7, 8]),
        ([1, 2, 9], [4, 5, 6, 7, 8]),
        ([1, 2, 4], [5, 6, 7, 8]),
        ([1, 2, 9, 3, 4], [5, 6, 7, 8]),
        ([1, 2, 9, 10, 5], [6, 7, 8]),
        ([*TEXT, 9], []),
    ],
    ids=["begin", "prefix", "replaced", "deleted", "inserted", "two replaced", "longer"],
)
def test_a_known_text_is_realigned_after_a_difference(written, rest):
    assert list(KnownText(TEXT)(written, 9).ids) == rest


def test_a_known_text_restarts_with_a_new_reply():
    draft = KnownText(TEXT)
    draft([1, 9, 9, 9], 9)
    assert draft([], 9) == (TEXT, math.inf)


def test_the_source_that_agrees_with_most_of_the_reply_is_used_and_the_first_of_equal_ones():
    same, changed, lookup = KnownText([1, 2, 3, 4]), KnownText([9, 2, 3, 5]), PromptLookup([1, 2, 3, 6])
    assert best_guess([changed, lookup, same], [1, 2, 3], 1).ids == [4]
    assert best_guess([changed, lookup], [1, 2, 3], 1).ids == [6]
    assert best_guess([KnownText([1, 2, 3, 7]), same], [1, 2, 3], 1).ids == [7]
    assert best_guess([KnownText([]), PromptLookup([1])], [], 1).ids == ()
