"""fMoW-Sentinel and fMoW-RGB as they lie on disk: their names, and exact pairing.

Layout of both: `<root>/[<split>/]<category>/<category>_<location>/<category>_<location>_<image>`
followed by `.tif` (13 bands in ESA's order) or `_rgb.jpg`; fMoW-Sentinel also has one csv per
split. Locations are numbered anew in every split, so a pair agrees in split, category, location
and image (see "Data" in docs/data.md for what the published run does not record).
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deo.errors import DataError
from deo.training.data.listing import files_below, is_raster

FMOW_SPLITS = ("train", "val", "test", "test_gt", "seq", "seq_gt")
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


def looks_like_fmow(root: Path) -> bool:
    """Whether the first rasters of a tree are named and placed as fMoW does it."""
    if any((root / f"{split}.csv").is_file() for split in FMOW_SPLITS):
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
    tables = [root / f"{split}.csv" for split in splits or FMOW_SPLITS]
    tables = [table for table in tables if table.is_file()]
    records: dict[Key, Path] = {}
    for table in tables:
        for key in _rows(table):
            records[key] = root / f"{key}.tif"
    if not tables:
        records = _walk(root, ".tif", splits)
    if not records:
        wanted = f" in {', '.join(splits)}" if splits else ""
        raise DataError(
            f"{root} holds no fMoW-Sentinel image{wanted}; wanted "
            "<split>/<category>/<category>_<location>/<category>_<location>_<image>.tif"
        )
    return records


def find_aerial(root: Path, splits: Sequence[str] = ()) -> dict[Key, Path]:
    """Records of fMoW-RGB (`_rgb.jpg`, never `_msrgb.jpg`) from its tree.

    Raises:
        DataError: nothing was found.
    """
    records = _walk(root, ".jpg", splits)
    if not records:
        raise DataError(
            f"{root} holds no fMoW-RGB image; wanted "
            "<split>/<category>/<category>_<location>/<category>_<location>_<image>_rgb.jpg"
        )
    return records


def pair_records(sentinel: dict[Key, Path], aerial: dict[Key, Path]) -> list[Pair]:
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
    records = {}
    aerial = ending == ".jpg"
    for path in files_below(root):
        key = _key(root, path) if path.stem.endswith("_rgb") == aerial else None
        if key is not None and (not splits or key.split in (*splits, "")):
            records[key] = path
    return records


def _key(root: Path, path: Path) -> Key | None:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    category, location = match["category"], match["location"]
    if path.parent.name != f"{category}_{location}" or path.parent.parent.name != category:
        return None
    above = path.parent.parent.parent
    inside = above == root or root in above.parents
    split = above.name if inside and above.name in FMOW_SPLITS else ""
    return Key(split, category, int(location), int(match["image"]))
