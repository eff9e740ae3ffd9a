"""fMoW-Sentinel and fMoW-RGB as they lie on disk: names, exact pairing, reading one pair.

Layout of both: `<root>/[<split>/]<category>/<category>_<location>/<category>_<location>_<image>`
followed by `.tif` (13 bands in ESA's order) or `_rgb.jpg`; fMoW-Sentinel also has one csv per
split. Locations are numbered anew in every split, so a pair agrees in split, category, location
and image (see "Data" in docs/data.md for what the published run does not record).
"""

import contextlib
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, DataError, DeoError, SceneError
from deo.scene.doors import Door, open_raster
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene
from deo.sensors.evidence import Evidence
from deo.sensors.floats import Range, check_float_evidence
from deo.training.data.channels import ESA_ORDER
from deo.training.data.listing import files_below, is_raster
from deo.training.data.reading import open_quietly
from deo.training.data.stored import StoredSample, as_floats, digital_numbers, formula

SPLITS = ("train", "val", "test", "test_gt", "seq", "seq_gt")
_NAME = re.compile(
    r"(?P<category>[a-z_]+)_(?P<location>\d+)_(?P<image>\d+)(?P<kind>\.tif|_rgb\.jpe?g)"
)


class Key(NamedTuple):
    """What identifies an image in both data sets; `split` is "" where the tree has none."""

    split: str
    category: str
    location: int
    image: int

    def __str__(self) -> str:
        place = f"{self.category}/{self.category}_{self.location}"
        name = f"{place}/{self.category}_{self.location}_{self.image}"
        return f"{self.split}/{name}" if self.split else name


class Pair(NamedTuple):
    """A Sentinel-2 composite and the aerial image of the same record, or None."""

    key: Key
    sentinel: Path
    aerial: Path | None


class UnusableImageError(DataError):
    """One image cannot be used; preparation lists it and goes on."""


def looks_like_fmow(root: Path) -> bool:
    """Whether the first rasters of a tree are named and placed as fMoW does it."""
    if any((root / f"{split}.csv").is_file() for split in SPLITS):
        return True
    first = next((path for path in files_below(root) if is_raster(path)), None)
    return first is not None and _key(root, first) is not None


def find_sentinel(root: Path, splits: Sequence[str] = ()) -> dict[Key, Path]:
    """Records of fMoW-Sentinel: from its csv files where there are any, else from the tree.

    A record of a csv is listed whether its file is there or not.

    Args:
        splits: only these; all when empty.

    Raises:
        DataError: nothing was found, or a csv lacks a column.
    """
    tables = [root / f"{split}.csv" for split in splits or SPLITS]
    tables = [table for table in tables if table.is_file()]
    found: dict[Key, Path] = {}
    for table in tables:
        for key in _rows(table):
            found[key] = root / f"{key}.tif"
    if not tables:
        found = _walk(root, ".tif", splits)
    if not found:
        wanted = f" in {', '.join(splits)}" if splits else ""
        raise DataError(
            f"{root} holds no fMoW-Sentinel image{wanted}; wanted "
            "<split>/<category>/<category>_<location>/<category>_<location>_<image>.tif"
        )
    return found


def find_aerial(root: Path, splits: Sequence[str] = ()) -> dict[Key, Path]:
    """Records of fMoW-RGB (`_rgb.jpg`, never `_msrgb.jpg`) from its tree.

    Raises:
        DataError: nothing was found.
    """
    found = _walk(root, ".jpg", splits)
    if not found:
        raise DataError(
            f"{root} holds no fMoW-RGB image; wanted "
            "<split>/<category>/<category>_<location>/<category>_<location>_<image>_rgb.jpg"
        )
    return found


def pair(sentinel: dict[Key, Path], aerial: dict[Key, Path]) -> list[Pair]:
    """Every Sentinel-2 record in order, with its aerial image where exactly that one exists.

    When only one of the trees names splits, the splits are left out of the comparison, which is
    right only for one split.

    Raises:
        DataError: one tree names several splits and the other none.
    """
    ours, theirs = {key.split for key in sentinel}, {key.split for key in aerial}
    if aerial and ours != theirs and "" in ours | theirs:
        if len(ours) > 1 or len(theirs) > 1:
            raise DataError(
                f"splits {sorted(ours)} cannot be paired with splits {sorted(theirs)}: locations "
                "are numbered anew in each. Give both roots above their train/, val/, ... folders"
            )
        aerial = {key._replace(split=next(iter(ours))): path for key, path in aerial.items()}
    return [Pair(key, path, aerial.get(key)) for key, path in sorted(sentinel.items())]


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


def _rows(table: Path) -> Iterator[Key]:
    with table.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {"category", "location_id", "image_id"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{table} lacks the column {', '.join(sorted(missing))}")
        for number, row in enumerate(reader, start=2):
            try:
                yield Key(
                    table.stem, row["category"], int(row["location_id"]), int(row["image_id"])
                )
            except (TypeError, ValueError) as error:
                raise DataError(f"{table}, line {number}: {error}") from error


def _walk(root: Path, ending: str, splits: Sequence[str]) -> dict[Key, Path]:
    found = {}
    aerial = ending == ".jpg"
    for path in files_below(root):
        key = _key(root, path) if path.stem.endswith("_rgb") == aerial else None
        if key is not None and (not splits or key.split in (*splits, "")):
            found[key] = path
    return found


def _key(root: Path, path: Path) -> Key | None:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    category, location = match["category"], match["location"]
    if path.parent.name != f"{category}_{location}" or path.parent.parent.name != category:
        return None
    above = path.parent.parent.parent
    inside = above == root or root in above.parents
    split = above.name if inside and above.name in SPLITS else ""
    return Key(split, category, int(location), int(match["image"]))
