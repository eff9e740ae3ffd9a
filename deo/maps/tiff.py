"""Whether a TIFF holds all blocks that its directories list; read without GDAL, which waits until
a block is wanted.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips and of tiles
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4} | {
    16: 8, 17: 8, 18: 8
}  # fmt: skip
_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_INTEGERS = {3: "u2", 4: "u4", 16: "u8"}
_LARGEST_ENTRY = 2**28


class Missing(NamedTuple):
    """What a TIFF lacks, in words, and whether that is a part of its head, where its tags are."""

    reason: str
    head: bool


def missing_part(path: Path) -> Missing | None:
    """What a TIFF lacks; None when it lacks nothing or is no TIFF at all.

    An empty file lacks everything.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return Missing("it is empty", head=True)
            begins = file.read(4)
            if not any(beginning.startswith(begins) for beginning in _BEGINNINGS):
                return None
            directories = _Directories(file)
            end = directories.end()
    except (EOFError, struct.error):
        return Missing(f"it is cut off within its head, after {size} bytes", head=True)
    except OSError:
        return None
    if directories.head_end > size:
        return Missing(f"it is cut off within its head, after {size} bytes", head=True)
    if end <= size:
        return None
    return Missing(f"it is cut off: {size} of {end} bytes are there", head=False)


class _Directories:
    """The chain of image directories: the map, its overviews and masks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = self._at(0, 4)
        self._order: Literal["<", ">"] = "<" if head.startswith(b"II") else ">"
        self._big = 43 in head[2:]
        self.head_end = 0
        """The first byte after everything that `end` found beside blocks: tags, colour tables."""

    def end(self) -> int:
        """The first byte after every block."""
        last, seen = 0, set[int]()
        here = self._number(8, 8) if self._big else self._number(4, 4)
        while here and here not in seen:
            seen.add(here)
            offsets, counts, here = self._directory(here)
            if len(offsets) == len(counts) and len(offsets):
                last = max(last, int((offsets + counts).max()))
        return last

    def _directory(self, start: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], int]:
        """Offsets and byte counts of the blocks of one image, and where the next image is."""
        head, entry = (8, 20) if self._big else (2, 12)
        number = self._number(start, head)
        table = self._at(start + head, number * entry)
        offsets = counts = np.zeros(0, np.uint64)
        for position in range(0, len(table), entry):
            tag = struct.unpack_from(f"{self._order}H", table, position)[0]
            self.head_end = max(self.head_end, self._value_end(table[position : position + entry]))
            if tag in _OFFSETS:
                offsets = self._values(table[position : position + entry])
            elif tag in _COUNTS:
                counts = self._values(table[position : position + entry])
        return offsets, counts, self._number(start + head + len(table), 8 if self._big else 4)

    def _value_end(self, entry: bytes) -> int:
        """The first byte after an entry's value; 0 for one that the entry holds itself."""
        kind, number = struct.unpack_from(f"{self._order}H{'Q' if self._big else 'I'}", entry, 2)
        length, inside = number * _SIZES.get(kind, 0), entry[12 if self._big else 8 :]
        if length <= len(inside):
            return 0
        (start,) = struct.unpack(f"{self._order}{'Q' if self._big else 'I'}", inside)
        return int(start + length)

    def _values(self, entry: bytes) -> NDArray[np.uint64]:
        kind, number = struct.unpack_from(f"{self._order}H{'Q' if self._big else 'I'}", entry, 2)
        length = number * _SIZES.get(kind, 0)
        inside = entry[12:] if self._big else entry[8:]
        if length > len(inside):
            where = struct.unpack(f"{self._order}{'Q' if self._big else 'I'}", inside)[0]
            inside = self._at(where, length)
        if kind not in _INTEGERS:
            return np.zeros(0, np.uint64)
        stored = np.frombuffer(inside[:length], np.dtype(_INTEGERS[kind]).newbyteorder(self._order))
        return stored.astype(np.uint64)

    def _number(self, where: int, length: int) -> int:
        return int.from_bytes(self._at(where, length), "little" if self._order == "<" else "big")

    def _at(self, where: int, length: int) -> bytes:
        if length > _LARGEST_ENTRY or where >= 2**63:
            raise EOFError
        self._file.seek(where)
        content = self._file.read(length)
        if len(content) < length:
            raise EOFError
        return content
