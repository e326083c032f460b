import pytest

from dycktune.errors import ItemError
from dycktune.inference.completion import UNKNOWN_LENGTH, PromptBuilder, complete
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.registry import make_task
from small_models import make_model, make_tokenizer
from small_runs import STACK


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


def test_typed_questions_and_items_are_completed_alike(loaded):
    typed, item = complete(loaded, ["( [", Problem("([")], task=STACK)
    assert (typed.item, typed.text) == (item.item, item.text)


def test_a_reply_may_have_a_quarter_more_than_the_solution(loaded):
    prompt = PromptBuilder(loaded, STACK)(Problem("(["))
    length = len(prompt.drafts[0].solution)
    assert prompt.limit == length + length // 4 + 32


def test_a_task_can_ask_for_more_room(loaded):
    task = make_task("dyck", {"style": "stack"})
    task.min_reply_tokens = 900
    assert PromptBuilder(loaded, task)(Problem("([")).limit == 900


def test_a_question_without_a_known_answer_has_room_and_no_drafts(loaded):
    task = make_task("marked_answer")
    prompt = PromptBuilder(loaded, task)(task.from_text("What is 2 + 2?"))
    assert (prompt.limit, prompt.drafts) == (UNKNOWN_LENGTH, ())


def test_an_item_that_does_not_fit_the_context_is_refused(loaded):
    with pytest.raises(ItemError, match="is too long for random"):
        complete(loaded, ["(" * 400], task=STACK)
