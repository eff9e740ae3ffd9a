"""One pair of fMoW images as a sample: resampled to one size, in digital numbers."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, DataError, DeoError, SceneError
from deo.scene.formats import Door, open_raster
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene
from deo.sensors.evidence import Evidence
from deo.sensors.floats import Range, check_float_evidence
from deo.training.data.channels import ESA_ORDER
from deo.training.data.fmow import Pair
from deo.training.data.reading import open_quietly
from deo.training.data.stored import StoredSample, as_floats, digital_numbers, formula


class UnusableImageError(DataError):
    """One image cannot be used; preparation lists it and goes on."""


def read_pair(
    pair: Pair, size: int, *, scale: float | None = None, offset: float | None = None
) -> StoredSample:
    """One sample (10, size, size) in the order of `MODEL_BANDS`, both images resampled to it.

    Sentinel-2's own red, green, blue stay in their slots where there is no aerial image.

    Args:
        scale, offset: of the Sentinel-2 image, above all evidence; see `open_scene`.

    Raises:
        UnusableImageError: a file is missing, cannot be decoded, has too few bands or is empty.
    """
    if not pair.sentinel.is_file():
        raise UnusableImageError("listed, not on disk")
    sample, made = _read_sentinel(pair.sentinel, size, scale=scale, offset=offset)
    if not sample.any():
        raise UnusableImageError("every pixel is zero")
    if pair.aerial is not None:
        sample[: len(RGB_BANDS)] = _read_aerial(pair.aerial, size)
    return StoredSample(sample, made)


def _digital_numbers(dtype: str, ranges: Mapping[str, Range]) -> Evidence:
    """What fMoW-Sentinel's floating-point numbers are; a dark image alone would not tell."""
    published = Evidence(fact="fMoW-Sentinel holds digital numbers", scale=1.0)
    check_float_evidence(dtype, ranges, published)
    return published


def _read_sentinel(path: Path, size: int, **told: float | None) -> StoredSample:
    """The model's bands, resampled as stored, then in digital numbers by what the file says."""
    with _open_sentinel(path, told) as scene:
        assets = [scene.assets[position] for position in MODEL_BANDS.positions_in(ESA_ORDER)]
        source = assets[0].source
        assert isinstance(source, RasterSource), "it was opened from a path"
        indexes = [asset.index for asset in assets]
        shape = (len(indexes), size, size)
        with _decoding(path):
            values, masks = source.handle.use(
                "read it",
                lambda dataset: (
                    dataset.read(indexes, out_shape=shape, resampling=Resampling.bilinear),
                    dataset.read_masks(indexes, out_shape=shape),
                ),
            )
    valid = masks.all(axis=0) & np.isfinite(values).all(axis=0)
    numbers = scene.radiometry.apply(as_floats(values), MODEL_BANDS)
    return StoredSample(digital_numbers(numbers, valid), formula(scene.radiometry))


def _open_sentinel(path: Path, told: Mapping[str, Any]) -> Scene:
    try:
        return open_quietly(path, bands=BandSet(ESA_ORDER), judge_floats=_digital_numbers, **told)
    except BandError as error:
        source = RasterSource.open(str(path), door=Door.CHIP)
        source.close()
        if source.spectral == len(ESA_ORDER):
            raise UnusableImageError(f"{path.name}: {error}") from error
        null = " (a null download)" if source.spectral == 1 else ""
        raise UnusableImageError(
            f"{path.name} has {source.spectral} of {len(ESA_ORDER)} bands{null}"
        ) from error
    except DeoError as error:
        raise UnusableImageError(f"{path.name} cannot be read: {error}") from error


def _read_aerial(path: Path, size: int) -> NDArray[np.uint16]:
    """Red, green and blue of a picture."""
    with _decoding(path), open_raster(path, door=Door.CHIP) as raster:
        if raster.count != len(RGB_BANDS):
            raise UnusableImageError(f"{path.name} has {raster.count} of 3 bands")
        values: NDArray[np.uint16] = raster.read(
            out_shape=(len(RGB_BANDS), size, size), resampling=Resampling.bilinear
        ).astype(np.uint16)
    return values


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except (SceneError, RasterioError, OSError) as error:
        raise UnusableImageError(f"{path.name} cannot be read: {error}") from error
