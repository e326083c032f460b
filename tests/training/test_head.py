import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, set_seed

from dycktune.data.tokens import IGNORED
from dycktune.training import head as head_module
from dycktune.training.head import tiled_head, tiled_losses
from dycktune.training.loss import Targets, token_losses
from small_models import make_model
from weighted_rows import off, tokenizer_of

B, K, H, V = 3, 9, 8, 29


@pytest.fixture(params=[1, 100, 10_000], autouse=True)
def tile(request, monkeypatch):
    """Tiles of one token, of a few tokens, and of all."""
    monkeypatch.setitem(head_module.TILE, "cpu", request.param)
    monkeypatch.setattr(head_module, "MIN_TILE_TOKENS", 1)


def case(*, supervised: float = 0.6, bias: bool = True) -> tuple[torch.Tensor, nn.Linear, Targets]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(B, K, H, generator=generator, requires_grad=True)
    head = nn.Linear(H, V, bias=bias).requires_grad_(False)
    labels = torch.randint(V, (B, K), generator=generator)
    labels[torch.rand(B, K, generator=generator) > supervised] = IGNORED
    weights = torch.rand(B, K, generator=generator) * 5
    return hidden, head, Targets(labels, weights, torch.arange(K).expand(B, K) >= 5)


def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss * 0.3, of)[0]


@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradient_are_those_of_full_logits(bias):
    hidden, head, targets = case(bias=bias)
    plain, tiled = token_losses(head(hidden), targets), tiled_losses(hidden, head, targets)
    assert tiled.weighted.item() == pytest.approx(plain.weighted.item(), rel=1e-6)
    expected = gradient(plain.weighted, hidden)
    assert off(gradient(tiled.weighted, hidden), expected) < 1e-6


def test_each_token_s_figures_are_those_of_full_logits():
    hidden, head, targets = case()
    plain, tiled = token_losses(head(hidden), targets), tiled_losses(hidden, head, targets)
    torch.testing.assert_close(tiled.nll, plain.nll)
    for field in ("weights", "correct", "rows", "parts"):
        assert torch.equal(getattr(tiled, field), getattr(plain, field)), field
    torch.testing.assert_close(tiled.sums(B), plain.sums(B))


def test_without_supervised_tokens_the_loss_is_a_zero_that_still_reaches_the_hidden_states():
    hidden, head, targets = case(supervised=0.0)
    loss = tiled_losses(hidden, head, targets).weighted
    assert loss.item() == 0.0
    assert not gradient(loss, hidden).any()


def test_autocast_keeps_the_gradient_close():
    hidden, head, targets = case()
    expected = gradient(token_losses(head(hidden), targets).weighted, hidden)
    with torch.autocast("cpu", torch.bfloat16):
        loss = tiled_losses(hidden, head, targets).weighted
    assert loss.dtype == torch.float32
    assert off(gradient(loss, hidden), expected) < 2e-2


def model_with_adapter() -> nn.Module:
    model = make_model(tokenizer_of())
    set_seed(1)
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))


def test_a_model_s_adapter_gets_the_gradient_of_the_plain_path():
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(300, (2, 12), generator=generator)
    targets = Targets(ids, torch.rand(2, 12, generator=generator), torch.zeros(2, 12, dtype=torch.bool))
    model = model_with_adapter()
    token_losses(model(input_ids=ids).logits, targets).weighted.backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    tiled = tiled_head(model)
    with tiled.computing_loss(targets):
        losses = tiled.losses(model(input_ids=ids).logits)
    losses.weighted.backward()
    assert expected
    for name, parameter in model.named_parameters():
        if name in expected:
            assert off(parameter.grad, expected[name]) < 1e-5, name


def test_outside_the_block_the_model_returns_its_logits():
    model = make_model(tokenizer_of()).requires_grad_(False)
    ids = torch.arange(5)[None]
    expected = model(input_ids=ids).logits
    assert tiled_head(model) is not None
    assert torch.equal(model(input_ids=ids).logits, expected)


def test_a_trained_head_is_not_replaced():
    assert tiled_head(make_model(tokenizer_of())) is None


def test_the_head_of_a_model_that_caps_its_logits_is_not_replaced():
    set_seed(0)
    config = Gemma2Config(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=3.0,
        initializer_range=1.0,
    )
    model = Gemma2ForCausalLM(config).requires_grad_(False)
    ids = torch.arange(5)[None]
    expected = model(input_ids=ids).logits
    assert tiled_head(model) is None
    assert torch.equal(model(input_ids=ids).logits, expected)
