"""An adapter on its base: every weight of the adapter finds its place, or the adapter is refused."""

from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from typing import NamedTuple

from peft import PeftModel, PeftModelForCausalLM, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers
from torch import Tensor
from transformers import PreTrainedModel

from dycktune.errors import ModelError
from dycktune.models.adapters import Adapter, warn_once

_OPTIONAL_PARTS = frozenset(
    {
        "base_model",  # PEFT
        "model",  # PEFT, Lightning
        "default",  # PEFT's name of the adapter, in a plain state_dict
        "module",  # DistributedDataParallel, DeepSpeed
        "_orig_mod",  # torch.compile
        "_fsdp_wrapped_module",  # FullyShardedDataParallel
        "_checkpoint_wrapped_module",  # activation checkpointing
        "language_model",  # the text part of a vision-language model
    }
)
"""Parts of a weight's name that wrappers add, and that do not tell one weight of a model from another."""


def attach(model: PreTrainedModel, adapter: Adapter) -> PeftModel:
    """Put an adapter on its base, in evaluation mode; `model` is changed in place.

    Raises:
        ModelError: a weight of the adapter has no place in the base or another size, or the base would need
            one that the adapter lacks.
    """
    tuned = _wrapped(model, adapter)
    required = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    # PEFT stores the embedding whole where the vocabulary has grown.
    allowed = required | get_peft_model_state_dict(tuned, save_embedding_layers=True)
    weights = _converted(tuned, adapter)
    renamed = _renamed(weights, allowed, _OPTIONAL_PARTS | {model.base_model_prefix})
    misfit = _other_names(renamed, required, allowed) or _other_sizes(renamed, allowed, _hidden_size(model))
    if misfit:
        raise _does_not_fit(adapter, model, misfit)
    _log_renaming(weights, renamed, adapter)
    set_peft_model_state_dict(tuned, renamed)
    return tuned.eval()


def _wrapped(model: PreTrainedModel, adapter: Adapter) -> PeftModel:
    """`model` under an adapter of the same shape, with PEFT's initial weights."""
    try:
        return PeftModelForCausalLM(model, adapter.config)
    except Exception as error:  # PEFT raises any kind on a configuration that does not fit
        own = next(iter(adapter.weights), "")
        numbered = (name for name, _ in model.named_parameters() if any(map(str.isdigit, name.split("."))))
        raise _does_not_fit(
            adapter,
            model,
            f"none of its {len(adapter.weights)} keys finds a place; the adapter has {own!r}, the base "
            f"{next(numbered, '')!r} ({_first_sentence(error)})",
        ) from error


def _converted(tuned: PeftModel, adapter: Adapter) -> dict[str, Tensor]:
    """The adapter's weights under today's names of a model whose layers transformers has renamed or fused."""
    try:
        return convert_peft_adapter_state_dict_for_transformers(tuned, adapter.config, adapter.weights)
    except Exception as error:  # the same
        raise ModelError(
            f"{adapter.folder} cannot be converted to the layers of its base: {_first_sentence(error)}"
        ) from error


def _renamed(
    weights: dict[str, Tensor], allowed: Mapping[str, Tensor], optional: frozenset[str]
) -> dict[str, Tensor]:
    """`weights` by the base's names, if they differ from these in `optional` parts only; else as they are."""
    places = _by_core(allowed, optional)
    renamed = {
        name if name in allowed else places.get(_core(name, optional), name): tensor
        for name, tensor in weights.items()
    }
    return renamed if len(renamed) == len(weights) and renamed.keys() <= allowed.keys() else weights


def _by_core(names: Mapping[str, Tensor], optional: frozenset[str]) -> dict[str, str]:
    """The names by their core, but for those that share one."""
    cores = {name: _core(name, optional) for name in names}
    counts = Counter(cores.values())
    return {core: name for name, core in cores.items() if counts[core] == 1}


def _core(name: str, optional: frozenset[str]) -> str:
    """`name` without the parts that wrappers add, and without all that stands before PEFT's own prefix."""
    own = name[max(name.find("base_model.model."), 0) :]
    return ".".join(part for part in own.split(".") if part not in optional)


def _log_renaming(weights: Mapping[str, Tensor], renamed: Mapping[str, Tensor], adapter: Adapter) -> None:
    changed = [(old, new) for old, new in zip(weights, renamed, strict=True) if old != new]
    if changed:
        old, new = changed[0]
        warn_once(
            f"{adapter.folder}: {len(changed)} of {len(weights)} keys are renamed to fit the base, "
            f"such as {old} to {new}"
        )


def _other_names(
    weights: Mapping[str, Tensor], required: Mapping[str, Tensor], allowed: Mapping[str, Tensor]
) -> str | None:
    """Which names of the adapter and the base are not the same; None if all are."""
    unplaced = [name for name in weights if name not in allowed]
    missing = [name for name in required if name not in weights]
    if not unplaced and not missing:
        return None
    return (
        f"{len(unplaced)} of the adapter's {len(weights)} keys find no place, and {len(missing)} of the "
        f"{len(required)} keys that the base would have are missing; the adapter has "
        f"{next(iter(unplaced or weights), '')!r}, the base {next(iter(missing or allowed))!r}"
    )


class _Size(NamedTuple):
    """A dimension in which a tensor of the adapter differs from what the base takes."""

    name: str
    own: int
    wanted: int


def _other_sizes(weights: Mapping[str, Tensor], allowed: Mapping[str, Tensor], hidden: int) -> str | None:
    """Which tensors of the adapter have another size than the base takes; None if all are the same.

    Of several sizes the hidden size is named, because the others follow from it.
    """
    sizes = [
        _Size(name, own, wanted)
        for name, tensor in weights.items()
        for own, wanted in zip_longest(tensor.shape, allowed[name].shape, fillvalue=1)
        if own != wanted
    ]
    if not sizes:
        return None
    name, own, wanted = min(sizes, key=lambda size: size.wanted != hidden)
    return (
        f"{'hidden size' if wanted == hidden else 'size'} {own} against {wanted} of the base, in "
        f"{len({size.name for size in sizes})} of {len(weights)} tensors, such as {name}"
    )


def _hidden_size(model: PreTrainedModel) -> int:
    return model.get_input_embeddings().weight.shape[1]  # pyright: ignore


def _does_not_fit(adapter: Adapter, model: PreTrainedModel, why: str) -> ModelError:
    return ModelError(f"{adapter.folder} does not fit {model.name_or_path}: {why}")


def _first_sentence(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".") or type(error).__name__
