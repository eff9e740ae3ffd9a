"""fMoW: exact pairing, and what is listed as skipped."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.fmow import Key, find_aerial, find_sentinel, pair_records
from deo.training.data.preparation import Preparation
from deo.training.data.prepare import prepare
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


def write_raster(
    path: Path, values: NDArray[Any], *, names: list[str] | None = None, **profile: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    given = {"driver": "GTiff", "crs": "EPSG:32631", "transform": Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype, **given | profile
    ) as raster:
        raster.write(values)
        for number, name in enumerate(names or [], start=1):
            raster.set_band_description(number, name)
    return path


def random_image(channels: int, size: int, *, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    return rng.integers(200, 9000, (channels, size, size), dtype=np.uint16)


def fmow_path(root: Path, split: str, category: str, location: int, image: int, end: str) -> Path:
    place = f"{category}_{location}"
    return root / split / category / place / f"{place}_{image}{end}"


class Fmow:
    """A small fMoW pair of trees: five Sentinel-2 records, three aerial images."""

    def __init__(self, root: Path, *, table: bool) -> None:
        self.sentinel, self.aerial = root / "fmow-sentinel", root / "fmow-rgb"
        self.images = {
            ("airport", 0, 3): random_image(13, 16, seed=1),
            ("airport", 0, 100): random_image(13, 16, seed=2),
            ("car_dealership", 7, 12): random_image(13, 16, seed=3),
        }
        for (category, location, image), values in self.images.items():
            write_raster(
                fmow_path(self.sentinel, "train", category, location, image, ".tif"), values
            )
        write_raster(fmow_path(self.sentinel, "train", "airport", 1, 0, ".tif"), random_image(1, 1))
        broken = fmow_path(self.sentinel, "train", "airport", 2, 0, ".tif")
        broken.parent.mkdir(parents=True)
        broken.write_bytes(b"II*\0 this is no raster")
        for category, location, image, level in (("airport", 0, 3, 40), ("airport", 0, 4, 60)):
            write_raster(
                fmow_path(self.aerial, "train", category, location, image, "_rgb.jpg"),
                np.full((3, 64, 48), level, np.uint8),
                driver="JPEG",
                crs=None,
                transform=None,
            )
            fmow_path(self.aerial, "train", category, location, image, "_msrgb.jpg").touch()
        # the same numbers in another split are another place
        write_raster(
            fmow_path(self.aerial, "val", "car_dealership", 7, 12, "_rgb.jpg"),
            np.full((3, 32, 32), 90, np.uint8),
            driver="JPEG",
            crs=None,
            transform=None,
        )
        if table:
            self.write_table()

    def write_table(self) -> None:
        rows = [*self.images, ("airport", 1, 0), ("airport", 2, 0), ("airport", 9, 9)]
        with (self.sentinel / "train.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "category", "location_id", "image_id", "timestamp", "polygon"])
            for number, row in enumerate(rows):
                writer.writerow([number, *row, "2018-01-01T00:00:00Z", "POLYGON ((0 0))"])


pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"  # writing the aerial JPEGs
)


def reasons(folder: Path) -> dict[str, str]:
    with (folder / "skipped.csv").open() as file:
        return {row["origin"]: row["reason"] for row in csv.DictReader(file)}


def origins(folder: Path) -> list[str]:
    with (folder / "samples.csv").open() as file:
        return [row["origin"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("table", [False, True])
def test_fmow__pairs_exactly_and_lists_what_it_skips(tmp_path: Path, table: bool) -> None:
    data = Fmow(tmp_path, table=table)
    plan = Preparation(source=data.sentinel, kind="fmow", aerial=data.aerial, size=16)
    report = prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert report.samples == len(shards) == 3
    assert origins(tmp_path / "out") == [
        "train/airport/airport_0/airport_0_3+aerial",
        "train/airport/airport_0/airport_0_100",
        "train/car_dealership/car_dealership_7/car_dealership_7_12",
    ]
    paired, alone = data.images["airport", 0, 3], data.images["airport", 0, 100]
    np.testing.assert_array_equal(shards[0][3:], paired[CHOSEN][3:])
    assert set(np.unique(shards[0][:3])) == {40}
    np.testing.assert_array_equal(shards[1], alone[CHOSEN])
    skipped = reasons(tmp_path / "out")
    assert "has 1 of 13 bands (a null download)" in skipped["train/airport/airport_1/airport_1_0"]
    assert "cannot be read" in skipped["train/airport/airport_2/airport_2_0"]
    assert len(skipped) == report.skipped == (3 if table else 2)
    if table:
        assert skipped["train/airport/airport_9/airport_9_9"] == "listed, not on disk"


def test_fmow__unpaired_records_can_be_skipped(tmp_path: Path) -> None:
    data = Fmow(tmp_path, table=False)
    plan = Preparation(
        source=data.sentinel, kind="fmow", aerial=data.aerial, size=16, unpaired="skip"
    )
    assert prepare(plan, tmp_path / "out").samples == 1
    assert list(reasons(tmp_path / "out").values()).count("no aerial image of this record") == 4


def test_fmow__splits_must_agree(tmp_path: Path) -> None:
    data = Fmow(tmp_path, table=False)
    sentinel = find_sentinel(data.sentinel)
    aerial = find_aerial(data.aerial)
    assert Key("val", "car_dealership", 7, 12) in aerial
    inside = find_aerial(data.aerial / "train" / "airport")
    assert {key.split for key in inside} == {""}
    assert [one.aerial is not None for one in pair_records(sentinel, inside)].count(True) == 1
    several = aerial | {Key("", "airport", 0, 3): Path("x")}
    with pytest.raises(DataError, match="numbered anew"):
        pair_records(sentinel, several)


def test_fmow__a_table_without_a_column_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("category,location_id\nairport,1\n")
    with pytest.raises(DataError, match="lacks the column image_id"):
        find_sentinel(tmp_path)
    (tmp_path / "train.csv").write_text("category,location_id,image_id\nairport,x,1\n")
    with pytest.raises(DataError, match="line 2"):
        find_sentinel(tmp_path)
