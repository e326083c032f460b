"""Model references and the only place where weights are loaded.

Nothing that can run code is loaded: safetensors only, and a repository's own code only where the user says so.
"""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from dycktune.errors import DycktuneError, ModelError
from dycktune.models.adapters import (
    Adapter,
    NotFiniteError,
    base_not_found,
    base_of,
    is_adapter,
    read_adapter,
)
from dycktune.models.attaching import attach
from dycktune.models.card import ModelCard
from dycktune.models.gguf.cache import card_in, converted, is_gguf
from dycktune.models.vocabulary import adopt_tokenizer, holds_tokenizer, resize_embedding
from dycktune.remote import Store, is_remote, local_copy

BUILTIN = "builtin:tiny"
_BUILTIN_FOLDER = Path(__file__).parent / "tiny" / "weights"

_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Weights as older models have them."""
_MOST_PARTS = 10_000
"""Layers, attention heads or experts of a model."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready to be asked or tuned."""

    model: PreTrainedModel
    """For an adapter the PEFT model around it, which answers to the same calls."""
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard | None
    """How it was trained to be asked; None for a model dycktune did not make."""
    reference: str
    """What the user called it."""
    stored_dtype: torch.dtype | None = None
    """Of the weights where they are stored, for an adapter those of its base; None where that is not known."""


class AdaptedModel(NamedTuple):
    """An adapter on its base."""

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    stored_dtype: torch.dtype
    """Of the base's weights where they are stored."""


def load(
    reference: str | Path, *, base: str | None = None, dtype: Dtype = "auto", device: str | None = None
) -> LoadedModel:
    """Load any model reference for inference.

    Args:
        reference: A run folder, a checkpoint, adapter or merged folder, a Hub id, a `.gguf` file, or `builtin:tiny`;
            a URL of a folder or file in an object store too, which is copied to this machine.
        base: What an adapter is put on, in place of the base it records.
        dtype: Of the weights; `auto` is float32 on a CPU and the stored one elsewhere.
        device: A torch device; the first accelerator when None, else the CPU.

    Raises:
        ModelError: the reference names nothing that can be loaded safely.
        NotFiniteError: a weight is NaN or infinite.
    """
    reference = str(reference)
    place = device or default_device()
    folder = _folder_of(reference)
    chosen: Dtype = "float32" if dtype == "auto" and place == "cpu" else dtype
    if folder is not None and is_adapter(folder):
        model, tokenizer, stored = load_adapter(read_adapter(folder), base=base, dtype=chosen)
    else:
        model, tokenizer, stored = _load_whole(reference if folder is None else str(folder), dtype=chosen)
    card = ModelCard.read(folder) if folder is not None else None
    model.eval().to(place)  # pyright: ignore[reportArgumentType]
    _require_finite(model, reference)
    return LoadedModel(
        model=cast("PreTrainedModel", model),
        tokenizer=tokenizer,
        card=card,
        reference=reference,
        stored_dtype=stored,
    )


def _require_finite(model: torch.nn.Module, reference: str) -> None:
    """A model with NaN answers something all the same: the token with the lowest id, again and again."""
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise NotFiniteError(
            f"{reference!r} is not finite: {len(broken)} of its tensors hold NaN or infinity, such as {broken[0]}; "
            "take another model"
        )


def load_base(
    reference: str,
    *,
    dtype: Dtype = "auto",
    quantization: Literal["none", "nf4"] = "none",
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a whole model, not an adapter, with its tokenizer.

    Args:
        reference: `builtin:tiny`, a folder, a `.gguf` file, or a Hub id.
        dtype: Of the weights; `auto` keeps the stored one.
        quantization: `nf4` loads in 4 bits through bitsandbytes, computing in bfloat16.
        trust_remote_code: Run the repository's own model code.

    Raises:
        ModelError: there is no such model, it has no safetensors weights, or some of its weights are missing.
    """
    transformers_logging.disable_progress_bar()
    folder = _folder_of(reference)
    if folder is not None and is_adapter(folder):
        raise ModelError(
            f"{reference!r} is an adapter, not a base; merge it first: dycktune merge {folder} --out DIR"
        )
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "trust_remote_code": trust_remote_code,
    }
    if quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    if folder is not None:
        _refuse_pickled(folder)
    tokenizer = load_tokenizer(reference, trust_remote_code=trust_remote_code)
    if folder is not None:
        _config_of(reference, trust_remote_code=trust_remote_code)
    with _one_line_errors(f"{reference!r} cannot be loaded as a model"):
        model, loaded = cast(
            "tuple[PreTrainedModel, dict[str, Any]]",
            AutoModelForCausalLM.from_pretrained(
                str(folder or reference), output_loading_info=True, **options
            ),
        )
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(
            f"{reference!r} lacks {len(missing)} of its weights, such as {missing[0]}, which would be random; "
            "download or save the base again, whole"
        )
    # PEFT records these names as the adapter's base, in its configuration and in its README.
    model.name_or_path = model.config._name_or_path = recorded_name(reference)  # noqa: SLF001
    return model, tokenizer


def load_skeleton(reference: str, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """A whole model without its weights, on the meta device: shapes only.

    Raises:
        ModelError: there is no such model.
    """
    return skeleton(
        _config_of(reference, trust_remote_code=trust_remote_code), trust_remote_code=trust_remote_code
    )


def skeleton(config: PreTrainedConfig, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """As `load_skeleton`, from a model's configuration."""
    name = config._name_or_path  # noqa: SLF001
    with _one_line_errors(f"{name!r} cannot be loaded as a model"), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)


def load_tokenizer(reference: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of any model reference. Raises ModelError where there is none."""
    folder = _folder_of(reference)
    with _one_line_errors(f"{reference!r} has no tokenizer that can be loaded"):
        return AutoTokenizer.from_pretrained(str(folder or reference), trust_remote_code=trust_remote_code)


def read_card(reference: str) -> ModelCard | None:
    """The card of any model reference; None for a model without one. Raises ModelError as `load` does."""
    reference = _here(reference)
    if is_gguf(reference):
        stored = card_in(Path(reference))
        return None if stored is None else ModelCard.parse(stored, source=Path(reference))
    folder = _folder_of(reference)
    return None if folder is None else ModelCard.read(folder)


def load_adapter(adapter: Adapter, *, base: str | None = None, dtype: Dtype = "auto") -> AdaptedModel:
    """Load an adapter on its base, with the tokenizer it was trained with.

    Args:
        adapter: As read by `read_adapter`.
        base: What the adapter is put on, in place of the base it records.
        dtype: Of the base; `auto` keeps the stored one.

    Raises:
        ModelError: the base or the adapter's tokenizer cannot be loaded, or the adapter does not fit its base.
    """
    reference = base_of(adapter, base)
    try:
        model, tokenizer, stored = _load_whole(reference, dtype=dtype)
    except ModelError as error:
        if base or Path(reference).exists():
            raise
        raise base_not_found(adapter, error.__cause__) from error
    own = load_tokenizer(str(adapter.folder)) if holds_tokenizer(adapter.folder) else None
    resize_embedding(model, tokenizer, adapter, own)
    used = tokenizer if own is None else adopt_tokenizer(own, tokenizer, adapter.folder)
    return AdaptedModel(attach(model, adapter), used, stored)


def default_device() -> str:
    """The first accelerator, or `cpu`."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return str(accelerator) if accelerator is not None else "cpu"


class _WholeModel(NamedTuple):
    """A model that is no adapter."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stored_dtype: torch.dtype


def _load_whole(reference: str, *, dtype: Dtype) -> _WholeModel:
    model, tokenizer = load_base(reference)
    stored = model.dtype
    if dtype != "auto":
        model.to(getattr(torch, dtype))
    return _WholeModel(model, tokenizer, stored)


def _folder_of(reference: str) -> Path | None:
    """The folder with weights that `reference` names; None for a Hub id.

    Raises:
        ModelError: it looks like a path and is none, or is a run without a merged model, or a GGUF file that cannot
            be converted.
    """
    if reference == BUILTIN:
        return _BUILTIN_FOLDER
    reference = _here(reference)
    if reference.startswith("builtin:"):
        raise ModelError(f"unknown built-in model {reference!r}; there is {BUILTIN}")
    path = Path(reference)
    if is_gguf(path):
        return converted(path)
    if not path.exists():
        if not _is_hub_id(reference):
            raise ModelError(
                f"{reference!r} is no folder, no .gguf file, no Hub id (owner/name) and not {BUILTIN}"
            )
        return None
    return _weights_folder(path)


def _here(reference: str) -> str:
    """The reference; for a model in an object store that of its copy on this machine."""
    if not is_remote(reference):
        return reference
    if reference.lower().endswith(".gguf"):
        return str(local_copy(reference))
    store = Store(reference)
    if store.has("merged/config.json"):
        return str(local_copy(f"{store.url}/merged"))
    if store.has("config.toml"):
        raise ModelError(
            f"run {reference} has no merged model yet; copy it to this machine, and run dycktune select"
        )
    return str(local_copy(reference))


def _is_hub_id(reference: str) -> bool:
    """Whether `reference` can be a Hub id; a path of Windows, for example, is none."""
    try:
        validate_repo_id(reference)
    except HFValidationError:
        return False
    return "/" in reference


def _weights_folder(path: Path) -> Path:
    for folder in (path / "merged", path):
        if (folder / "config.json").exists() or is_adapter(folder):
            return folder
    if (path / "checkpoints").exists():
        raise ModelError(f"run {path} has no merged model yet; make one with: dycktune select {path}")
    found = next(path.glob("*.gguf"), None)
    hint = f"; name the file instead: {found}" if found else ""
    raise ModelError(f"{path} holds neither a model (config.json) nor an adapter (adapter_config.json){hint}")


def recorded_name(reference: str) -> str:
    """The name of a base as an adapter records it; for a GGUF file a path that cannot be taken for a Hub id."""
    return os.path.join(os.curdir, reference) if is_gguf(reference) else reference  # noqa: PTH118


def _config_of(reference: str, *, trust_remote_code: bool) -> PreTrainedConfig:
    """The configuration of a model. Raises ModelError for sizes that no model has: it would be built all the same."""
    folder = _folder_of(reference)
    with _one_line_errors(f"{reference!r} cannot be loaded as a model"):
        config = AutoConfig.from_pretrained(str(folder or reference), trust_remote_code=trust_remote_code)
        sizes = config.get_text_config().to_dict()
    for name, size in sizes.items():
        counts = any(part in name for part in ("layer", "head", "expert"))
        if counts and isinstance(size, int) and size > _MOST_PARTS:
            raise ModelError(
                f"{reference!r} cannot be loaded as a model: config.json sets {name} to {size}, and {_MOST_PARTS} is "
                "the most; correct the file"
            )
    return config


def _refuse_pickled(folder: Path) -> None:
    """Refuse weights that only a pickle holds, with the command that converts them."""
    pickled = next((folder / name for name in _PICKLED if (folder / name).is_file()), None)
    if pickled is None or any(folder.glob("*.safetensors")):
        return
    place = json.dumps(str(folder))
    program = (
        "from transformers import AutoModelForCausalLM as M; "
        f"M.from_pretrained({place}, use_safetensors=False, weights_only=True).save_pretrained({place})"
    )
    raise ModelError(
        f"{pickled} is a pickle, which can run code and is not loaded; convert it, without running its code, with: "
        f"python -c {shlex.quote(program)}"
    )


@contextmanager
def _one_line_errors(fault: str) -> Iterator[None]:
    """Turn the errors of the libraries into one line: they raise any kind on a folder that they did not foresee."""
    try:
        yield
    except DycktuneError:
        raise
    except Exception as error:
        raise ModelError(f"{fault}: {_first_line(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of tokenizers, which is written in Rust
            raise
        raise ModelError(f"{fault}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
