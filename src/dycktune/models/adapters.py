"""Adapter folders: their configuration and weights, read and checked before any base is loaded."""

import json
import logging
import shlex
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dycktune.errors import ModelError
from dycktune.tasks.base import shortened

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PICKLED_NAME = "adapter_model.bin"
_LEAST_RANK = 256
"""Ranks up to this are harmless whatever the weights are."""


class NotFiniteError(ModelError):
    """Adapter weights with NaN or infinity, as a training that diverged leaves them."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter, or another kind that PEFT can merge, as its folder holds it."""

    folder: Path
    config: PeftConfig
    weights: dict[str, Tensor]
    """By the names in the file; all finite."""

    @property
    def base(self) -> str | None:
        """Reference of the base it was trained on, if the configuration records one."""
        return self.config.base_model_name_or_path or None  # pyright: ignore[reportAttributeAccessIssue]


def is_adapter(folder: Path) -> bool:
    """Whether `folder` claims to hold an adapter."""
    return (folder / CONFIG_NAME).exists()


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter folder.

    Raises:
        ModelError: it is no adapter folder, is damaged, or holds a kind that cannot be merged into its base.
        NotFiniteError: a weight is NaN or infinite.
    """
    adapter = Adapter(folder=folder, config=_read_config(folder), weights=_read_weights(folder))
    _check_ranks(adapter)
    if _is_zero(adapter.weights):
        warn_once(f"{folder}: the adapter changes nothing, as every lora_B is zero")
    return adapter


def base_of(adapter: Adapter, base: str | None = None) -> str:
    """The reference of the base to put an adapter on: `base`, else the recorded one.

    Raises:
        ModelError: there is neither, or it is a 4-bit copy, whose rounded weights are not those of the original.
    """
    reference = base or adapter.base
    if reference is None:
        raise ModelError(f"{adapter.folder / CONFIG_NAME} records no base; {_remedy(adapter)}")
    if _is_4bit(reference):
        raise ModelError(
            f"{adapter.folder}: the base '{reference}' is a 4-bit copy; the 16-bit original is needed, so "
            f"{_remedy(adapter)}"
        )
    return reference


def base_not_found(adapter: Adapter, cause: BaseException | None) -> ModelError:
    """The error for a recorded base that cannot be loaded here, such as a path of another machine."""
    why = f" ({str(cause).strip().partition(chr(10))[0]})" if isinstance(cause, OSError) else ""
    return ModelError(
        f"{adapter.folder} records the base '{adapter.base}', which is not found here{why}; {_remedy(adapter)}"
    )


def _remedy(adapter: Adapter) -> str:
    return f"name the base with --base: dycktune merge {adapter.folder} --base MODEL --out DIR"


def _is_4bit(reference: str) -> bool:
    try:
        config = json.loads((Path(reference) / "config.json").read_text(encoding="utf-8"))
        return bool((config.get("quantization_config") or {}).get("load_in_4bit"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return "bnb-4bit" in reference.lower()


@cache
def warn_once(message: str) -> None:
    """Log a warning, which appears on stderr unless the caller configures logging; each text once a process."""
    logging.getLogger("dycktune").warning(message)


def _read_config(folder: Path) -> PeftConfig:
    path = folder / CONFIG_NAME
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        kind = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(stated["peft_type"])]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{folder} is no adapter folder: {CONFIG_NAME} is missing or damaged") from error
    known = _without_unknown(path, stated, {field.name for field in fields(kind)})
    try:
        config = kind.from_peft_type(**kind.check_kwargs(**known))
    except Exception as error:  # PEFT raises any kind on values that it did not foresee
        reason = str(error) or type(error).__name__
        raise ModelError(f"{path} is not a configuration that PEFT accepts: {reason}") from error
    if getattr(config, "megatron_config", None):
        raise ModelError(
            f"{path} sets megatron_config, with which PEFT imports a module that the file names; remove the field"
        )
    if config.is_prompt_learning:
        raise ModelError(f"{folder} is a {stated['peft_type']} adapter, which cannot be merged into weights")
    base = config.base_model_name_or_path
    if not isinstance(base, str | None):
        raise ModelError(f"{path}: base_model_name_or_path is {shortened(repr(base))}, no text; correct it")
    config.inference_mode = True
    return config


def _without_unknown(path: Path, stated: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """`stated` without the fields of a newer PEFT, which change nothing while they are empty."""
    unknown = sorted(name for name in stated.keys() - known if stated[name])
    if unknown:
        raise ModelError(
            f"{path} sets {', '.join(unknown)}, which PEFT {version('peft')} does not know; update it: "
            "pip install -U peft"
        )
    return {name: value for name, value in stated.items() if name in known}


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS_NAME
    if not path.exists():
        raise ModelError(f"{folder} holds no {WEIGHTS_NAME}; {_pickled_remedy(folder)}")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    broken = [name for name, tensor in weights.items() if not tensor.float().isfinite().all()]
    if broken:
        raise NotFiniteError(
            f"{path} is not finite: {len(broken)} of {len(weights)} tensors hold NaN or infinity, such as "
            f"{broken[0]}"
        )
    return weights


def _pickled_remedy(folder: Path) -> str:
    """The command that converts pickled weights, where there are some."""
    pickled = folder / PICKLED_NAME
    if not pickled.is_file():
        return "save the adapter again, as safetensors"
    read, written = json.dumps(str(pickled)), json.dumps(str(folder / WEIGHTS_NAME))
    program = (
        f"import torch, safetensors.torch as s; weights = torch.load({read}, weights_only=True); "
        f"s.save_file({{k: v.contiguous() for k, v in weights.items()}}, {written})"
    )
    return (
        f"{PICKLED_NAME} is a pickle, which can run code and is not loaded; convert it, without running its code, "
        f"with: python -c {shlex.quote(program)}"
    )


def _check_ranks(adapter: Adapter) -> None:
    """Refuse ranks larger than every weight: PEFT would reserve memory for them before it looks at the weights."""
    largest = max((size for tensor in adapter.weights.values() for size in tensor.shape), default=0)
    config: Any = adapter.config
    pattern = getattr(config, "rank_pattern", None) or {}
    for rank in (getattr(config, "r", 0), *(pattern.values() if isinstance(pattern, dict) else ())):
        if isinstance(rank, int) and rank > max(largest, _LEAST_RANK):
            raise ModelError(
                f"{adapter.folder / CONFIG_NAME} states a rank of {rank}, and no weight is so large; take the folder "
                "as it was saved"
            )


def _is_zero(weights: dict[str, Tensor]) -> bool:
    """Whether the products of all pairs of LoRA factors are zero, and there is nothing else."""
    changing = [tensor for name, tensor in weights.items() if "lora_A" not in name]
    return (
        bool(changing)
        and all("lora_B" in name or "lora_A" in name for name in weights)
        and not any(tensor.any() for tensor in changing)
    )
