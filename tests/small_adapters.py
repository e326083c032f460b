"""Small LoRA adapters with noise in them, and ways to spoil their folders."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from dycktune.models.loading import load_base
from small_models import make_model, make_tokenizer


def save_base(folder: Path, *, dtype: torch.dtype = torch.float32, **changes: object) -> Path:
    """A random model of two layers with its tokenizer."""
    tokenizer = make_tokenizer()
    make_model(tokenizer, **changes).to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, *, std: float = 0.3, **changes: object) -> Path:
    """An adapter of `base` whose lora_B are noise of this deviation."""
    model, _ = load_base(str(base))
    save_adapter_of(model, folder, std=std, **changes)
    return folder


def save_adapter_of(
    model: PreTrainedModel, folder: Path, *, std: float = 0.3, **changes: object
) -> PeftModel:
    """As `save_adapter`, for a model at hand, which gets the adapter."""
    settings = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    tuned = get_peft_model(model, LoraConfig(**(settings | changes)))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            parameter.data += std * torch.randn(parameter.shape, generator=generator)
    tuned.save_pretrained(folder)
    return tuned


def change_weights(folder: Path, change: Callable[[str, Tensor], tuple[str, Tensor] | None]) -> Path:
    """Replace each weight by what `change` makes of its name and value; None drops it."""
    path = folder / "adapter_model.safetensors"
    rows = [change(name, tensor) for name, tensor in load_file(path).items()]
    save_file({row[0]: row[1].contiguous() for row in rows if row is not None}, path)
    return folder


def change_config(folder: Path, **changes: object) -> Path:
    """Set fields of adapter_config.json."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder
