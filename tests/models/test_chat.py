import pytest

from dycktune.errors import ModelError
from dycktune.models.chat import completion_text, end_of_turn, opens_think, prompt_ids, stop_ids
from small_models import FAMILIES, make_tokenizer

ASK = [{"role": "user", "content": "Complete: ( [ {"}]
MARKER = "FINAL ANSWER: "
ENDS = {
    "qwen2.5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "merged": "<|im_end|>",
    "r1-distill": "<｜end▁of▁sentence｜>",
    "r1-distill-training": "<｜end▁of▁sentence｜>",
    "llama3": "<|eot_id|>",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_ids_are_the_rendered_prompt_tokenised_once(family):
    tokenizer = make_tokenizer(family)
    ids = prompt_ids(tokenizer, ASK)
    rendered = tokenizer.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(ids) == rendered
    assert ids == tokenizer.apply_chat_template(ASK, add_generation_prompt=True)["input_ids"]


@pytest.mark.parametrize("family", ["r1-distill", "llama3"])
def test_bos_is_not_doubled_where_template_and_tokenizer_both_add_it(family):
    tokenizer = make_tokenizer(family)
    tokenizer.add_bos_token = True
    assert prompt_ids(tokenizer, ASK).count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_end_of_turn_is_that_of_the_template_without_the_newline_of_the_next_turn(family):
    tokenizer = make_tokenizer(family)
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == [ENDS[family]]


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_reply_and_end_of_turn_equal_the_rendered_conversation(family):
    """The template may show an empty think block or drop one; what stands around the reply is the same."""
    tokenizer = make_tokenizer(family)
    whole = tokenizer.apply_chat_template([*ASK, {"role": "assistant", "content": "Reply."}], tokenize=False)
    ids = [*prompt_ids(tokenizer, ASK), *tokenizer("Reply.")["input_ids"], *end_of_turn(tokenizer)]
    ours = tokenizer.decode(ids)
    for block in ("<think>\n\n</think>\n\n", "<think>\n"):
        whole, ours = whole.replace(block, ""), ours.replace(block, "")
    assert whole.rstrip("\n") == ours


def test_a_template_that_ends_a_turn_without_a_special_token_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
    with pytest.raises(ModelError, match="no special token"):
        end_of_turn(tokenizer)


def test_a_template_that_hides_the_reply_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "<|im_start|>{{ messages[0].content }}<|im_end|>"
    with pytest.raises(ModelError, match="without showing the reply"):
        end_of_turn(tokenizer)


def test_a_tokenizer_without_a_template_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        prompt_ids(tokenizer, ASK)


def test_a_conversation_that_the_template_refuses_is_a_model_error():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('system role not supported') }}"
    with pytest.raises(ModelError, match="system role not supported"):
        prompt_ids(tokenizer, ASK)


def test_stop_ids_include_those_of_template_tokenizer_and_generation_config():
    from transformers import GenerationConfig

    tokenizer = make_tokenizer("llama3")
    other = tokenizer.convert_tokens_to_ids("<|end_of_text|>")
    end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert stop_ids(tokenizer) == [end]
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=other)) == sorted([end, other])
    assert stop_ids(tokenizer, GenerationConfig(eos_token_id=[other, end])) == sorted([end, other])


def test_stop_ids_include_the_template_s_end_if_the_eos_is_another_token():
    tokenizer = make_tokenizer("qwen2.5")
    tokenizer.eos_token = "<|endoftext|>"  # noqa: S105 - a token's name
    assert stop_ids(tokenizer) == sorted(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_r1_distill_opens_a_think_block(family):
    assert opens_think(make_tokenizer(family), ASK) == family.startswith("r1-distill")


def test_a_think_tag_in_the_question_opens_no_think_block():
    assert not opens_think(make_tokenizer("qwen2.5"), [{"role": "user", "content": "<think>"}])


@pytest.mark.parametrize(
    ("completion", "reasoning", "inside_think", "text"),
    [
        ("a\nFINAL ANSWER: x", None, False, "a\nFINAL ANSWER: x"),
        ("a\nFINAL ANSWER: x", None, True, "a\n</think>\n\nFINAL ANSWER: x"),
        ("FINAL ANSWER: x", "a", False, "a\nFINAL ANSWER: x"),
        ("FINAL ANSWER: x", "a\n", True, "a\n</think>\n\nFINAL ANSWER: x"),
        ("<think>\na\n</think>\n\nFINAL ANSWER: x", None, True, "a\n</think>\n\nFINAL ANSWER: x"),
        (
            "FINAL ANSWER: a? no\nFINAL ANSWER: x",
            None,
            True,
            "FINAL ANSWER: a? no\n</think>\n\nFINAL ANSWER: x",
        ),
        ("FINAL ANSWER: x", None, True, "\n</think>\n\nFINAL ANSWER: x"),
    ],
)
def test_reasoning_closes_the_think_block_before_the_answer(completion, reasoning, inside_think, text):
    assert completion_text(completion, reasoning=reasoning, inside_think=inside_think, marker=MARKER) == text
