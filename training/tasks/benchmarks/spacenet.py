"""SpaceNet v1: building footprints in Rio de Janeiro."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from deo.bands import RGB_BANDS, BandSet
from deo.errors import DataError
from deo.files.documents import load_json
from deo.training.data.listing import files_below, is_raster
from deo.training.data.reading import GridImage
from deo.training.tasks.dataset import Sample, Unit, read_chip
from deo.training.tasks.task import Benchmark, Task

_IMAGE = "3band_AOI_1_RIO_img"
_FOOTPRINTS = "AOI_1_RIO_img"


@dataclass(frozen=True, kw_only=True)
class SpaceNet1:
    """`3band_AOI_1_RIO_img<N>.tif` (uint8 RGB) and the footprints of `<N>` as GeoJSON.

    Images sorted by name; the first 4999 train, the next 1000 validate, the last 941 test. A trial
    copy with fewer images is divided in the same proportions.
    """

    bands: BandSet = RGB_BANDS
    _shares: ClassVar = {"train": 4999 / 6940, "valid": 1000 / 6940}

    def problems(self, root: Path) -> Iterator[str]:
        images = _image_files(root)
        footprints = {
            _number(path)
            for path in files_below(root)
            if path.suffix == ".geojson" and _FOOTPRINTS in path.stem
        }
        if not images:
            yield f"no {_IMAGE}<N>.tif below {root}"
        lost = [name for name in images if name not in footprints]
        if lost:
            yield f"{len(lost)} of {len(images)} images below {root} lack footprints: img{lost[0]}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        names = tuple(_image_files(root))
        first = round(len(names) * self._shares["train"])
        second = first + round(len(names) * self._shares["valid"])
        return {"train": names[:first], "valid": names[first:second], "test": names[second:]}

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        return (_only_file(root, f"{_IMAGE}{name}.tif"),)

    def read(self, root: Path, name: str) -> Sample:
        (path,) = self.images(root, name)
        image = read_chip(self, root, path)
        target = _rasterized(_only_file(root, f"*{_FOOTPRINTS}{name}.geojson"), image)
        values, valid = image.pixels
        # the images declare no nodata value: black is beyond the edge
        return Sample(values, target, valid & values.any(0))


def _image_files(root: Path) -> list[str]:
    """Numbers of the images, in the order of their paths."""
    images = sorted(path for path in files_below(root) if is_raster(path))
    # a dict keeps the order and drops a second copy
    return list(dict.fromkeys(_number(path) for path in images if path.stem.startswith(_IMAGE)))


def _number(path: Path) -> str:
    return path.stem.rsplit("img", 1)[1]


def _only_file(root: Path, pattern: str) -> Path:
    # the usual depths first: a search of the whole tree looks at 14 000 names for every sample
    for glob in (pattern, f"*/{pattern}", f"*/*/{pattern}"):
        for path in root.glob(glob):
            return path
    for path in files_below(root):
        if fnmatchcase(path.name.lower(), pattern.lower()):
            return path
    raise DataError(f"{pattern} is missing below {root}")


def _rasterized(path: Path, image: GridImage) -> NDArray[np.int64]:
    """(H, W): 1 where a footprint covers the centre of a pixel.

    Raises:
        DataError: the file holds no footprints as GeoJSON.
    """
    shape = image.pixels.valid.shape
    mask = np.zeros(shape, np.int64)
    try:
        footprints = [
            (feature["geometry"], 1)
            for feature in load_json(path)["features"]
            if feature["geometry"] and feature["geometry"].get("coordinates")
        ]
        if footprints:  # rasterize refuses an empty list, and some images show no building
            mask = rasterize(footprints, shape, transform=image.grid.transform, dtype="uint8")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is no GeoJSON of footprints: {error}") from error
    return mask.astype(np.int64)


PUBLISHED = (
    Benchmark(
        name="spacenet1",
        task=Task.SEGMENT,
        classes=("ground", "building"),
        layout=SpaceNet1(),
        unit=Unit.BYTE,
        metric="macro_iou",
        paper=80.83,
        paper_tenth=76.46,
        shapes="3 x about 406 x 439 uint8 RGB",
    ),
)
