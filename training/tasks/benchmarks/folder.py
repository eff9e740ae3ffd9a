"""The user's own data: a folder per class, images and masks, or two dates and masks.

`classify`: `<class>/*.tif`. `segment`: `images/*.tif` and `masks/*.tif` with the same names.
`change`: `A/*.tif`, `B/*.tif` and `masks/*.tif`. These folders are either directly below the root
or below `train`, `valid` and `test`; they may be links. The files' descriptions name the bands,
or the caller declares them. Images are read as scenes are; masks and second dates are laid on them
by their georeferences.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from deo.bands import BandSet
from deo.errors import BandError, ConfigError, DataError
from deo.scene.scene import Scene
from deo.sensors.evidence import Evidence
from deo.training.data.listing import (
    files_below,
    files_in,
    folders_in,
    raster_named,
    say_left_out,
)
from deo.training.data.reading import (
    GridImage,
    errors_naming,
    is_display,
    lay_on,
    open_quietly,
    read_labels,
)
from deo.training.tasks.dataset import SPLITS, Rasters, Sample, Unit, read_chip, relabel
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.task import Benchmark, Task

log = logging.getLogger(__name__)

FOLDER = "folder"
_IMAGES = {Task.CLASSIFY: "", Task.SEGMENT: "images", Task.CHANGE: "A"}
_METRICS = {Task.CLASSIFY: "accuracy", Task.SEGMENT: "macro_iou", Task.CHANGE: "f1"}


@dataclass(frozen=True, kw_only=True)
class Folder(Rasters):
    """One of the three layouts.

    Args:
        task: which of them.
        bands: of every image.
        declared: whether the caller says that the bands have this order; if not, each file does.
        display: whether images hold bytes, see `deo.training.data.reading.GridImage`.
        classes: class folders, or the names of the mask values 0, 1, ... The mask values 255 and
            -1 are ignored, and so is the file's own nodata value unless it is a class.
    """

    task: Task
    bands: BandSet
    declared: bool
    display: bool
    classes: tuple[str, ...]

    def problems(self, root: Path) -> Iterator[str]:
        parts = self.splits(root)
        for split, names in parts.items():
            if not names:
                yield f"no .tif for the split {split} below {root}"
        for name in (name for names in parts.values() for name in names):
            for path in self.files(root, name):
                if not path.is_file():
                    yield f"{path} is missing beside {name}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        if not (root / "train").is_dir():
            return {"all": self._names(root, "")}
        return {split: self._names(root, split) for split in SPLITS if (root / split).is_dir()}

    def _names(self, root: Path, split: str) -> tuple[str, ...]:
        base = root / split
        folders = self.classes if self.task is Task.CLASSIFY else (_IMAGES[self.task],)
        paths = [path for folder in folders for path in files_in(base / folder)]
        return tuple(str(path.relative_to(root)) for path in paths)

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        path = root / name
        if self.task is not Task.CHANGE:
            return (path,)
        return path, _beside(path, "B")

    def files(self, root: Path, name: str) -> tuple[Path, ...]:
        """Every file of a sample; the mask, if there is one, is the last."""
        images = self.images(root, name)
        return images if self.task is Task.CLASSIFY else (*images, _beside(root / name, "masks"))

    def read(self, root: Path, name: str) -> Sample:
        first, *others = (self._image(root, path) for path in self.images(root, name))
        if self.task is Task.CLASSIFY:
            label = np.asarray(self.classes.index((root / name).parent.name), np.int64)
            return Sample(first.pixels.values, label, first.pixels.valid)
        dates = [first.pixels, *(lay_on(other, first, label=f"{name}: B") for other in others)]
        mask_path = self.files(root, name)[-1]
        meaning = {label: label for label in range(len(self.classes))} | {255: IGNORE, -1: IGNORE}
        target = relabel(
            read_labels(mask_path, onto=first), meaning, where=str(mask_path.relative_to(root))
        )
        for pixels in dates:
            # 0 in all bands is the usual sign of missing data, even where no file declares it
            target = np.where(pixels.values.any(0), target, IGNORE)
        valid = np.logical_and.reduce([pixels.valid for pixels in dates])
        image = np.stack([pixels.values for pixels in dates])
        return Sample(image if others else image[0], target, valid)

    def _image(self, root: Path, path: Path) -> GridImage:
        image = read_chip(self, root, path, declared=self.declared)
        if image.display != self.display:
            kinds = ("digital numbers or reflectance", "bytes")
            raise DataError(
                f"{path} holds {kinds[image.display]}, the first image {kinds[self.display]}; "
                "store all images of a data set alike"
            )
        return image


def _beside(image: Path, folder: str) -> Path:
    """The raster of the same name, with any suffix, in a sibling of the image's folder."""
    sibling = image.parent.parent / folder
    exact = sibling / image.name
    return exact if exact.is_file() else raster_named(sibling, image.stem) or exact


def folder_benchmark(
    task: Task,
    root: Path,
    *,
    bands: BandSet | None = None,
    classes: tuple[str, ...] = (),
    scale: float | None = None,
    offset: float | None = None,
) -> Benchmark:
    """Describe a folder of the user's data.

    Args:
        bands: the order of the stored bands; None: as the descriptions of the first file say.
        classes: names of mask values. May be empty for `classify`, where the folders name them,
            and for `change`, where they are unchanged and changed.
        scale, offset: see `Rasters`.

    Raises:
        ConfigError: the classes of masks are not named.
        DataError: the folder is missing or holds no images.
        BandError: the files do not name their bands, and the caller does not declare them.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    bases = [root / split for split in SPLITS if (root / split).is_dir()]
    if not (root / "train").is_dir():
        bases = [root]
    if task is Task.CLASSIFY:
        # a class may occur in one split only, and its number has to be the same in all of them
        classes = classes or tuple(sorted({name for base in bases for name in folders_in(base)}))
    elif task is Task.CHANGE:
        classes = classes or ("unchanged", "changed")
    if len(classes) < 2:
        raise ConfigError("name the classes of the masks in order: --classes background,water")
    folders = classes if task is Task.CLASSIFY else (_IMAGES[task],)
    images = (path for base in bases for name in folders for path in files_in(base / name))
    first = next(images, None)
    if first is None:
        search = f"{_IMAGES[task] or '*'}/*.tif"
        raise DataError(
            f"no image {search} below {bases[0]}; see docs/finetuning.md for the layout"
        )
    with _opened(first, bands, scale, offset) as scene:
        layout = Folder(
            task=task,
            bands=bands or scene.bands,
            declared=bands is not None,
            display=scale is None and is_display(scene),
            classes=classes,
            scale=scale,
            offset=offset,
        )
        if scene.radiometry.assumed and not layout.display:
            log.warning(
                "%s: nothing says whether %s and the like carry the offset of processing baseline "
                "04.00; taken as without one (--offset -1000 if they do)",
                root,
                first.name,
            )
    _say_left_out(layout, root)
    return Benchmark(
        name=FOLDER,
        task=task,
        classes=classes,
        layout=layout,
        unit=Unit.BYTE if layout.display else Unit.DN,
        metric=_METRICS[task],
    )


def _opened(path: Path, bands: BandSet | None, scale: float | None, offset: float | None) -> Scene:
    """Open the first image for its bands and type; its unit is judged later with the others'."""
    with errors_naming(path):
        try:
            return open_quietly(
                path, bands=bands, scale=scale, offset=offset, judge_floats=_unjudged
            )
        except BandError as error:
            if bands is not None:
                raise
            raise BandError(
                f"{error}. For a data set, say the order of all of its bands: "
                "--stored-bands B02,B03,..."
            ) from error


def _unjudged(*_: object) -> Evidence:
    return Evidence(fact="judged with the other images", scale=1.0, offset=0.0)


def _say_left_out(layout: Folder, root: Path) -> None:
    # the listing may reach a folder by another link than the layout does, so links are resolved;
    # once per folder, because a data set has many more files than folders
    folder_of: Callable[[Path], Path] = cache(Path.resolve)

    def real(path: Path) -> Path:
        return folder_of(path.parent) / path.name

    taken = {
        real(path)
        for names in layout.splits(root).values()
        for name in names
        for path in layout.files(root, name)
    }
    left = [path for path in files_below(root) if real(path) not in taken]
    say_left_out(root, left, because="as this layout of folders has no place for them")
