import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma2Config, Gemma2ForCausalLM, MistralConfig, MistralForCausalLM, set_seed

from dycktune.data.tokens import IGNORED, LossWeights
from dycktune.training import packed_attention
from dycktune.training.adapter import with_adapter
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.config import LoraSection
from dycktune.training.head import tiled_head
from dycktune.training.packing import can_pack, pack, packed_losses
from dycktune.training.trainer import WeightedLossTrainer, _forward
from small_models import make_model
from weighted_rows import VOCABULARY, arguments, logged, row, tokenizer_of


def adapted(model=None):
    tuned = with_adapter(model or make_model(tokenizer_of()), LoraSection(r=4, alpha=8.0, dropout=0.0))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=generator)
    return tuned


@pytest.fixture(scope="module")
def model():
    tuned = adapted()
    head = tiled_head(tuned)
    assert can_pack(tuned, head)
    return tuned, head


@pytest.fixture(params=[3, 512], autouse=True)
def short(request, monkeypatch):
    """With few tokens kept as plain products, and with all."""
    monkeypatch.setattr(packed_attention, "_SHORT", request.param)


@st.composite
def batches(draw):
    """Padded batches whose prompts begin alike, some rows without any loss."""
    shared = draw(st.integers(0, 7))
    rows = []
    for seed in range(draw(st.integers(1, 4))):
        prompt = draw(st.integers(max(shared, 1), 9))
        reply = draw(st.integers(1, 12))
        made = row(prompt + reply, answer=draw(st.integers(0, reply)), seed=seed, weights=LossWeights())
        made["input_ids"][:shared] = 7
        labels = made["input_ids"].astype("int64")
        labels[:prompt] = IGNORED
        if draw(st.booleans()) and seed:
            labels[:] = IGNORED
        rows.append(made | {"labels": labels})
    return DataCollatorWithWeights()(rows)


def gradient_of(tuned, loss) -> torch.Tensor:
    trained = [p for p in tuned.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, trained)])


@settings(max_examples=40, deadline=None)
@given(batches())
def test_packed_rows_have_the_losses_and_gradients_of_padded_rows(model, batch):
    tuned, head = model
    _, plain = _forward(tuned, batch, head)
    _, packed = packed_losses(tuned, pack(batch), head)
    torch.testing.assert_close(packed.nll, plain.nll, rtol=1e-4, atol=1e-5)
    for field in ("weights", "correct", "rows", "parts"):
        assert torch.equal(getattr(packed, field), getattr(plain, field)), field
    if plain.nll.numel():
        expected, found = gradient_of(tuned, plain.weighted), gradient_of(tuned, packed.weighted)
        assert (found - expected).norm() <= 1e-4 * expected.norm()


@given(batches())
def test_each_attended_token_is_packed_once_and_a_shared_one_once_for_all(model, batch):
    del model
    packed = pack(batch)
    shared, lengths = packed.layout
    assert packed.input_ids.shape[1] == shared + sum(lengths)
    assert shared + sum(lengths) + shared * (len(lengths) - 1) == int(batch["attention_mask"].sum())
    assert min(lengths) >= 1


def test_prompts_that_begin_alike_are_shared():
    rows = [row(20, answer=4, seed=seed, weights=LossWeights()) for seed in range(3)]
    for each in rows:
        each["input_ids"][:10] = 7
        each["labels"][:12] = IGNORED
    assert pack(DataCollatorWithWeights()(rows)).layout == (10, (10, 10, 10))


def trained(folder, *, packed: bool, **own):
    data = [row(9 + 3 * i, answer=i % 3, seed=i, weights=LossWeights()) for i in range(8)]
    trainer = WeightedLossTrainer(
        model=adapted(),
        args=arguments(folder, per_device_eval_batch_size=3, max_steps=2),
        train_dataset=data,
        eval_dataset=data,
        packed=packed,
        **own,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("own", [{}, {"tokens_per_pass": 60}, {"bfloat16": True}])
def test_a_packed_run_logs_and_evaluates_as_a_padded_one(tmp_path, own):
    plain = trained(tmp_path, packed=False, **own)
    packed = trained(tmp_path, packed=True, **own)
    close = 2e-2 if own.get("bfloat16") else 1e-4
    for key in ("loss", "loss_reasoning", "accuracy_answer"):
        assert logged(packed, key) == pytest.approx(logged(plain, key), rel=close)
    expected, metrics = plain.evaluate(), packed.evaluate()
    for key in ("eval_loss", "eval_loss_answer", "eval_accuracy_reasoning"):
        assert metrics[key] == pytest.approx(expected[key], rel=close)


def test_a_prepared_model_generates_as_before():
    plain, prepared = adapted(), adapted()
    assert can_pack(prepared, tiled_head(prepared))
    ids = torch.randint(VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    options = {"attention_mask": mask, "max_new_tokens": 12, "do_sample": False}
    assert torch.equal(plain.generate(ids, **options), prepared.generate(ids, **options))


_SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}


def other_model(kind: str):
    set_seed(0)
    if kind == "sliding window":
        return MistralForCausalLM(MistralConfig(**_SIZES, sliding_window=4))
    if kind == "capped scores":
        return Gemma2ForCausalLM(Gemma2Config(**_SIZES))
    return MistralForCausalLM(MistralConfig(**_SIZES, sliding_window=None, attention_dropout=0.1))


@pytest.mark.parametrize("kind", ["sliding window", "capped scores", "attention dropout"])
def test_a_model_with_another_attention_is_not_packed_and_keeps_its_own(kind):
    model = adapted(other_model(kind))
    before = model.config._attn_implementation
    assert not can_pack(model, tiled_head(model))
    assert model.config._attn_implementation == before


def test_a_model_whose_head_is_trained_is_not_packed():
    assert not can_pack(make_model(tokenizer_of()), None)
