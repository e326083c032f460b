"""Sampled replies have the model's own distribution, whatever drafts and batches they are decoded with."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from dycktune.inference.reference import Guess, Prompt, generate
from dycktune.inference.sampling import Draws, drawn, draws_of
from dycktune.inference.speculative import decode
from dycktune.models.loading import LoadedModel
from small_models import make_model, make_tokenizer


@pytest.fixture(scope="module")
def loaded():
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


@dataclass(frozen=True)
class FixedDraft:
    """A draft of fixed ids, independent of the reply."""

    ids: tuple[int, ...]

    def __call__(self, written, room):
        return Guess(self.ids[len(written) :][:room], math.inf)


ids = st.lists(st.integers(10, 250), min_size=1, max_size=12)
logits = st.lists(st.floats(-8, 8), min_size=2, max_size=12)
LARGEST_UNIFORM = 1 - 2**-24
"""The largest number of `torch.rand`."""


@given(logits, st.floats(0.3, 3.0))
def test_evenly_spread_numbers_choose_each_token_as_often_as_its_probability(values, temperature):
    grid = 4000
    uniforms = (torch.arange(grid) + 0.5) / grid
    counts = torch.bincount(
        drawn(torch.tensor(values).expand(1, grid, -1), uniforms[None], temperature)[0], minlength=len(values)
    )
    expected = (torch.tensor(values) / temperature).softmax(dim=0) * grid
    assert (counts - expected).abs().max() <= 2


@given(logits, st.integers(0, 11), st.sampled_from([0.0, 0.5, LARGEST_UNIFORM]))
def test_a_token_of_probability_0_is_never_chosen(values, forbidden, uniform):
    row = torch.tensor(values)
    row[forbidden % len(values)] = float("-inf")
    assert drawn(row[None, None], torch.tensor([[uniform]]), 1.0) != forbidden % len(values)


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that is computed anew from `given`, in numbers."""

    def __init__(self, given):
        super().__init__()
        self.numbers, self._given = 0, given.untyped_storage().data_ptr()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() != self._given:
            self.numbers = max(self.numbers, out.numel())
        return out


def test_sampling_copies_a_block_of_the_logits_at_a_time_and_chooses_the_same_tokens(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 40, generator=generator).bfloat16()
    uniforms = torch.rand(3, 5, generator=generator)
    expected = drawn(logits, uniforms, 0.7)
    monkeypatch.setattr("dycktune.inference.sampling.MAX_BLOCK", 170)
    with LargestTensor(logits) as largest:
        found = drawn(logits, uniforms, 0.7)
    assert torch.equal(found, expected)
    assert largest.numbers <= 170


rows = st.lists(
    st.tuples(ids, st.integers(1, 12), st.integers(0, 10**6), st.sampled_from(["right", "wrong", "none"])),
    min_size=1,
    max_size=5,
)


@given(rows, st.sampled_from([0.5, 1.0]), st.lists(st.integers(0, 11)))
@settings(max_examples=20)
def test_for_any_draft_and_batch_the_reply_is_that_of_plain_sampling_alone(loaded, rows, heat, wrong_at):
    prompts = [
        Prompt(ids=ids, limit=limit, draws=draws_of(limit, temperature=heat, seed=(seed,)))
        for ids, limit, seed, _ in rows
    ]
    alone = [generate(loaded, [prompt])[0] for prompt in prompts]
    drafts = {
        "right": [tuple(reply.ids) for reply in alone],
        "wrong": [tuple(token ^ (i in wrong_at) for i, token in enumerate(reply.ids)) for reply in alone],
        "none": [() for _ in alone],
    }
    drafted = [
        replace(prompt, drafts=(FixedDraft(drafts[kind][i]),))
        for i, (prompt, (_, _, _, kind)) in enumerate(zip(prompts, rows, strict=True))
    ]
    found = decode(loaded, drafted)
    assert [reply.ids for reply in found] == [reply.ids for reply in alone]
    assert [reply.stop for reply in found] == [reply.stop for reply in alone]
    assert [reply.ids for reply in generate(loaded, prompts)] == [reply.ids for reply in alone]


def test_with_right_drafts_replies_of_two_tokens_have_the_joint_distribution_of_the_model(loaded):
    prompt, count, seen = [40, 41, 42], 3000, 2
    first = _probabilities(loaded, prompt)
    likely = first.argmax().item()
    draft = (FixedDraft((likely, _probabilities(loaded, [*prompt, likely]).argmax().item())),)
    replies = decode(
        loaded,
        [
            Prompt(ids=prompt, limit=seen, drafts=draft, draws=draws_of(seen, temperature=1.0, seed=(7, i)))
            for i in range(count)
        ],
    )
    counts = Counter(tuple(reply.ids) for reply in replies)
    top = first.topk(3).indices.tolist()
    for token in top:
        second = _probabilities(loaded, [*prompt, token])
        for pair in product([token], second.topk(3).indices.tolist()):
            expected = count * float(first[pair[0]] * second[pair[1]])
            # Four standard deviations of a binomial count.
            assert abs(counts[pair] - expected) <= 4 * math.sqrt(expected) + 1


def _probabilities(loaded, ids):
    with torch.inference_mode():
        return loaded.model(torch.tensor([ids])).logits[0, -1].softmax(dim=0)


def test_the_numbers_of_a_reply_depend_on_its_seed_alone():
    torch.manual_seed(1)
    once = draws_of(5, temperature=1.0, seed=(1, 2))
    torch.rand(3)
    again, other = draws_of(5, temperature=1.0, seed=(1, 2)), draws_of(5, temperature=1.0, seed=(1, 3))
    assert torch.equal(once.uniforms, again.uniforms)
    assert not torch.equal(once.uniforms, other.uniforms)


def test_a_low_temperature_samples_the_greedy_reply(loaded):
    prompt = Prompt(ids=[40, 41], limit=6)
    draws = Draws(temperature=1e-4, uniforms=torch.rand(6))
    assert decode(loaded, [replace(prompt, draws=draws)])[0].ids == decode(loaded, [prompt])[0].ids
