"""TensorBoard event files: just enough of TFRecord and of the Event message to read scalars.

A record is length (u64), its checksum (u32), the data, its checksum (u32), little endian. Field numbers are those of
TensorFlow's event.proto and summary.proto. Checksums are not verified: a damaged log ends where it stops making sense.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dycktune.diagnosis.readers.reading import Reading
from dycktune.diagnosis.readers.steps import Numbers
from dycktune.diagnosis.readers.words import EVAL_WORDS, TRAIN_WORDS, words
from dycktune.errors import RunError

MARK = "tfevents"
MAX_FILES = 500
"""Event files of a run that are read: a run is resumed a few times, not hundreds."""

MAX_BYTES = 512 * 2**20
"""Largest event file that is read; images and histograms make them large, scalars do not."""

EVENT_TIME, EVENT_STEP, EVENT_SUMMARY, SUMMARY_VALUE = 1, 2, 5, 1
VALUE_TAG, VALUE_SIMPLE, VALUE_TENSOR = 1, 2, 8
TENSOR_TYPE, TENSOR_CONTENT, TENSOR_FLOATS, TENSOR_DOUBLES = 1, 4, 5, 6
DOUBLE = 2

Field = tuple[int, int | bytes]


class Scalar(NamedTuple):
    """One point of one curve."""

    time: float
    """Seconds since 1970; 0 where the file does not say."""

    step: int
    tag: str
    value: float


@dataclass(frozen=True)
class _Writer:
    """The points of one folder, which one process wrote."""

    folder: str
    """Relative to the run, without names that every folder has."""

    points: list[Scalar]

    @property
    def start(self) -> float:
        return min(point.time for point in self.points)

    @property
    def end(self) -> float:
        return max(point.time for point in self.points)


def is_event_file(path: Path) -> bool:
    """Whether the file holds TensorBoard records: each begins with a length, and the first names its version."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return len(head) > 24 and 0 < struct.unpack_from("<Q", head)[0] < 4096 and b"brain.Event:" in head


def is_named_so(path: Path) -> bool:
    """Whether the name is one that TensorBoard's writers give."""
    return MARK in path.name


def files(folder: Path) -> list[Path]:
    """All event files in a folder and the folders below it, by name."""
    return sorted(path for path in folder.rglob(f"*{MARK}*") if path.is_file())[:MAX_FILES]


def read(path: Path) -> Reading:
    """Join every event file of a run: those of a resume one after another, those written side by side by step.

    Raises:
        RunError: a single file that is not an event file, or no file with a scalar.
    """
    found = files(path) if path.is_dir() else [path]
    writers = _writers(path, found)
    if not writers:
        raise RunError(f"{path}: no TensorBoard event file with a scalar")
    groups = _groups(writers)
    rows = [row for group in groups for row in _rows(group)]
    return Reading(
        format="TensorBoard event files",
        rows=rows,
        step_source="step from the events",
        remarks=_remarks(found, writers, groups),
    )


def _writers(path: Path, found: list[Path]) -> list[_Writer]:
    """The points of each file, earliest first."""
    writers = []
    for file in found:
        points = [scalar for scalar in _scalars(file, is_alone=len(found) == 1) if scalar.tag]
        if points:
            folder = file.parent.relative_to(path).as_posix() if path.is_dir() else ""
            writers.append(_Writer(folder, points))
    return sorted(writers, key=lambda writer: writer.start)


def _groups(writers: list[_Writer]) -> list[list[_Writer]]:
    """Writers that wrote at the same time belong together; the next group is a resume."""
    groups: list[list[_Writer]] = []
    end = -1.0
    for writer in writers:
        if groups and (writer.start <= end or not _share_tags(groups[-1], writer)):
            groups[-1].append(writer)
        else:
            groups.append([writer])
        end = max(end, writer.end)
    return groups


def _share_tags(group: list[_Writer], writer: _Writer) -> bool:
    """Whether a writer goes on with curves of the group; a file of other curves only adds to it."""
    known = {_named(old, point.tag) for old in group for point in old.points}
    return any(_named(writer, point.tag) in known for point in writer.points)


def _rows(group: list[_Writer]) -> list[Numbers]:
    """Points that were written together, by step; a curve that goes back starts again."""
    points = [point._replace(tag=_named(writer, point.tag)) for writer in group for point in writer.points]
    if len(group) > 1:
        points.sort(key=lambda point: point.step)
    rows: list[Numbers] = []
    for point in points:
        if not rows or rows[-1]["step"] != point.step or point.tag in rows[-1]:
            rows.append({"step": float(point.step)})
        rows[-1][point.tag] = point.value
    return rows


def _named(writer: _Writer, tag: str) -> str:
    """A tag with the data its folder is named after: `add_scalars` and Keras write a folder for each curve."""
    place = words(Path(writer.folder).name)
    split = next((word for word in place if word in EVAL_WORDS or word in TRAIN_WORDS), "")
    is_told = not split or {*EVAL_WORDS, *TRAIN_WORDS} & set(words(tag)) or len(place) > 3
    return tag if is_told else f"{split}_{tag}"


def _remarks(found: list[Path], writers: list[_Writer], groups: list[list[_Writer]]) -> list[str]:
    remarks = []
    if len(groups) > 1:
        remarks.append(
            f"{len(groups)} starts of the run were joined in the order of their times; where steps overlap, the later "
            "start counts"
        )
    empty = len(found) - len(writers)
    if empty:
        remarks.append(f"{empty} event file{'s hold' if empty > 1 else ' holds'} no scalar: passed over")
    return remarks


def _scalars(path: Path, *, is_alone: bool) -> Iterator[Scalar]:
    for record in _records(path, is_alone=is_alone):
        try:
            fields = list(_fields(record))
            step = next((v for n, v in fields if n == EVENT_STEP and isinstance(v, int)), 0)
            time = next(
                (v for n, v in fields if n == EVENT_TIME and isinstance(v, bytes) and len(v) == 8), bytes(8)
            )
            for summary in (v for n, v in fields if n == EVENT_SUMMARY and isinstance(v, bytes)):
                for tag, value in _summary(summary):
                    yield Scalar(struct.unpack("<d", time)[0], step, tag, value)
        except (IndexError, struct.error, UnicodeDecodeError):
            return


def _records(path: Path, *, is_alone: bool) -> Iterator[bytes]:
    """The records of a file; one of several files that is no event file is passed over."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):
            break  # a run still going may have half a record at the end
        yield data[at + 12 : at + 12 + length]
        at += 16 + length
    if not at and is_alone:
        raise RunError(f"{path}: not a TensorBoard event file")


def _summary(summary: bytes) -> Iterator[tuple[str, float]]:
    for number, value in _fields(summary):
        if number != SUMMARY_VALUE or not isinstance(value, bytes):
            continue
        fields = dict(_fields(value))
        tag, scalar = fields.get(VALUE_TAG), _scalar(fields)
        if isinstance(tag, bytes) and scalar is not None:
            yield tag.decode(), scalar


def _scalar(fields: dict[int, int | bytes]) -> float | None:
    simple, tensor = fields.get(VALUE_SIMPLE), fields.get(VALUE_TENSOR)
    if isinstance(simple, bytes) and len(simple) == 4:
        return struct.unpack("<f", simple)[0]
    if not isinstance(tensor, bytes):
        return None
    inside = dict(_fields(tensor))
    raw = next(
        (inside[key] for key in (TENSOR_FLOATS, TENSOR_DOUBLES, TENSOR_CONTENT) if key in inside), None
    )
    if isinstance(raw, bytes) and len(raw) == 8 and inside.get(TENSOR_TYPE) == DOUBLE:
        return struct.unpack("<d", raw)[0]
    return struct.unpack("<f", raw)[0] if isinstance(raw, bytes) and len(raw) == 4 else None


def _fields(data: bytes) -> Iterator[Field]:
    """Number and payload of each protobuf field: an int for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, at = _varint(data, at)
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        if shift > 63:
            raise IndexError  # no protobuf integer is longer
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
