"""Which band each channel is, in files of samples that may not name them."""

from collections.abc import Sequence

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError
from deo.sensors.known.sentinel2 import SENTINEL2

ESA_ORDER = tuple(band.name for band in SENTINEL2)
AUTHORS_ORDER = ("B01", *MODEL_BANDS.names[:8], "B09", "B10", "B11", "B12")
"""The authors' 13 channels: red, green, blue stand in slots 1, 2, 3 (docs/data.md)."""


def band_order(count: int, named: Sequence[str] | None, *, thirteen: Sequence[str]) -> list[str]:
    """Names of the bands of a file with `count` channels.

    Args:
        named: names the file gives, if it does.
        thirteen: what 13 unnamed channels mean in this kind of file.

    Raises:
        BandError: `count` channels without names can mean several things.
    """
    if named:
        if len(named) != count:
            raise BandError(f"{len(named)} band names for {count} channels")
        return list(BandSet(named))
    known = {len(MODEL_BANDS): MODEL_BANDS.names, 13: tuple(thirteen)}
    if count not in known:
        raise BandError(
            f"{count} channels without names; wanted {len(MODEL_BANDS)} ({MODEL_BANDS}) or 13"
        )
    return list(known[count])
