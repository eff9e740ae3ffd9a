"""How GDAL is used: its settings, its spelling of paths, and its failures as our errors."""

import contextlib
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import rasterio
from rasterio._err import CPLE_BaseError, CPLE_OutOfMemoryError  # no public name in 1.4
from rasterio.env import getenv, hasenv, setenv
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from deo.errors import SceneError
from deo.scene.vsi import forget_all

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


def remote_setting(name: str) -> float:
    """A number of `REMOTE_SETTINGS`, or the one that the environment sets in its place."""
    return float(os.environ.get(name) or REMOTE_SETTINGS[name])


class _Mute:
    """Keeps one fault of rasterio's from printing tracebacks while any thread is inside.

    GDAL quotes damaged files in its messages; rasterio's handler fails to decode those as UTF-8
    and reports that on standard error, through both of Python's hooks. The message still reaches
    us through the exception.
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


class _Placeless:
    """Suppresses rasterio's warning about rasters without a place while any thread is inside.

    `warnings.catch_warnings` puts back the filters that it met: of two threads the one that leaves
    last puts back the other's, for good.
    """

    _FILTER = ("ignore", None, NotGeoreferencedWarning, None, 0)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._added = False

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._FILTER not in warnings.filters:
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._added = True

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._added:
                self._added = False
                with contextlib.suppress(ValueError):  # someone else has put filters back
                    cast(list[Any], warnings.filters).remove(self._FILTER)


PLACELESS = _Placeless()


def _close_connections() -> None:
    """Let a child inherit no open connection: parent and child would read each other's answers."""
    with contextlib.suppress(OSError, AttributeError):  # a GDAL built without curl has none
        forget_all()


def _decode_alone() -> None:
    """Keep a forked child from waiting for GDAL's pool of threads, which only its parent has."""
    if "GDAL_NUM_THREADS" in os.environ:
        os.environ["GDAL_NUM_THREADS"] = "1"
    if hasenv() and "GDAL_NUM_THREADS" in getenv():
        setenv(GDAL_NUM_THREADS=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_connections, after_in_child=_decode_alone)


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


def public(path: str) -> str:
    """An address as it may be shown and kept: without user, password, query and fragment.

    A query may be a signature. In the name of an object of a store, `#` is a letter like others.
    """
    if not is_remote(path):
        return path
    shown = _SECRETS.sub("", path)
    return shown.partition("#")[0] if shown.startswith(("http://", "https://")) else shown


def host(path: str) -> str:
    """Who serves a remote path: its host, or the bucket of a store."""
    return re.sub(r"^(/vsi\w+/)?(\w+://)?", "", public(path)).partition("/")[0]


_SECRETS = re.compile(r"(?<=://)[^/@\s]*@|\?[^\s'\",]*")

_REFUSED = re.compile(r"response code\W+4(?!08|25|29)\d\d|ACCESS_KEY|credential", re.IGNORECASE)
_NETWORK = re.compile(
    r"CURL error|response code\W+(5\d\d|408|425|429)|timed out|time-?out|resolve host"
    r"|Failed to connect|Connection (was )?re(set|fused)|Range downloading not supported"
    r"|got \d+ bytes, expected",
    re.IGNORECASE,
)


def is_refused(error: BaseException) -> bool:
    """Whether a server answered for good: not there, not allowed."""
    return any(
        _REFUSED.search(str(each))
        or (type(each).__name__.startswith("CPLE_AWS") and type(each).__name__ != "CPLE_AWSError")
        for each in _causes(error)
    )


@contextlib.contextmanager
def gdal(path: str, doing: str, **settings: Any) -> Iterator[None]:
    """GDAL with our settings; what goes wrong in it becomes a `SceneError`.

    It is retriable where the network was at fault, as far as GDAL tells.

    Args:
        path: what is worked on.
        doing: the work, for the message "PATH: cannot DOING: REASON".
        settings: further settings of GDAL.
    """
    if is_remote(path):
        remote = {key: v for key, v in REMOTE_SETTINGS.items() if key not in os.environ}
        settings = {**remote, **settings}
    try:
        with enough_memory(f"{public(path)}: cannot {doing}"), _MUTE, rasterio.Env(**settings):
            yield
    except SceneError:
        raise
    except (
        RasterioError, CPLE_BaseError, OSError, ValueError, TypeError, OverflowError, SystemError,
        AttributeError,
    ) as error:  # fmt: skip
        reason = _reason(error)
        if is_remote(path):
            reason = _SECRETS.sub("", reason)
        at_fault = is_remote(path) and bool(_NETWORK.search(reason)) and not is_refused(error)
        raise SceneError(f"{public(path)}: cannot {doing}: {reason}", retriable=at_fault) from error


@contextlib.contextmanager
def enough_memory(failed: str) -> Iterator[None]:
    """Memory that Python, NumPy or GDAL could not get becomes a `SceneError`: "FAILED: ..."."""
    try:
        yield
    except (MemoryError, RasterioError, CPLE_BaseError) as error:
        if not any(_lacks_memory(each) for each in _causes(error)):
            raise
        raise SceneError(
            f"{failed}: out of memory ({_reason(error)}); choose a smaller --tile or --batch-size, "
            "a lower GDAL_CACHEMAX, or a machine with more memory"
        ) from error


def _lacks_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | CPLE_OutOfMemoryError) or bool(
        isinstance(error, CPLE_BaseError)
        and re.search(r"cannot allocate|out of memory", str(error), re.IGNORECASE)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _reason(error: BaseException) -> str:
    """What GDAL said first, which is at the end of rasterio's chain of causes."""
    *_, first = _causes(error)
    return " ".join(str(first).split()) or type(first).__name__
