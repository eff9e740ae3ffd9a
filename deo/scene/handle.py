"""A dataset that GDAL has open, and that is opened again where the network fails."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import rasterio

from deo.errors import SceneError
from deo.scene.formats import Door, open_raster
from deo.scene.gdal import gdal, is_refused, is_remote

T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try at what a server did not deliver whole."""

PATIENCE = 30.0
"""Seconds after which no further try begins. A server that sends nothing uses them up at once."""

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
            try:
                with gdal(self.path, doing):
                    if self._dataset is None:
                        self._dataset = self._opened()
                    return work(self._dataset)
            except SceneError as error:
                self._drop()  # GDAL would take a half-unpacked block for a whole one
                if not is_remote(self.path) or not _is_worth_another_try(error):
                    raise
                errors.append(error)
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
            self.close()
        self._dataset = None

    def _forget(self) -> None:
        """Have GDAL forget what it fetched of the file."""
        with contextlib.suppress(SceneError), gdal(self.path, "open it"), rasterio.Env(**_FORGET):
            open_raster(self.path, door=self.door).close()

    def close(self) -> None:
        """Close the dataset; the next use opens it again."""
        if self._dataset is not None:
            with gdal(self.path, "close it"):
                self._dataset.close()
            self._dataset = None


def _is_worth_another_try(error: SceneError) -> bool:
    """Whether what GDAL says of a remote file may be the network's doing."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, MemoryError) and not is_refused(cause)
