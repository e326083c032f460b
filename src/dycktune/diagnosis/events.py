"""TensorBoard event files: just enough of TFRecord and of the Event message to read scalars.

A record is length (u64), its checksum (u32), the data, its checksum (u32), little endian. Field numbers are those of
TensorFlow's event.proto and summary.proto. Checksums are not verified: a damaged log ends where it stops making sense.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from dycktune.errors import RunError

MARK = "tfevents"
EVENT_STEP, EVENT_SUMMARY, SUMMARY_VALUE = 2, 5, 1
VALUE_TAG, VALUE_SIMPLE, VALUE_TENSOR = 1, 2, 8
TENSOR_CONTENT, TENSOR_FLOATS = 4, 5

Field = tuple[int, int | bytes]


def is_event_file(path: Path) -> bool:
    """Whether the name is one TensorBoard writers give."""
    return MARK in path.name


def files(folder: Path) -> list[Path]:
    """The event files of the newest writer in `folder` or its `runs`, where Trainer puts them; oldest first."""
    places = [folder, *sorted(path for path in folder.glob("runs/*") if path.is_dir())]
    found = [
        sorted(path for path in place.iterdir() if is_event_file(path) and path.is_file()) for place in places
    ]
    return next((names for names in reversed(found) if names), [])


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a log as Trainer would have written them: `train/loss` becomes `loss`, `eval/loss` `eval_loss`.

    Raises:
        RunError: a file that is not an event file.
    """
    scalars = (scalar for file in (files(path) if path.is_dir() else [path]) for scalar in _scalars(file))
    rows: list[dict[str, float]] = []
    for step, tag, value in scalars:
        name = _name(tag)
        is_new = not rows or rows[-1]["step"] != step or name in rows[-1]
        if is_new:
            rows.append({"step": float(step)})
        rows[-1][name] = value
    return rows


def _name(tag: str) -> str:
    """Trainer's own key: its TensorBoard callback turns `eval_x` into `eval/x` and `x` into `train/x`."""
    group, _, rest = tag.partition("/")
    if group == "train" and rest:
        return rest
    return f"eval_{rest}" if group == "eval" and rest else tag


def _scalars(path: Path) -> Iterator[tuple[int, str, float]]:
    for record in _records(path):
        try:
            fields = list(_fields(record))
            step = next((v for n, v in fields if n == EVENT_STEP and isinstance(v, int)), 0)
            summaries = [v for n, v in fields if n == EVENT_SUMMARY and isinstance(v, bytes)]
            for summary in summaries:
                yield from ((step, *scalar) for scalar in _summary(summary))
        except (IndexError, struct.error, UnicodeDecodeError):
            return


def _records(path: Path) -> Iterator[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):
            break  # a run still going may have half a record at the end
        yield data[at + 12 : at + 12 + length]
        at += 16 + length
    if not at:
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
    raw = inside.get(TENSOR_FLOATS, inside.get(TENSOR_CONTENT))
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
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
