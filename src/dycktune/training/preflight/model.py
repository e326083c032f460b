"""Checks of the model and its optimizer around the first step: what is trained is what is saved and merged."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import torch
from peft import PeftModel, PeftType, get_peft_model_state_dict
from peft.tuners import lora
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from dycktune.errors import SilentFaultError

_LAYER = re.compile(r"^(.*?\.(?:layers|h|blocks)\.\d+)\.")
"""The part of a parameter's name that names its layer."""
_OTHER_INPUTS = re.compile(r"vision|visual|image|audio", re.IGNORECASE)
"""Parts of a model that a batch of text does not use."""
_CLOSE = 0.1
"""Relative difference of a layer's output from its merged one that rounding to bfloat16 explains."""


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def not_in_optimizer(model: nn.Module, optimizer: Any) -> SilentFaultError | None:
    """Trained parameters that the optimizer does not hold, as where it was made before the adapter."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    wanted = trained(model)
    missing = [name for name, p in wanted.items() if id(p) not in held]
    if not wanted or not missing:
        return None
    return SilentFaultError(
        "not_in_optimizer",
        f"the optimizer holds {len(wanted) - len(missing)} of {len(wanted)} trained weights; missing: {missing[0]}",
        "make the optimizer after the adapter, from the parameters of the model that is trained",
    )


def trained_but_not_saved(model: nn.Module) -> SilentFaultError | None:
    """Trained weights that no checkpoint of the adapter would hold."""
    if not _is_lora(model):
        return None
    saved = get_peft_model_state_dict(model, save_embedding_layers=True)
    places = {tensor.untyped_storage().data_ptr() for tensor in saved.values() if isinstance(tensor, Tensor)}
    lost = [name for name, p in trained(model).items() if p.untyped_storage().data_ptr() not in places]
    if not lost:
        return None
    return SilentFaultError(
        "trained_but_not_saved",
        f"{len(lost)} trained weights are not part of the adapter, such as {lost[0]}",
        "freeze them, or name their modules in modules_to_save, else each checkpoint loses what they learned",
    )


@torch.no_grad()
def merge_changes_nothing(model: nn.Module) -> SilentFaultError | None:
    """An adapter layer whose forward and whose merged weight differ, tried with a random second factor.

    The second factor begins at 0, so the layer's own weights show no difference before the rate has risen. One layer of
    each name, such as `q_proj`, is tried with one vector; its weights and all random states stay as they are.
    """
    layers = {
        name.rpartition(".")[2]: (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, lora.Linear) and _is_plain(layer)
    }
    return next(filter(None, (_unmerged(name, layer) for name, layer in layers.values())), None)


def _unmerged(name: str, layer: lora.Linear) -> SilentFaultError | None:
    effect, merged = _effects(layer)
    off, size = float((effect - merged).norm()), float(merged.norm())
    if size > 0 and off <= _CLOSE * size:
        return None
    return SilentFaultError(
        "merge_changes_nothing",
        f"with a trial weight in {name}, the adapter moves the output by {float(effect.norm()):.3g} and its merged "
        f"weight by {size:.3g} ({off:.3g} apart)",
        "enable the adapter, unmerge it, give it a scale (alpha) above 0, and remove patches of its layers",
    )


def _effects(layer: lora.Linear) -> tuple[Tensor, Tensor]:
    """The change of a layer's output by its adapter, and the one by its merged weight, for one input."""
    name = layer.active_adapters[0]
    up, base = cast("nn.Linear", layer.lora_B[name]).weight, cast("nn.Linear", layer.get_base_layer())
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, base.in_features, generator=draw).to(base.weight)
    kept, training = up.clone(), [module for module in layer.modules() if module.training]
    try:
        layer.eval()
        up.copy_(torch.randn(up.shape, generator=draw))
        effect = layer(x).float() - base(x).float()
        return effect, x.float() @ layer.get_delta_weight(name).float().t()
    finally:
        up.copy_(kept)
        for module in training:
            module.training = True


def _is_plain(layer: lora.Linear) -> bool:
    return (
        type(layer.get_base_layer()) is nn.Linear and bool(layer.active_adapters) and not layer.lora_variant
    )


def without_gradient(model: nn.Module) -> SilentFaultError | None:
    """Trained weights that the loss does not depend on: all of them, or those of an adapter in a whole layer."""
    wanted = trained(model)
    if not wanted:
        return SilentFaultError(
            "adapter_not_trained", "no weight is trained", "set requires_grad on the adapter"
        )
    alive = _alive(wanted)
    if not any(alive.values()):
        evidence = f"none of {len(wanted)} trained weights has a gradient"
    elif not _is_lora(model) or not (dead := _dead_layers(alive)):
        return None
    else:
        evidence = f"no trained weight of {', '.join(dead[:3])} has a gradient ({len(dead)} layers)"
    return SilentFaultError(
        "adapter_not_trained",
        evidence,
        "let the inputs require gradients under checkpointing (enable_input_require_grads), and remove no_grad and "
        "detach around the layers",
    )


def _alive(parameters: dict[str, nn.Parameter]) -> dict[str, bool]:
    """Whether each parameter has a gradient other than 0. The device is asked once."""
    graded = [name for name, p in parameters.items() if p.grad is not None]
    flags = (
        torch.stack([cast("Tensor", parameters[name].grad).any() for name in graded]).tolist()
        if graded
        else []
    )
    return dict.fromkeys(parameters, False) | dict(zip(graded, flags, strict=True))


def _dead_layers(alive: dict[str, bool]) -> list[str]:
    layers: dict[str, bool] = defaultdict(bool)
    for name, has_gradient in alive.items():
        layer = _LAYER.match(name)
        if layer and not _OTHER_INPUTS.search(name):
            layers[layer[1]] |= has_gradient
    return [name for name, has_gradient in layers.items() if not has_gradient]


class WeightSample:
    """A few trained weights before a step, to see whether the step changes them."""

    SIZE = 8
    """The smallest ones: cheap, and in an adapter among the first to move."""

    def __init__(self, model: nn.Module):
        """Copy float32 weights with a finite gradient; those of less precision may round a small step away."""
        smallest_first = sorted(trained(model).values(), key=lambda p: p.numel())
        usable = (p for p in smallest_first if p.dtype == torch.float32 and _moves(p))
        self._weights = list(islice(usable, self.SIZE))
        self._before = [p.detach().clone() for p in self._weights]

    def unchanged(self, optimizer: Any, rates: Iterable[float]) -> SilentFaultError | None:
        """A fault if the optimizer's step changed nothing, judged by its state where the learning rate is 0."""
        if not self._weights:
            return None
        rate = max(rates)
        if rate == 0:
            idle = not optimizer.state and isinstance(_inner(optimizer), _STATEFUL)
            evidence = "the optimizer keeps no state after its first step"
        else:
            pairs = zip(self._weights, self._before, strict=True)
            idle = all(torch.equal(p.detach(), before) for p, before in pairs)
            evidence = (
                f"{len(self._weights)} weights with a gradient are the same after a step at rate {rate:g}"
            )
        if not idle:
            return None
        return SilentFaultError(
            "weights_unchanged",
            evidence,
            "let optimizer.step() run, on the parameters of the model that is trained",
        )


_STATEFUL = (torch.optim.Adam, torch.optim.AdamW, torch.optim.Muon)


def _moves(parameter: nn.Parameter) -> bool:
    gradient = parameter.grad
    return gradient is not None and bool(gradient.any()) and bool(gradient.isfinite().all())


def _inner(optimizer: Any) -> Any:
    """The optimizer that accelerate has wrapped."""
    return getattr(optimizer, "optimizer", optimizer)


def rates_of(optimizer: Any) -> list[float]:
    """The learning rate of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def scheduled_rates(scheduler: Any) -> list[float] | None:
    """The rates of the next step, as the schedule computes them; None for another kind of schedule."""
    if not isinstance(scheduler, LambdaLR):
        return None
    step = scheduler.last_epoch + 1
    pairs = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    return [float(base) * rate(step) for base, rate in pairs]


def learning_rate_frozen(
    before: list[float], wanted: list[float] | None, now: list[float], *, last: bool
) -> SilentFaultError | None:
    """A rate that stays where the schedule moves it, or that stays 0.

    Args:
        before: Rates of the step that was made.
        wanted: Those that the schedule has for the next step.
        now: Those that the optimizer has for it.
        last: Whether there is no next step.
    """
    stuck = wanted is not None and now == before != wanted
    if last or not (stuck or max(now) == 0):
        return None
    plan = f", and the schedule has {max(wanted):g}" if wanted is not None else ""
    return SilentFaultError(
        "learning_rate_frozen",
        f"after the first step the learning rate is {max(now):g} as before{plan}",
        "make the schedule from the optimizer that trains, step it once a step, and set a rate above 0",
    )


def gradients_not_cleared(model: nn.Module) -> SilentFaultError | None:
    """Gradients that are left over after a step and would be added to those of the next one."""
    wanted = trained(model)
    left = sum(_alive(wanted).values())
    if not left:
        return None
    return SilentFaultError(
        "gradients_not_cleared",
        f"{left} of {len(wanted)} trained weights still have a gradient after the step",
        "call zero_grad() after each optimizer step",
    )


def stuck_dropout(model: nn.Module) -> str | None:
    """The name of a dropout that is active after `model.eval()`; `model` is left as it was."""
    with _as_it_was(model):
        model.eval()
        return active_dropout(model)


def active_dropout(model: nn.Module) -> str | None:
    """The name of a module that drops values now."""
    return next(
        (name or "the model" for name, module in model.named_modules() if module.training and _drops(module)),
        None,
    )


def dropout_seen(model: nn.Module, run: Callable[[], Any]) -> str | None:
    """The name of a dropout that is active in a forward pass of `run`; `model` is left as it was."""
    seen: list[str | None] = []
    handle = model.register_forward_pre_hook(lambda module, _: seen.append(active_dropout(module)))
    with _as_it_was(model):
        model.eval()
        try:
            run()
        finally:
            handle.remove()
    return next(filter(None, seen), None)


def dropout_in_evaluation(name: str) -> SilentFaultError:
    """The fault of a dropout that is active while the model is evaluated."""
    return SilentFaultError(
        "dropout_in_evaluation",
        f"{name} drops values in evaluation",
        "call model.eval() before the evaluation, and let no module ignore it",
    )


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):  # noqa: SLF001
        return module.p > 0
    share = getattr(module, "attention_dropout", 0.0)
    return isinstance(share, float) and share > 0


def _is_lora(model: nn.Module) -> bool:
    return isinstance(model, PeftModel) and all(
        c.peft_type == PeftType.LORA for c in model.peft_config.values()
    )
