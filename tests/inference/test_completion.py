import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.errors import ItemError
from dycktune.inference.completion import UNKNOWN_LENGTH, PromptBuilder, complete
from dycktune.inference.drafts import KnownText, TokenDraft
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.expressions import Expression
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


REPLIES = st.text("FINAL SWER:()[]{}<> #123\n", max_size=60)


@given(st.lists(REPLIES, min_size=3, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3), st.data())
@settings(max_examples=8)
def test_any_earlier_reply_leaves_every_reply_as_it_is(loaded, texts, known, data):
    """Earlier replies of any text: empty, the model's own, cut off, or that of another item."""
    items = [Expression(text) for text in ("2 + 3", "4 - 1 * 2", "7 + 7")]
    task = make_task("arithmetic")
    plain = complete(loaded, items, task=task)
    own = [completion.text for completion in plain]
    choices = [*own, *(text[: len(text) // 2] for text in own), "", *texts]
    earlier = {
        item.key: data.draw(st.sampled_from(choices)) for item, kept in zip(items, known, strict=True) if kept
    }
    drafted = complete(loaded, items, task=task, earlier=earlier)
    assert [c.reply.ids for c in drafted] == [c.reply.ids for c in plain]


def test_earlier_replies_come_before_the_solution_and_a_task_with_a_draft_has_it_last(loaded):
    item, problem = Expression("2 + 3"), Problem("([")
    (earlier, solution) = PromptBuilder(loaded, make_task("arithmetic"), earlier={item.key: "5"})(item).drafts
    assert loaded.tokenizer.decode(earlier([], 99).ids, skip_special_tokens=True) == "5"
    assert loaded.tokenizer.decode(solution([], 99).ids).startswith("# Step 1: 2 + 3 = 5")
    kinds = [type(d) for d in PromptBuilder(loaded, STACK, earlier={problem.key: "("})(problem).drafts]
    assert kinds == [KnownText, TokenDraft]
