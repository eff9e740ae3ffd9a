"""A dataset that GDAL has open, and that is opened again where the network fails."""

import contextlib
import logging
import math
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import rasterio

from deo.errors import SceneError
from deo.scene.formats import Door, open_raster
from deo.scene.gdal import (
    gdal,
    gdal_path,
    host,
    is_refused,
    is_remote,
    public,
    remote_setting,
)
from deo.scene.vsi import open_virtual

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try at what a server did not deliver whole."""

PATIENCE = 30.0
"""Seconds after which no further try begins. A server that sends nothing uses them up at once."""

_ROOM = 2  # times the size of a file that have to be free before it is kept

_FORGET = {
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
    "GDAL_HTTP_MAX_RETRY": 0,
}
"""A file opened with this leaves nothing in GDAL's cache of fetched bytes when it is closed."""


class Handle:
    """A path or URL that is open in GDAL. For one thread at a time."""

    def __init__(self, path: str, *, door: Door) -> None:
        self.path, self.door = path, door
        self._dataset: Any = None
        self._was_open = False
        self._copy: _Copy | None = None

    @property
    def is_remote(self) -> bool:
        """Whether reading asks a server."""
        return self._copy is None and is_remote(self.path)

    def again(self) -> "Handle":
        """The same file, to be opened once more, for another thread."""
        other = Handle(self.path, door=self.door)
        other._copy = self._copy
        return other

    def keep(self) -> None:
        """Fetch all of a remote file once, to a temporary file that is read from now on.

        Nothing is done where the folder of temporary files has no room for it.

        Raises:
            SceneError: it cannot be fetched, although it is tried as often as reading is.
        """
        if not self.is_remote:
            return
        copy = self.use("fetch it", lambda _: _fetched(self.path))
        if copy is not None:
            self._drop()
            self._copy = copy

    def use(self, doing: str, work: Callable[[Any], T]) -> T:
        """`work(dataset)`, with the dataset opened if it is not.

        GDAL takes a reset connection, a body cut short and a wrong one for a damaged file, and
        keeps the bytes that it got. So where a remote file fails, GDAL is made to forget
        all that it has of the file, and the work is done again on a dataset opened again. What a
        server refuses for good is not asked for a second time.

        Args:
            doing: the work, for the message "PATH: cannot DOING: REASON".

        Raises:
            SceneError: it fails, and further tries do too; retriable where the network is at fault.
        """
        began = time.monotonic()
        errors: list[SceneError] = []
        for pause in (*PAUSES, math.inf):
            tried = time.monotonic()
            try:
                with gdal(self.path, doing):
                    if self._dataset is None:
                        self._dataset = self._opened()
                    return work(self._dataset)
            except SceneError as error:
                self._drop()  # GDAL would take a half-unpacked block for a whole one
                if not self.is_remote or not _is_worth_another_try(error):
                    raise
                errors.append(_told_of_stall(error, self.path, doing, time.monotonic() - tried))
            self._forget()
            if time.monotonic() - began + pause > PATIENCE:
                break
            time.sleep(pause)
        telling = next((error for error in errors if error.retriable), errors[-1])
        raise SceneError(
            f"{telling} (given up after {len(errors)} tries in {time.monotonic() - began:.0f} s)",
            # a damaged file fails in the same way every time
            retriable=telling.retriable or len(set(map(str, errors))) > 1,
        ) from telling.__cause__

    def _opened(self) -> Any:
        try:
            if self._copy is not None:
                return open_raster(self._copy.name, door=Door.MEMBER)  # the plain formats alone
            dataset = open_raster(self.path, door=self.door)
        except SceneError as error:
            if self._was_open and error.__cause__ is not None:
                raise error.__cause__ from None  # it is the reading that fails, and says so
            raise
        self._was_open = True
        return dataset

    def _drop(self) -> None:
        """Close the dataset, whatever its state."""
        with contextlib.suppress(SceneError):
            self._close_dataset()
        self._dataset = None

    def _forget(self) -> None:
        """Have GDAL forget what it fetched of the file."""
        with contextlib.suppress(SceneError), gdal(self.path, "open it"), rasterio.Env(**_FORGET):
            open_raster(self.path, door=self.door).close()

    def close(self) -> None:
        """Close the dataset and give up what was kept; the next use opens the file again."""
        self._close_dataset()
        self._copy = None  # its last user removes it

    def _close_dataset(self) -> None:
        if self._dataset is not None:
            with gdal(self.path, "close it"):
                self._dataset.close()
            self._dataset = None


class _Copy:
    """A temporary file with bytes of a remote one.

    It is removed when no handle of the process that made it refers to it any more.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        descriptor, self.name = tempfile.mkstemp(prefix="deo-")
        weakref.finalize(self, _remove, self.name, os.getpid())
        with open(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)


def _remove(name: str, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        Path(name).unlink(missing_ok=True)


def _fetched(path: str) -> _Copy | None:
    """What is in a remote file; None where there is no room for it."""
    with open_virtual(gdal_path(path)) as file:
        if shutil.disk_usage(tempfile.gettempdir()).free < _ROOM * file.size:
            log.info("%s: no room in %s to keep it", public(path), tempfile.gettempdir())
            return None
        return _Copy(file.chunks())


def _told_of_stall(error: SceneError, path: str, doing: str, seconds: float) -> SceneError:
    """The error, or one that names the stall where GDAL waited in vain.

    GDAL does not tell: a file of which no bytes came is an empty one to it, or one in a format
    that it does not know.
    """
    limit = remote_setting("GDAL_HTTP_LOW_SPEED_TIME")
    if seconds < limit:
        return error
    stalled = SceneError(
        f"{public(path)}: cannot {doing}: no bytes for {limit:g} s from {host(path)}; try again "
        f"later, or set GDAL_HTTP_LOW_SPEED_TIME to more seconds",
        retriable=True,
    )
    stalled.__cause__ = error.__cause__
    return stalled


def _is_worth_another_try(error: SceneError) -> bool:
    """Whether what GDAL says of a remote file may be the network's doing."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, MemoryError) and not is_refused(cause)
