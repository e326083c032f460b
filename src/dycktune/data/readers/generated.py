"""Files that `dycktune generate` wrote, and their manifests: splits, changed files, missing and repeated shards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.data.readers.reference import Reference
from dycktune.errors import DataError, DycktuneError
from dycktune.files import read_json, sha256_of

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


def manifest_path(data: Path) -> Path:
    """The place of a data file's manifest."""
    return data.with_name(data.name + MANIFEST)


def generated_files(reference: Reference, data: Sequence[Path]) -> list[Path] | None:
    """The files of a folder that `generate` wrote, shards in their order; None where none of them has a manifest.

    Args:
        reference: The folder, and the split that is read.
        data: The data files in the folder.

    Raises:
        DataError: only some files have a manifest, a shard is missing or stands twice, there are several splits and
            none is named, or not the named one.
    """
    without = [path for path in data if not manifest_path(path).is_file()]
    if len(without) == len(data):
        return None
    if without:
        raise DataError(
            f"{without[0]} has no manifest, and other files in {reference.path} have one; move it to another folder, "
            "or name the files one by one"
        )
    found = [_read(path) for path in data]
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
        DataError: a shard is missing, or stands twice.
    """
    generated = [_read(path) for path in paths if manifest_path(path).is_file()]
    for whole in sorted({file.whole for file in generated}):
        shards = [file for file in generated if file.whole == whole]
        _refuse_repeated(shards)
        _refuse_missing(shards)
    ordered = [file.path for file in sorted(generated, key=lambda file: (file.whole, file.number, file.path))]
    return ordered + [path for path in paths if path not in ordered]


def require_unchanged(data: Path) -> None:
    """Refuse a file that is not the one its manifest describes; a file without a manifest is not checked.

    Raises:
        DataError: the file has changed or was cut off, or cannot be read.
    """
    place = manifest_path(data)
    if not place.is_file():
        return
    expected = _sha256_in(place)
    try:
        changed = expected is not None and expected != sha256_of(data)
    except OSError as error:
        raise DataError(f"{data} cannot be read: {error.strerror or error}; name a data file") from error
    if changed:
        raise DataError(
            f"{data} is not the file that {place.name} describes (sha256 {str(expected)[:12]}); generate it again, or "
            "remove the manifest if you changed the file on purpose"
        )


def _sha256_in(place: Path) -> Any:
    """The digest in a manifest; None where it has none."""
    try:
        stored = read_json(place)
    except DycktuneError as error:
        raise _no_manifest(place) from error
    return stored.get("sha256") if isinstance(stored, dict) else None


def _refuse_repeated(shards: Sequence[_Generated]) -> None:
    by_number: dict[int, _Generated] = {}
    for shard in shards:
        if (other := by_number.setdefault(shard.number, shard)) is not shard:
            raise DataError(
                f"{other.path} and {shard.path} are both shard {shard.number}/{shard.of}; remove one of them"
            )


def _refuse_missing(shards: Sequence[_Generated]) -> None:
    of = shards[0].of
    numbers = {shard.number for shard in shards}
    if missing := [f"{index}/{of}" for index in range(1, of + 1) if index not in numbers]:
        raise DataError(
            f"{shards[0].path.parent}: {len(missing)} of {of} shards are missing: {', '.join(missing)}; generate them, "
            "or name the files one by one"
        )


def _read(path: Path) -> _Generated:
    place = manifest_path(path)
    try:
        content: Any = read_json(place)
        index, of = map(int, (content["shard"] or "1/1").split("/"))
        whole = str([content["task"], content["version"], content["prompt_version"], content["spec"], of])
        return _Generated(path, content["split"], whole if of > 1 else str(path), index, of)
    except (DycktuneError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_manifest(place) from error


def _no_manifest(place: Path) -> DataError:
    return DataError(f"{place} is no manifest of this program; remove it, or generate the file again")
