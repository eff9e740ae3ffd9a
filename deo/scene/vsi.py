"""What rasterio does not offer of GDAL's virtual file systems: bytes and headers of a file.

The functions are GDAL's own, from the library that rasterio has loaded.
"""

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import rasterio

_CHUNK = 8 * 2**20
"""Bytes that are asked for at once: one request."""

_FROM_END = 2  # SEEK_END


@cache
def _library() -> Any:
    """GDAL's functions.

    Raises:
        OSError, AttributeError: this build of GDAL does not show them.
    """
    library = ctypes.CDLL(rasterio._base.__file__)
    handle, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    offset = ctypes.c_uint64
    for name, result, arguments in (
        ("VSIFOpenL", handle, (text, text)),
        ("VSIFCloseL", ctypes.c_int, (handle,)),
        ("VSIFSeekL", ctypes.c_int, (handle, offset, ctypes.c_int)),
        ("VSIFTellL", offset, (handle,)),
        ("VSIFReadL", size, (handle, size, size, handle)),
        ("VSIGetFileMetadata", ctypes.POINTER(text), (text, text, handle)),
        ("VSICurlClearCache", None, ()),
        ("CSLDestroy", None, (handle,)),
        ("CPLErrorReset", None, ()),
        ("CPLGetLastErrorMsg", text, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def forget_all() -> None:
    """Close idle connections, and drop the fetched bytes of files that are not open."""
    _library().VSICurlClearCache()


class VirtualFile:
    """The bytes of a file, read from its beginning to its end."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        library = _library()
        library.VSIFSeekL(handle, 0, _FROM_END)
        self.size = int(library.VSIFTellL(handle))
        library.VSIFSeekL(handle, 0, 0)

    def chunks(self) -> Iterator[bytes]:
        """All bytes, some MiB at a time.

        Raises:
            OSError: fewer arrive than the file has.
        """
        library, waiting = _library(), self.size
        buffer = ctypes.create_string_buffer(min(_CHUNK, max(waiting, 1)))
        while waiting:
            wanted = min(waiting, len(buffer))
            library.CPLErrorReset()
            count = library.VSIFReadL(buffer, 1, wanted, self._handle)
            if count != wanted:
                said = library.CPLGetLastErrorMsg().decode(errors="replace")
                raise OSError(said or f"got {count} bytes, expected {wanted}")
            yield buffer.raw[:count]
            waiting -= count


@contextmanager
def open_virtual(path: str) -> Iterator[VirtualFile]:
    """A file by GDAL's spelling of its path, such as `/vsis3/bucket/key`. Inside `gdal` only.

    Raises:
        OSError: it cannot be opened.
    """
    library = _library()
    library.CPLErrorReset()
    handle = library.VSIFOpenL(path.encode(), b"rb")
    if not handle:
        raise OSError(library.CPLGetLastErrorMsg().decode(errors="replace") or "cannot be opened")
    try:
        yield VirtualFile(handle)
    finally:
        library.VSIFCloseL(handle)


def headers(path: str) -> Mapping[str, str]:
    """What a server states of an object now, by lower-case names; asked for anew each time.

    Args:
        path: in GDAL's spelling; GDAL signs the request, which is a HEAD.
    """
    library = _library()
    entries = library.VSIGetFileMetadata(path.encode(), b"HEADERS", None)
    if not entries:
        return {}
    stated = {}
    try:
        for entry in _texts(entries):
            name, _, value = entry.partition("=")
            stated[name.lower()] = value
    finally:
        library.CSLDestroy(entries)
    return stated


def _texts(entries: Any) -> Iterator[str]:
    """The strings of an array of GDAL's, which ends with a null pointer."""
    position = 0
    while entries[position] is not None:
        yield entries[position].decode(errors="replace")
        position += 1
