"""Chat templates of any text: a prompt and an end of turn, or an error of one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import fuzzed, used_or_refused
from dycktune.models.chat import end_of_turn, prompt_ids
from small_models import FAMILIES, make_tokenizer

TOKENIZERS = {name: make_tokenizer(name) for name in FAMILIES}
SOUND = {name: tokenizer.chat_template for name, tokenizer in TOKENIZERS.items()}
PIECES = [
    "{%", "%}", "{{", "}}", "{% for m in messages %}", "{% endfor %}", "{{ m['content'] }}", "{{ m.role }}",
    "{% if x %}", "{% endif %}", "{{ bos_token }}", "{{ raise_exception('no') }}", "{{ 1/0 }}", "{{ messages[9] }}",
    "{{ messages | tojson }}", "{% set x = x ~ 'a' %}", "{{ x.y.z }}", "{{ none + 1 }}", "<|im_end|>", "{#",
    "{{ 'a' * 10 ** 9 }}", "{{ strftime_now('%Y') }}", "{% generation %}", "{% endgeneration %}", "{{ '%d' % 'a' }}",
]  # fmt: skip
MESSAGES = [{"role": "user", "content": "Hello"}]


def tried(tokenizer, template):
    tokenizer.chat_template = template
    used_or_refused(lambda: prompt_ids(tokenizer, MESSAGES), names="the chat template of")
    used_or_refused(lambda: end_of_turn(tokenizer), names="the chat template of")


@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=9), min_size=1, max_size=10))
@fuzzed
def test_any_template_gives_a_prompt_or_is_refused(pieces):
    tried(TOKENIZERS["qwen2.5"], "".join(pieces) or " ")


@pytest.mark.parametrize("family", SOUND)
@given(data=st.data())
@fuzzed
def test_a_damaged_template_gives_a_prompt_or_is_refused(family, data):
    sound = SOUND[family]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(sound))] * 2)))
    tried(TOKENIZERS[family], sound[:start] + data.draw(st.sampled_from(PIECES)) + sound[end:])
