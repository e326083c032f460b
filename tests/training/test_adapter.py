import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners import lora

from dycktune.training.adapter import trained_model, with_adapter
from dycktune.training.config import LoraSection
from dycktune.training.recipe import build
from small_models import make_model
from weighted_rows import off, tokenizer_of

IDS = torch.randint(300, (2, 11), generator=torch.Generator().manual_seed(0))


def with_random_adapter(**changes):
    section = LoraSection(**{"r": 24, "alpha": 48.0, "dropout": 0.0} | changes)
    model = with_adapter(make_model(tokenizer_of()), section)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=generator)
    return model


def with_peft_forward(model, *, rank: int):
    """The same weights with PEFT's own forward."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    other = get_peft_model(make_model(tokenizer_of()), config)
    other.load_state_dict(model.state_dict())
    return other


def forwards(model) -> set[str]:
    """The forward that the model's LoRA layers have."""
    layers = (m for m in model.modules() if isinstance(m, lora.Linear))
    return {vars(m)["forward"].func.__name__ if "forward" in vars(m) else "peft" for m in layers}


def gradients(model) -> dict[str, torch.Tensor]:
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("rank", "name"), [(24, "_merged"), (2, "_fused")])
def test_our_forward_has_the_logits_and_gradients_of_peft(rank, name):
    model = with_random_adapter(r=rank, alpha=2.0 * rank)
    assert forwards(model) == {name}
    other = with_peft_forward(model, rank=rank)
    assert forwards(other) == {"peft"}
    torch.testing.assert_close(model(IDS).logits, other(IDS).logits, rtol=1e-4, atol=1e-4)
    expected = gradients(other)
    for name, gradient in gradients(model).items():
        assert off(gradient, expected[name]) < 1e-4, name


@pytest.mark.parametrize("rank", [24, 2])
def test_in_bfloat16_our_gradient_is_as_close_to_the_exact_one_as_that_of_peft(rank):
    model = with_random_adapter(r=rank, alpha=2.0 * rank)
    other, exact = with_peft_forward(model, rank=rank), with_peft_forward(model, rank=rank)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = gradients(model), gradients(other)
    expected = torch.cat([g.flatten() for g in gradients(exact).values()])
    ours, theirs = (torch.cat([g.flatten() for g in each.values()]) for each in (ours, theirs))
    assert off(ours, expected) < 1.3 * off(theirs, expected)


def test_with_the_adapter_disabled_the_logits_are_those_of_the_base():
    model, base = with_random_adapter(), make_model(tokenizer_of())
    with model.disable_adapter():
        assert torch.equal(model(IDS).logits, base(IDS).logits)


def test_merging_changes_no_logits():
    model = with_random_adapter()
    before = model(IDS).logits
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(IDS).logits, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_bias": True}], ids=["DoRA", "bias"])
def test_training_that_starts_from_another_kind_of_lora_keeps_the_forward_of_peft(tmp_path, options):
    # Only these layers of the base have a bias.
    config = LoraConfig(r=4, target_modules=["q_proj", "k_proj"], task_type="CAUSAL_LM", **options)
    tuned = get_peft_model(make_model(tokenizer_of()), config).eval()
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)))
    tuned.save_pretrained(tmp_path)
    started = trained_model(make_model(tokenizer_of()), build({"train": {"start_from": str(tmp_path)}}, {}))
    torch.testing.assert_close(started(IDS).logits, tuned(IDS).logits)


def test_dropout_keeps_the_forward_of_peft():
    assert forwards(with_random_adapter(dropout=0.1)) == {"peft"}
