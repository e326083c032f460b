import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.inference.completion import PromptBuilder
from dycktune.inference.drafts import PromptLookup
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


@given(problems(max_length=12, pairs=4), st.data())
@settings(max_examples=30)
def test_at_any_place_of_a_correct_reply_the_draft_is_the_rest_of_it(builders, problem, data):
    draft = data.draw(st.sampled_from(builders))(problem).draft
    cut = data.draw(st.integers(0, len(draft.solution)))
    room = data.draw(st.integers(1, 400))
    assert draft(draft.solution[:cut], room) == draft.solution[cut:][:room]


def test_a_draft_continues_from_the_wrong_stack_in_the_reply(builders):
    """A model that reads `[` as `<` gets a draft that closes `<`, after the prefix of the real prompt."""
    tokenizer = load_tokenizer(BUILTIN)
    prompt, wrong = builders[0](Problem("([")), builders[0](Problem("(<"))
    written = wrong.draft.solution[: len(wrong.draft.solution) // 2]
    drafted = reply_text(tokenizer, prompt.draft(written, 10**4))
    expected = reply_text(tokenizer, wrong.draft.solution[len(written) :])
    assert drafted == expected.replace("( < > )", "( [ > )")
    assert "add '>'" in drafted


@given(problems(max_length=6, pairs=4), st.data())
@settings(max_examples=30)
def test_a_draft_resumed_from_any_wrong_reply_equals_a_new_one(builders, problem, data):
    """Drafted and wrong tokens alternate, like the reply of a model that accepts drafts and errs."""
    build = data.draw(st.sampled_from(builders))
    draft, written = build(problem).draft, []
    for kept, wrong in data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), max_size=6)):
        drafted = draft(written, 80)
        assert list(drafted) == list(build(problem).draft(written, 80))
        written += [*drafted[:kept], draft.solution[wrong % len(draft.solution)]]


def test_a_draft_restarts_with_a_new_reply(builders):
    draft = builders[0](Problem("([")).draft
    wrong = builders[0](Problem("(<")).draft.solution[:20]
    assert draft(wrong, 10) != draft.solution[20:30]
    assert draft([], 500) == draft.solution


def test_a_reply_that_is_no_trace_has_no_draft(builders):
    prompt = builders[0](Problem("(["))
    assert not prompt.draft(prompt.ids, 100)


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
        assert list(lookup(reply[:written], room)) == expected
        if written == len(reply):
            return
        written = data.draw(st.integers(written + 1, len(reply)))
