"""Files that `dycktune generate` wrote: their manifests tell the split, and whether all shards are there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.data.readers.reference import Reference
from dycktune.errors import DataError, DycktuneError
from dycktune.files import read_json

MANIFEST = ".manifest.json"
"""What the name of a manifest adds to that of its file."""


class _Generated(NamedTuple):
    """A generated file, and its manifest."""

    path: Path
    split: str
    whole: str
    """The same for all shards of one data set."""
    number: int
    of: int


def generated_files(reference: Reference) -> list[Path] | None:
    """The files of a folder that `generate` wrote, shards in their order; None where a file has no manifest.

    Raises:
        DataError: a shard is missing, there are several splits and none is named, or not the named one.
    """
    paths = sorted(path for path in reference.path.iterdir() if path.is_file() and path.name[0] != ".")
    files = [path for path in paths if not path.name.endswith(MANIFEST)]
    if not files or not all(_manifest_path(path).is_file() for path in files):
        return None
    found = [_read(path) for path in files]
    splits = {file.split for file in found}
    split = reference.part or min(splits)
    if split not in splits:
        raise DataError(f"{reference.path} has no split {split!r}; choose one of {', '.join(sorted(splits))}")
    if reference.part is None and len(splits) > 1:
        raise DataError(
            f"{reference.path} has the splits {', '.join(sorted(splits))}; name one: {reference.path}:{split}"
        )
    return in_order([file.path for file in found if file.split == split])


def in_order(paths: Sequence[Path]) -> list[Path]:
    """The files with the shards of each data set in their order; files without manifests come last.

    Raises:
        DataError: a shard is missing.
    """
    generated = [_read(path) for path in paths if _manifest_path(path).is_file()]
    for whole in {file.whole for file in generated}:
        _refuse_missing([file for file in generated if file.whole == whole])
    ordered = [file.path for file in sorted(generated, key=lambda file: (file.whole, file.number, file.path))]
    return ordered + [path for path in paths if path not in ordered]


def _refuse_missing(shards: Sequence[_Generated]) -> None:
    of = shards[0].of
    numbers = {shard.number for shard in shards}
    if missing := [f"{index}/{of}" for index in range(1, of + 1) if index not in numbers]:
        raise DataError(
            f"{shards[0].path.parent}: {len(missing)} of {of} shards are missing: {', '.join(missing)}; generate them, "
            "or name the files one by one"
        )


def _manifest_path(path: Path) -> Path:
    return path.with_name(path.name + MANIFEST)


def _read(path: Path) -> _Generated:
    place = _manifest_path(path)
    try:
        content: Any = read_json(place)
        index, of = map(int, (content["shard"] or "1/1").split("/"))
        whole = str([content["task"], content["version"], content["prompt_version"], content["spec"], of])
        return _Generated(path, content["split"], whole if of > 1 else str(path), index, of)
    except (DycktuneError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{place} is no manifest of this program; remove it, or generate the file again"
        ) from error
