import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.inference import speculative
from dycktune.inference.drafts import KnownText
from dycktune.inference.reference import Guess, Prompt, batches, generate
from dycktune.inference.speculative import decode
from dycktune.models.loading import LoadedModel
from small_models import make_model, make_tokenizer


@pytest.fixture(scope="module")
def loaded():
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


ids = st.lists(st.integers(10, 250), min_size=1, max_size=12)


@dataclass(frozen=True)
class FixedDraft:
    """A draft of fixed ids, independent of the reply."""

    ids: tuple[int, ...]
    support: float = math.inf

    def __call__(self, written, room):
        return Guess(self.ids[len(written) :][:room], self.support)


sources = st.builds(FixedDraft, ids.map(tuple), st.integers(0, 5) | st.just(math.inf)) | st.builds(
    KnownText, ids
)
"""Random ids: at fixed places, or of a text that is realigned with the reply."""

prompts = st.lists(
    st.builds(Prompt, ids=ids, limit=st.integers(1, 12), drafts=st.lists(sources, max_size=3).map(tuple)),
    min_size=1,
    max_size=5,
)


def half_right(loaded, prompt: Prompt, wrong_at: list[int]) -> Prompt:
    """The row with its true reply as the draft, except for the tokens at `wrong_at`."""
    (reply,) = generate(loaded, [prompt])
    ids = tuple(token ^ (i in wrong_at) for i, token in enumerate(reply.ids))
    return replace(prompt, drafts=(FixedDraft(ids),))


@given(prompts, st.lists(st.integers(0, 11)), st.randoms())
@settings(max_examples=20)
def test_for_any_draft_and_batch_the_reply_is_that_of_reference_decoding(loaded, rows, wrong_at, rng):
    alone = [generate(loaded, [row])[0].ids for row in rows]
    drafted = [half_right(loaded, row, wrong_at) if rng.random() < 0.5 else row for row in rows]
    order = rng.sample(range(len(rows)), len(rows))
    batched = decode(loaded, [drafted[i] for i in order])
    assert [reply.ids for reply in batched] == [alone[i] for i in order]


@given(ids, st.lists(ids, min_size=2, max_size=4), st.booleans())
@settings(max_examples=10)
def test_a_beginning_that_all_prompts_share_is_read_once_and_changes_no_reply(loaded, shared, rests, same):
    rows = [Prompt(ids=shared + ([] if same else rest), limit=6) for rest in rests]
    alone = [generate(loaded, [row])[0].ids for row in rows]
    assert [reply.ids for reply in decode(loaded, rows)] == alone
    assert speculative._read_prefix(loaded, [row.ids for row in rows]).lengths[0] >= len(shared) - 1


@given(prompts)
@settings(max_examples=10)
def test_a_reply_is_the_argmax_of_a_forward_pass_at_every_step(loaded, rows):
    for row, reply in zip(rows, decode(loaded, rows), strict=True):
        written = [*reply.ids, loaded.tokenizer.eos_token_id] if reply.finished else reply.ids
        with torch.inference_mode():
            logits_TV = loaded.model(torch.tensor([row.ids + written])).logits[0]
        assert logits_TV[len(row.ids) - 1 : -1].argmax(-1).tolist() == written


@pytest.fixture
def passes(loaded, monkeypatch) -> list[int]:
    """The model writes 21, 22, 20 over and over; a list that grows with each of its forward passes."""
    counted, forward = [], loaded.model.forward

    def write_circle(*args, position_ids, **inputs):
        counted.append(1)
        output = forward(*args, position_ids=position_ids, **inputs)
        following_BQ1 = 20 + (position_ids[:, -output.logits.shape[1] :, None] % 3)
        output.logits = torch.zeros_like(output.logits).scatter_(-1, following_BQ1, 9.0)
        return output

    monkeypatch.setattr(loaded.model, "forward", write_circle)
    return counted


CIRCLE = tuple(20 + (i % 3) for i in range(1, 301))


def test_a_right_draft_of_any_length_takes_one_forward_pass(loaded, passes):
    (reply,) = decode(loaded, [Prompt(ids=[11, 12], limit=300, drafts=(FixedDraft(CIRCLE),))])
    assert (tuple(reply.ids), len(passes)) == (CIRCLE, 1)


def test_a_row_that_repeats_itself_takes_few_passes_without_a_draft(loaded, passes):
    """Prompt lookup drafts longer and longer spans."""
    (reply,) = decode(loaded, [Prompt(ids=[11, 12], limit=300)])
    assert tuple(reply.ids) == CIRCLE
    assert len(passes) < 20


@given(prompts, st.integers(1, 200), st.integers(1, 100))
@settings(max_examples=10)
def test_the_budgets_change_no_reply(loaded, rows, budget, fresh):
    expected = [reply.ids for reply in decode(loaded, rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(speculative.MAX_BATCH_TOKENS, "cpu", budget)
        patch.setitem(speculative.MAX_FIRST_TOKENS, "cpu", fresh)
        patch.setitem(speculative.MAX_LOGITS, "cpu", budget * 100)
        assert [reply.ids for reply in decode(loaded, rows)] == expected


def test_each_row_keeps_its_own_limit(loaded):
    replies = decode(loaded, [Prompt(ids=[11, 12], limit=3), Prompt(ids=[13], limit=7)])
    assert all(r.finished or len(r.ids) == n for r, n in zip(replies, (3, 7), strict=True))


def test_a_near_tie_is_decoded_again_alone_and_counted(loaded, monkeypatch):
    monkeypatch.setitem(speculative.MARGIN, torch.float32, float("inf"))
    rows = [Prompt(ids=[11, 12], limit=3, drafts=(FixedDraft((20, 21)),)), Prompt(ids=[13], limit=3)]
    assert all(reply.alone for reply in decode(loaded, rows))


def test_a_near_tie_that_is_decided_differently_alone_gives_the_reply_decoded_alone(loaded, monkeypatch):
    """The tie is at the third token, where decoding in a batch chose another token."""
    row = Prompt(ids=[11, 12], limit=8)
    (alone,) = generate(loaded, [row])
    other = speculative._Row(
        row, min_margin=0.0, written=[*alone.ids[:2], alone.ids[2] ^ 1, 77, 78], uncertain=3
    )
    assert speculative._certain_reply(loaded, other) == replace(alone, alone=True)


def test_tokens_after_the_last_near_tie_are_not_decoded_again(loaded, monkeypatch):
    row = Prompt(ids=[11, 12], limit=8)
    (reply,) = generate(loaded, [row])
    limits = []
    monkeypatch.setattr(
        speculative, "generate", lambda model, rows: limits.append(rows[0].limit) or generate(model, rows)
    )
    found = speculative._certain_reply(
        loaded, speculative._Row(row, min_margin=0.0, written=reply.ids, uncertain=3)
    )
    assert (found.ids, found.alone, limits) == (reply.ids, True, [3])


def test_a_model_with_a_sliding_window_uses_reference_decoding_and_reports_progress(loaded):
    windowed = replace(
        loaded,
        model=make_model(
            loaded.tokenizer, use_sliding_window=True, sliding_window=4, max_window_layers=0
        ).eval(),
    )
    rows = [half_right(windowed, Prompt(ids=[*range(10, 10 + n)], limit=6), [2]) for n in (1, 7, 12)]
    counts = []
    replies = decode(windowed, rows, on_reply=counts.append)
    assert [reply.ids for reply in replies] == [generate(windowed, [row])[0].ids for row in rows]
    assert counts == [3]
    assert not speculative._keeps_all_tokens(windowed)


def test_each_count_of_finished_rows_is_reported_once_and_the_last_is_all(loaded, monkeypatch):
    monkeypatch.setitem(speculative.MAX_FIRST_TOKENS, "cpu", 1)
    counts = []
    decode(loaded, [Prompt(ids=[11 + i], limit=1 + i) for i in range(4)], on_reply=counts.append)
    assert counts == sorted(set(counts))
    assert counts[-1] == 4


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 200))
def test_batches_keep_within_the_budget_and_lose_no_row(lengths, budget):
    chunks = batches(lengths, budget)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(len(lengths)))
    for chunk in chunks:
        assert len(chunk) == 1 or len(chunk) * max(lengths[i] for i in chunk) <= budget
