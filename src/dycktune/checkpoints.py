"""Checkpoints of a run: sealed with the hash of each file once they are whole, and checked before they are used."""

import json
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from dycktune.errors import RunError
from dycktune.files import read_json, sha256_of, sync, write_text

SEAL = "SHA256SUMS"
"""The last file of a checkpoint: the hashes of the others, as `sha256sum -c` reads them."""

STATE = "trainer_state.json"

MODEL_FILES = ("adapter_config.json", "adapter_model.safetensors", "dycktune.json")
"""The files of a checkpoint that make its adapter; the others are needed to go on with the training."""


class Checkpoint(NamedTuple):
    """A checkpoint of a run."""

    step: int
    path: Path


def checkpoints_in(folder: Path) -> list[Checkpoint]:
    """Every `checkpoint-N` of a folder, by step, whole or not."""
    steps = [(path.name.removeprefix("checkpoint-"), path) for path in folder.glob("checkpoint-*")]
    return sorted(Checkpoint(int(step), path) for step, path in steps if step.isdecimal())


def seal(folder: Path) -> None:
    """Write the hash of each file, once all files are on the disk; only then the checkpoint is whole."""
    sync(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    write_text(folder / SEAL, "".join(f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in files))


def is_complete(folder: Path) -> bool:
    """Whether all files of a checkpoint are there. Fast: their content is not compared with the seal."""
    try:
        state = read_json(folder / STATE)
        return isinstance(state, dict) and all((folder / name).is_file() for name in _sealed(folder))
    except RunError:
        return False


def damage(folder: Path, names: Collection[str] | None = None) -> str | None:
    """The fault of a checkpoint, in words; None if its files are as they were written.

    Args:
        folder: The checkpoint.
        names: The files that are needed. A person may have changed the JSON files among them, for example where the
            base is. None: all files, unchanged.
    """
    if not (folder / SEAL).is_file():
        return _damage_without_seal(folder, names)
    try:
        hashes = _sealed(folder)
    except RunError as error:
        return str(error)
    for name, sha256 in hashes.items():
        if names is not None and name not in names:
            continue
        if not (folder / name).is_file():
            return f"{name} is missing"
        edited = names is not None and name.endswith(".json") and _is_json(folder / name)
        if not edited and sha256_of(folder / name) != sha256:
            return f"{name} is not as it was written"
    return None


def _sealed(folder: Path) -> dict[str, str]:
    """The hashes of the seal, by file name; none where a checkpoint has no seal."""
    path = folder / SEAL
    if not path.is_file():
        return {}
    lines = [line.partition("  ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    if not lines or any(len(sha256) != 64 or not name for sha256, _, name in lines):
        raise RunError(f"{SEAL} is damaged")
    return {name: sha256 for sha256, _, name in lines}


def _damage_without_seal(folder: Path, names: Collection[str] | None) -> str | None:
    """The fault of a checkpoint of an older version, or of one that was killed just before its seal."""
    if not is_complete(folder):
        return "its saving was interrupted" if not (folder / STATE).is_file() else f"{STATE} is damaged"
    files = (
        folder.iterdir() if names is None else [folder / name for name in names if (folder / name).is_file()]
    )
    for path in sorted(files):
        if path.suffix == ".safetensors" and not _is_safetensors(path):
            return f"{path.name} is damaged"
        if path.suffix in {".pt", ".pth"} and not zipfile.is_zipfile(path):
            return f"{path.name} is damaged"
    return None


def _is_safetensors(path: Path) -> bool:
    """Whether the header can be read and the file has the size that it states."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return 8 + length + max(ends, default=0) == path.stat().st_size


def _is_json(path: Path) -> bool:
    try:
        read_json(path)
    except RunError:
        return False
    return True
