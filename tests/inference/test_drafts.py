import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.inference.completion import Asker
from dycktune.inference.drafts import LookUp
from dycktune.models.chat import reply_text
from dycktune.models.loading import BUILTIN, LoadedModel, load_tokenizer
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from strategies import problems


def asker(tokenizer) -> Asker:
    return Asker(LoadedModel(model=make_model(tokenizer), tokenizer=tokenizer, card=None, reference="small"))


@pytest.fixture(scope="module")
def askers():
    tokenizers = [load_tokenizer(BUILTIN), make_tokenizer("qwen2.5"), make_tokenizer("r1-distill")]
    return [asker(tokenizer) for tokenizer in tokenizers]


@given(problems(max_length=12, pairs=4), st.data())
@settings(max_examples=30)
def test_from_any_line_of_a_correct_reply_the_draft_is_its_rest(askers, problem, data):
    draft = data.draw(st.sampled_from(askers))(problem).draft
    cut = data.draw(st.integers(0, len(draft.correct)))
    room = data.draw(st.integers(1, 400))
    assert draft(draft.correct[:cut], room) == draft.correct[cut:][:room]


def test_a_draft_goes_on_from_the_wrong_stack_that_was_written(askers):
    """A model that reads `[` as `<` is drafted to close `<`, behind the prefix it was really asked."""
    tokenizer = load_tokenizer(BUILTIN)
    prompt, wrong = askers[0](Problem("([")), askers[0](Problem("(<"))
    written = wrong.draft.correct[: len(wrong.draft.correct) // 2]
    drafted = reply_text(tokenizer, prompt.draft(written, 10**4))
    expected = reply_text(tokenizer, wrong.draft.correct[len(written) :])
    assert drafted == expected.replace("( < > )", "( [ > )")
    assert "add '>'" in drafted


@given(problems(max_length=6, pairs=4), st.data())
@settings(max_examples=30)
def test_a_draft_resumed_from_any_wrong_reply_is_one_begun_there(askers, problem, data):
    """Told and right stretches by turns, as a model that follows the draft and errs writes them."""
    ask = data.draw(st.sampled_from(askers))
    draft, written = ask(problem).draft, []
    for kept, wrong in data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), max_size=6)):
        drafted = draft(written, 80)
        assert list(drafted) == list(ask(problem).draft(written, 80))
        written += [*drafted[:kept], draft.correct[wrong % len(draft.correct)]]


def test_a_draft_used_before_begins_anew(askers):
    draft = askers[0](Problem("([")).draft
    wrong = askers[0](Problem("(<")).draft.correct[:20]
    assert draft(wrong, 10) != draft.correct[20:30]
    assert draft([], 500) == draft.correct


def test_no_draft_goes_on_from_what_is_no_trace(askers):
    prompt = askers[0](Problem("(["))
    assert not prompt.draft(prompt.ids, 100)


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=30), st.data())
def test_a_look_up_is_what_followed_the_last_three_tokens_at_the_last_place_before_over_and_over(
    prompt, reply, data
):
    look_up, room = LookUp(prompt), data.draw(st.integers(1, 8))
    written = 0
    while True:
        text = prompt + reply[:written]
        places = [end for end in range(3, len(text)) if text[end - 3 : end] == text[-3:]]
        expected = (text[places[-1] :] * room)[:room] if places else []
        assert list(look_up(reply[:written], room)) == expected
        if written == len(reply):
            return
        written = data.draw(st.integers(written + 1, len(reply)))
