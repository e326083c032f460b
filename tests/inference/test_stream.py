from itertools import pairwise

import pytest

from dycktune.inference.completion import complete, task_of
from dycktune.inference.stream import UNFINISHED, stream
from dycktune.models.loading import LoadedModel, load
from dycktune.tasks.registry import make_task
from small_models import make_model, make_tokenizer

STACK = make_task("dyck", {"style": "stack"})


@pytest.fixture(scope="module", params=["qwen2.5", "llama3", "builtin:tiny"])
def loaded(request) -> LoadedModel:
    if request.param == "builtin:tiny":
        return load(request.param)
    tokenizer = make_tokenizer(request.param)
    model = make_model(tokenizer).eval()
    return LoadedModel(model=model, tokenizer=tokenizer, card=None, reference=request.param)


@pytest.mark.parametrize("question", ["(", "([]"])
def test_the_streamed_reply_is_that_of_complete(loaded, question):
    texts: list[str] = []
    streamed = stream(loaded, STACK, STACK.from_text(question), texts.append)
    (whole,) = complete(loaded, [question], task=STACK)
    assert streamed.text == whole.text
    assert streamed.verdict == whole.verdict
    assert streamed.reply.ids == whole.reply.ids
    assert texts[-1] == whole.text


def test_the_text_grows_and_never_ends_in_half_a_character(loaded):
    texts: list[str] = []
    stream(loaded, STACK, STACK.from_text("(["), texts.append)
    assert len(texts) > 3
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert not any(text.endswith(UNFINISHED) for text in texts[:-1])


def test_an_error_of_the_listener_ends_the_decoding(loaded):
    class EnoughError(Exception):
        pass

    seen: list[str] = []

    def listen(text: str) -> None:
        seen.append(text)
        if len(seen) == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        stream(loaded, task_of(loaded), task_of(loaded).from_text("(["), listen)
    assert len(seen) == 3
