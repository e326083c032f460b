import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners import lora

from dycktune.training.adapter import with_adapter
from dycktune.training.config import LoraSection
from small_models import make_model
from weighted_rows import off, tokenizer_of

IDS = torch.randint(300, (2, 11), generator=torch.Generator().manual_seed(0))


def tuned(**changes):
    section = LoraSection(**{"r": 24, "alpha": 48.0, "dropout": 0.0} | changes)
    model = with_adapter(make_model(tokenizer_of()), section)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=generator)
    return model


def peft_s_own(model):
    """The same weights under PEFT's own forward."""
    config = LoraConfig(r=24, lora_alpha=48, target_modules="all-linear", task_type="CAUSAL_LM")
    other = get_peft_model(make_model(tokenizer_of()), config)
    other.load_state_dict(model.state_dict())
    return other


def as_one(model) -> set[bool]:
    return {"forward" in vars(m) for m in model.modules() if isinstance(m, lora.Linear)}


def gradients(model) -> dict[str, torch.Tensor]:
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def test_base_and_adapter_as_one_matrix_give_peft_s_logits_and_gradients():
    model = tuned()
    assert as_one(model) == {True}
    other = peft_s_own(model)
    assert as_one(other) == {False}
    torch.testing.assert_close(model(IDS).logits, other(IDS).logits, rtol=1e-4, atol=1e-4)
    expected = gradients(other)
    for name, gradient in gradients(model).items():
        assert off(gradient, expected[name]) < 1e-4, name


def test_with_the_adapter_off_the_base_answers():
    model, base = tuned(), make_model(tokenizer_of())
    with model.disable_adapter():
        assert torch.equal(model(IDS).logits, base(IDS).logits)


def test_merging_changes_no_logits():
    model = tuned()
    before = model(IDS).logits
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(IDS).logits, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{"r": 2}, {"dropout": 0.1}])
def test_a_low_rank_or_dropout_keeps_peft_s_own_forward(changes):
    assert as_one(tuned(**changes)) == {False}
