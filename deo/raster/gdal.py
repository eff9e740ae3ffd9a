"""How GDAL is used: its settings, its spelling of paths, and its failures as our errors."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from deo.errors import SceneError

REMOTE_SETTINGS: Mapping[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": "TRUE",
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
"""How GDAL reads over the network: no directory listings, ranges merged and cached, and an end
to waiting. Used inside `rasterio.Env` only."""


class _Mute:
    """Keeps one fault of rasterio's from printing tracebacks, while it is entered.

    GDAL quotes damaged files in its messages; rasterio's handler fails to decode those as UTF-8
    and reports that on standard error, by both of Python's hooks. The message reaches us by the
    exception all the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._unraisable: Any = None
        self._uncaught: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._unraisable, sys.unraisablehook = sys.unraisablehook, self._drop_unraisable
                self._uncaught, sys.excepthook = sys.excepthook, self._drop_uncaught
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                sys.unraisablehook, sys.excepthook = self._unraisable, self._uncaught

    def _drop_unraisable(self, fault: Any) -> None:
        if isinstance(fault.exc_value, UnicodeDecodeError) and "rasterio" in str(fault.object):
            return
        self._unraisable(fault)

    def _drop_uncaught(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, UnicodeDecodeError) and trace is None:  # raised in compiled code
            return
        self._uncaught(kind, error, trace)


_MUTE = _Mute()


def gdal_path(source: str | os.PathLike[str]) -> str:
    """A path or URL in GDAL's spelling; `s3://` goes through GDAL's own credentials."""
    text = os.fspath(source)
    if text.startswith("s3://"):
        return f"/vsis3/{text.removeprefix('s3://')}"
    if text.startswith(("http://", "https://")):
        return f"/vsicurl/{text}"
    return text


def is_remote(path: str) -> bool:
    return path.startswith(("http://", "https://", "s3://", "gs://", "az://")) or any(
        part in path for part in ("/vsicurl/", "/vsis3/", "/vsigs/", "/vsiaz/")
    )


@contextlib.contextmanager
def gdal(path: str, doing: str, **settings: Any) -> Iterator[None]:
    """GDAL with our settings; what goes wrong in it becomes a `SceneError`.

    Args:
        path: what is worked on.
        doing: the work, for the message "PATH: cannot DOING: REASON".
        settings: further settings of GDAL.
    """
    settings = {**(REMOTE_SETTINGS if is_remote(path) else {}), **settings}
    try:
        with _MUTE, rasterio.Env(**settings):
            yield
    except SceneError:
        raise
    except (
        RasterioError, OSError, ValueError, TypeError, OverflowError, MemoryError, SystemError,
        AttributeError,
    ) as error:  # fmt: skip
        raise SceneError(f"{path}: cannot {doing}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What GDAL said first, which is at the end of rasterio's chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
