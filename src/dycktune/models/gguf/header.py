"""The header of a GGUF file, read within bounds.

The readers of `gguf` and transformers trust the counts and sizes in a file; one false count makes them allocate until
memory ends. So a file reaches them only after this reader, which follows
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from dycktune.errors import ModelError

CARD_KEY = "dycktune.card"
"""Metadata key of the model card, as JSON, in a file that dycktune wrote."""

_VERSIONS = (2, 3)
_LONGEST = 1 << 26
"""Bytes of a header; the vocabularies of today's models need 5 to 20 MB."""
_MOST_ENTRIES = 2_000_000
"""Entries of all arrays, each a few hundred bytes of memory in the package gguf; today's models have below 900,000."""
_MOST_NAMES = 1 << 17
"""Metadata keys, and tensors; a mixture of experts in separate tensors has some 60,000."""
_MOST_DIMENSIONS = 4
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Scalar types of metadata by their number, as `struct` names them."""
_STRING, _ARRAY = 8, 9


class TensorEntry(NamedTuple):
    """A tensor as the header lists it."""

    shape: tuple[int, ...]
    """In PyTorch's order: rows first."""
    type: GGMLQuantizationType
    start: int
    """Byte in the section of tensor data."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a GGUF file says about itself."""

    path: Path
    metadata: Mapping[str, Any]
    """Strings, numbers, and lists of these."""
    tensors: Mapping[str, TensorEntry]
    data_start: int
    """Byte of the file at which the section of tensor data begins."""


def read_header(path: Path) -> Header:
    """Read and check the header of a GGUF file; memory and time are bounded by 64 MiB of header.

    Raises:
        ModelError: the file is no GGUF file, is cut off, or states sizes that are not true.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{path} is no GGUF file: it does not begin with the letters GGUF")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(path, content, size).header()


class _Reader:
    """Reads one value after another, and never beyond the end of the file."""

    def __init__(self, path: Path, content: mmap.mmap, size: int) -> None:
        self._path = path
        self._content = content
        self._size = size
        self._position = 4
        self._entries = 0

    def header(self) -> Header:
        """The whole header."""
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise ModelError(
                f"{self._path} is a GGUF file of version {version}; versions 2 and 3 in little-endian order can be read"
            )
        tensor_count, metadata_count = self._scalar("Q"), self._scalar("Q")
        metadata = dict(self._pair() for _ in self._counted(metadata_count, 13, "metadata"))
        entries = [self._tensor() for _ in self._counted(tensor_count, 32, "tensors")]
        if len(metadata) < metadata_count or len(dict(entries)) < tensor_count:
            self._refuse("two of its entries have the same name")
        data_start = self._aligned(metadata.get("general.alignment", 32))
        self._check_places(dict(entries), data_start)
        return Header(path=self._path, metadata=metadata, tensors=dict(entries), data_start=data_start)

    def _pair(self) -> tuple[str, Any]:
        return self._text(), self._value(self._scalar("I"))

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            element, count = self._scalar("I"), self._scalar("Q")
            return self._array(element, count)
        return self._scalar(self._format(kind))

    def _array(self, element: int, count: int) -> list[Any]:
        self._entries += count
        if self._entries > _MOST_ENTRIES:
            self._refuse(f"its metadata lists {self._entries:,} values, more than {_MOST_ENTRIES:,}")
        if element == _STRING:
            return [self._text() for _ in range(count)]
        code = self._format(element)
        return list(struct.unpack(f"<{count}{code}", self._take(count * struct.calcsize(f"<{code}"))))

    def _tensor(self) -> tuple[str, TensorEntry]:
        name, dimensions = self._text(), self._scalar("I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            self._refuse(f"tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self._scalar("Q") for _ in range(dimensions))[::-1]
        number, start = self._scalar("I"), self._scalar("Q")
        kind = self._tensor_type(name, number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        if prod(shape) == 0 or shape[-1] % block:
            self._refuse(f"tensor {name!r} of type {kind.name} has the impossible shape {list(shape)}")
        return name, TensorEntry(shape, kind, start, prod(shape) // block * block_bytes)

    def _tensor_type(self, name: str, number: int) -> GGMLQuantizationType:
        try:
            return GGMLQuantizationType(number)
        except ValueError:
            self._refuse(f"tensor {name!r} has type {number}, which the package gguf does not know")

    def _aligned(self, alignment: Any) -> int:
        """The first multiple of the alignment at or behind the end of the header."""
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self._refuse(f"its alignment is {alignment!r}, not a power of two")
        return -(-self._position // alignment) * alignment

    def _check_places(self, tensors: Mapping[str, TensorEntry], start: int) -> None:
        """Every tensor lies inside the file, and no two overlap, so all of them are no larger than the file."""
        places = sorted((entry.start, entry.start + entry.size) for entry in tensors.values())
        if places and start + places[-1][1] > self._size:
            raise ModelError(
                f"{self._path} is cut off: its tensors end at byte {start + places[-1][1]:,} and the file at byte "
                f"{self._size:,}; copy or download it again"
            )
        if any(end > begin for (_, end), (begin, _) in pairwise(places)):
            self._refuse("two of its tensors overlap")

    def _counted(self, count: int, least_bytes: int, name: str) -> range:
        """As many steps as the file says, if so many entries of at least so many bytes can still follow."""
        if count > min(_MOST_NAMES, (self._size - self._position) // least_bytes):
            self._refuse(f"it claims {count:,} {name}, more than it can hold")
        return range(count)

    def _text(self) -> str:
        try:
            return str(self._take(self._scalar("Q")), "utf-8")
        except UnicodeDecodeError:
            self._refuse(f"the text that ends at byte {self._position:,} is not UTF-8")

    def _format(self, kind: int) -> str:
        if kind not in _FORMATS:
            self._refuse(
                f"it holds a value of type {kind} at byte {self._position:,}, which is not one of GGUF's"
            )
        return _FORMATS[kind]

    def _scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _take(self, count: int) -> bytes:
        end = self._position + count
        if end > self._size:
            raise ModelError(
                f"{self._path} is cut off or damaged: its header goes on to byte {end:,} and the file ends at byte "
                f"{self._size:,}; copy or download it again"
            )
        if end > _LONGEST:
            self._refuse(f"its header is longer than {_LONGEST:,} bytes")
        self._position, begin = end, self._position
        return self._content[begin:end]

    def _refuse(self, why: str) -> NoReturn:
        raise ModelError(f"{self._path} is damaged: {why}")
