"""`dycktune export`."""

import json as jsonlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dycktune.console.terminal import Json
from dycktune.errors import ConfigError, ModelError
from dycktune.runs import RunFolder

if TYPE_CHECKING:
    from dycktune.models.gguf.export import GgufFile, Kind
    from dycktune.outputs import ExportOutput


def export(
    model: str,
    kind: Literal["f32", "f16", "bf16", "q8_0"] = "q8_0",
    /,
    *,
    gguf: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Write a model as one GGUF file for llama.cpp, Ollama, LM Studio and others.

    The file holds the merged weights, the tokenizer, the chat template and the stop tokens. Architectures: llama,
    mistral, qwen2, qwen3, and the built-in base.

    Example: dycktune export runs/quickstart --gguf q8_0

    Parameters
    ----------
    model
        A run, whose merged model is written, or a merged folder, a Hub id, a .gguf file, or builtin:tiny.
    kind
        Type of the weights, written after --gguf. f32 loses nothing, q8_0 takes about a byte for each weight.
    gguf
        Write GGUF, the one format there is so far.
    out
        The file; in the run folder if left out, as RUN-q8_0.gguf.
    """
    if not gguf:
        raise ConfigError("name the format: dycktune export MODEL --gguf q8_0")
    place = out or _place(model, kind)
    if place.is_dir():
        raise ConfigError(f"{place} is a folder; name a file with --out")
    if not place.parent.is_dir():
        raise ConfigError(f"there is no folder {place.parent}; make it, or name another file with --out")
    if find_spec("gguf") is None:
        raise ModelError("to write GGUF, install the extra: pip install 'dycktune[gguf]'")
    from dycktune.models.gguf.export import export as write

    written = write(model, place, kind=kind)
    if json:
        print(jsonlib.dumps(_output(written, kind)))
        return
    print(f"{written.path}: {kind}, architecture {written.architecture}, {written.size / 1e6:.1f} MB")
    print(f"run it: llama-server -m {written.path}")


def _output(written: "GgufFile", kind: "Kind") -> "ExportOutput":
    return {
        "file": str(written.path),
        "kind": kind,
        "architecture": written.architecture,
        "size": written.size,
    }


def _place(model: str, kind: str) -> Path:
    """In the folder of a run."""
    run = RunFolder(Path(model))
    if not run.config.is_file():
        raise ConfigError(f"{model} is no run folder; name the file to write with --out")
    return run.path / f"{run.path.resolve().name}-{kind}.gguf"
