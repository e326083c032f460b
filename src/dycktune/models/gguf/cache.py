"""The cache of converted GGUF files: each content is converted once, and kept as safetensors."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree

from filelock import FileLock
from huggingface_hub import cached_assets_path
from huggingface_hub.constants import HF_ASSETS_CACHE

from dycktune.errors import ModelError
from dycktune.files import read_json, replacing
from dycktune.models.adapters import warn_once

RECORD_NAME = "gguf.json"
"""File beside the weights that says where they come from."""
_VERSION = 1
"""Of the conversion; a new number converts every file again."""
_SUFFIX = ".gguf"
_UNQUANTISED = frozenset({"F32", "F16", "BF16"})


def is_gguf(reference: str | Path) -> bool:
    """Whether `reference` names a GGUF file, which need not exist."""
    return str(reference).lower().endswith(_SUFFIX) and not Path(reference).is_dir()


def converted(path: Path) -> Path:
    """The folder with a GGUF file's model as safetensors, made at the first call for this content.

    It lies in the assets cache of huggingface_hub (`HF_ASSETS_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`). It is written
    whole or not at all, by one process at a time; others wait for it.

    Raises:
        ModelError: there is no such file, it cannot be converted or kept, or the package gguf is not installed.
    """
    digest = _digest_of(path)
    try:
        folder = _cache() / f"{digest}-{_VERSION}"
        if not folder.exists():
            _convert_once(path, folder)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be kept as safetensors in {HF_ASSETS_CACHE}: {error}; name another folder with the "
            "environment variable HF_ASSETS_CACHE"
        ) from error
    _say_source(path, folder)
    return folder


def card_in(path: Path) -> str | None:
    """The model card in a file that dycktune wrote, as JSON; None for other files. The weights are not read.

    Raises:
        ModelError: the file is not there or is no GGUF file.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    if find_spec("gguf") is None:
        return None
    from dycktune.models.gguf.header import CARD_KEY, read_header

    return read_header(path).metadata.get(CARD_KEY)


def _cache() -> Path:
    try:
        return cached_assets_path("dycktune", "gguf", "models")
    except ValueError as error:  # a file stands where the folder belongs
        raise NotADirectoryError(str(error)) from error


def _convert_once(path: Path, folder: Path) -> None:
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            _convert(path, folder)


def _convert(path: Path, folder: Path) -> None:
    if find_spec("gguf") is None:
        raise ModelError(
            f"{path} is a GGUF file; to read it, install the extra: pip install 'dycktune[gguf]'"
        )
    from dycktune.models.gguf.conversion import convert

    for left_by_a_killed_process in folder.parent.glob(f".{folder.name}-*"):
        rmtree(left_by_a_killed_process, ignore_errors=True)
    with replacing(folder) as partial:
        partial.mkdir()
        convert(path, partial)


def _digest_of(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    try:
        status = path.stat()
        return _digest(path.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


@cache
def _digest(path: Path, size: int, changed_ns: int) -> str:
    """SHA-256 of a file's content, computed once a process while its size and time stay the same."""
    del size, changed_ns
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say_source(path: Path, folder: Path) -> None:
    types = sorted(read_json(folder / RECORD_NAME)["types"].keys() - _UNQUANTISED)
    if types:
        warn_once(
            f"{path}: these are the weights of a dequantised file ({', '.join(types)}), kept in {folder}"
        )
