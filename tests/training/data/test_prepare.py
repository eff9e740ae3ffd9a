"""Preparation: fMoW trees with the exact naming, scenes, HDF5; resuming, skipping, reporting."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import BusyError, ConfigError, DataError, DeoError, OutputError
from deo.files.disk import make_folder
from deo.files.lock import claim
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data import plan as planning
from deo.training.data import prepare as preparation
from deo.training.data.fmow import Key, find_aerial, find_sentinel, pair
from deo.training.data.preparation import Preparation, recognise
from deo.training.data.prepare import prepare
from deo.training.data.samples import Samples, open_samples
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


def test_fmow__resampled_to_the_size(tmp_path: Path) -> None:
    data = Fmow(tmp_path, table=False)
    prepare(Preparation(source=data.sentinel, kind="fmow", size=24), tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert shards.index.shape == (10, 24, 24)
    source = data.images["airport", 0, 3][CHOSEN]
    assert shards[0].mean() == pytest.approx(source.mean(), rel=0.02)


def test_fmow__splits_must_agree(tmp_path: Path) -> None:
    data = Fmow(tmp_path, table=False)
    sentinel = find_sentinel(data.sentinel)
    aerial = find_aerial(data.aerial)
    assert Key("val", "car_dealership", 7, 12) in aerial
    inside = find_aerial(data.aerial / "train" / "airport")
    assert {key.split for key in inside} == {""}
    assert [one.aerial is not None for one in pair(sentinel, inside)].count(True) == 1
    several = aerial | {Key("", "airport", 0, 3): Path("x")}
    with pytest.raises(DataError, match="numbered anew"):
        pair(sentinel, several)


def test_fmow__a_table_without_a_column_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("category,location_id\nairport,1\n")
    with pytest.raises(DataError, match="lacks the column image_id"):
        find_sentinel(tmp_path)
    (tmp_path / "train.csv").write_text("category,location_id,image_id\nairport,x,1\n")
    with pytest.raises(DataError, match="line 2"):
        find_sentinel(tmp_path)


def test_recognise__what_stands_there(tmp_path: Path) -> None:
    data = Fmow(tmp_path, table=False)
    assert recognise(data.sentinel) == "fmow"
    write_raster(tmp_path / "scenes" / "paris_1_2016.tif", random_image(13, 8))
    assert recognise(tmp_path / "scenes") == "scenes"
    (tmp_path / "a.h5").touch()
    assert recognise(tmp_path / "a.h5") == "samples"
    with pytest.raises(DataError, match="does not exist"):
        recognise(tmp_path / "nothing")


def write_scenes(folder: Path, count: int = 2) -> list[NDArray[np.uint16]]:
    scenes = []
    for number in range(count):
        values = random_image(13, 40, seed=number)
        values[:, :, 32:] = 0
        write_raster(folder / f"city_{number}.tif", values, names=ESA, nodata=0)
        scenes.append(values)
    return scenes


def scene_plan(folder: Path, **options: Any) -> Preparation:
    return Preparation(source=folder, kind="scenes", **{"size": 16, "stride": 8, **options})


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_scenes__cut_by_stride_and_valid_area(tmp_path: Path, workers: int) -> None:
    scenes = write_scenes(tmp_path / "in")
    report = prepare(scene_plan(tmp_path / "in"), tmp_path / "out", workers=workers)
    shards = Shards(tmp_path / "out")
    assert report.samples == len(shards) == 2 * 4 * 3
    names = origins(tmp_path / "out")
    for number in (0, 7, 23):
        name, row, col = names[number].split(":")
        values = scenes[int(name[5])][CHOSEN]
        cut = values[:, int(row) : int(row) + 16, int(col) : int(col) + 16]
        np.testing.assert_array_equal(shards[number], cut)


def test_scenes__report_has_the_statistics(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "in", count=1)
    report = prepare(scene_plan(tmp_path / "in", stride=16, valid=1.0), tmp_path / "out")
    seen = scenes[0][CHOSEN][:, :32, :32].astype(np.float64)
    rows = report.statistics.rows(MODEL_BANDS.names)
    assert rows["B8A"]["mean"] == pytest.approx(seen[7].mean())
    assert rows["B8A"]["std"] == pytest.approx(seen[7].std())
    assert (rows["B12"]["min"], rows["B12"]["max"]) == (seen[9].min(), seen[9].max())
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.startswith("4 samples in 2 shards")
    assert "| B8A |" in text


def test_scenes__a_bad_one_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in", count=1)
    (tmp_path / "in" / "bad.tif").write_bytes(b"no raster")
    write_raster(tmp_path / "in" / "small.tif", random_image(13, 8), names=ESA)
    write_raster(tmp_path / "in" / "four.tif", random_image(4, 40), names=ESA[:4])
    report = prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    assert report.samples == 12
    found = "\n".join(f"{name} {reason}" for name, reason in reasons(tmp_path / "out").items())
    assert "bad.tif" in found
    assert "8 x 8 pixels; wanted at least 16" in found
    assert "missing bands" in found


def test_prepare__stopped_and_started_again_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scenes(tmp_path / "in")
    prepare(scene_plan(tmp_path / "in"), tmp_path / "whole")
    made, real = [], preparation.make_part

    def stop_at_the_third(arguments: Any) -> None:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(arguments[2])
        real(arguments)

    monkeypatch.setattr(preparation, "make_part", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(DataError, match="has not finished"):
        Shards(tmp_path / "out")
    again: list[int] = []

    def count(arguments: Any) -> None:
        again.append(arguments[2])
        real(arguments)

    monkeypatch.setattr(preparation, "make_part", count)
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    assert not set(made) & set(again)
    for path in (tmp_path / "whole").glob("*.*"):
        if path.name != "plan.json":
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_prepare__remakes_a_shard_that_was_deleted(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in")
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    path = tmp_path / "out" / "shard-00001.bin"
    before = path.read_bytes()
    path.unlink()
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    assert path.read_bytes() == before
    Shards(tmp_path / "out").verify()


def test_prepare__other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in")
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(OutputError, match=r"stride: 8 -> 16"):
        prepare(scene_plan(tmp_path / "in", stride=16), tmp_path / "out")


def test_prepare__nothing_usable_is_said(tmp_path: Path) -> None:
    write_raster(tmp_path / "in" / "small.tif", random_image(13, 8), names=ESA)
    with pytest.raises(DataError, match=r"gave no sample: 1 records were skipped(?s:.*)8 x 8"):
        prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no scene"):
        prepare(scene_plan(tmp_path / "empty"), tmp_path / "out2")


def test_prepare__an_unwritable_output_is_said(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in", count=1)
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"cannot write .*out: it is a file"):
        prepare(scene_plan(tmp_path / "in"), tmp_path / "out")


def test_prepare__hdf5_to_shards(tmp_path: Path) -> None:
    images = np.stack([random_image(10, 8, seed=seed) for seed in range(40)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = images.astype(np.float32) + 0.2
    plan = Preparation(source=tmp_path / "a.h5", kind=recognise(tmp_path / "a.h5"))
    prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert len(shards) == 40
    np.testing.assert_array_equal(np.stack([shards[i] for i in range(40)]), images)


def test_preparation__settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    for options in ({"size": 0}, {"stride": 0}, {"valid": 1.1}, {"aerial": tmp_path}):
        with pytest.raises(ConfigError):
            Preparation(**{"source": tmp_path, "kind": "scenes", **options})


def test_scenes__real_ones(shared: Path, tmp_path: Path) -> None:
    plan = Preparation(
        source=shared / "data" / "sentinel2",
        kind="scenes",
        size=96,
        valid=0.95,
        pattern="bercy_[12]_*.tif",
    )
    report = prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert report.samples == len(shards) > 10
    assert json.loads((tmp_path / "out" / "index.json").read_text())["details"]["statistics"]
    with rasterio.open(shared / "data" / "sentinel2" / "bercy_1_20161130.tif") as raster:
        name, row, col = origins(tmp_path / "out")[0].split(":")
        assert name == "bercy_1_20161130.tif"
        window = rasterio.windows.Window(int(col), int(row), 96, 96)
        values = raster.read([index + 1 for index in CHOSEN], window=window)
    valid = (values > 0).all(axis=0)
    np.testing.assert_array_equal(shards[0][:, valid], values[:, valid])


def npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_hdf5(path: Path, images: NDArray[Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images).attrs.update(attributes)
    return path


def as_rasters(folder: Path, images: NDArray[Any], tags: dict[str, str]) -> dict[str, bytes]:
    members = {}
    for number, image in enumerate(images):
        path = write_raster(folder / f"{number}.tif", image, names=list(MODEL_BANDS))
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
        members[f"chips/{number}.tif"] = path.read_bytes()
    return members


NUMBERS = np.stack([random_image(10, 8, seed=seed) for seed in range(20)])
ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "hdf5 of reflectance": lambda at: write_hdf5(at / "a.h5", (NUMBERS / 1e4).astype("f4")),
    "hdf5 of doubles": lambda at: write_hdf5(at / "a.h5", NUMBERS / 1e4),
    "hdf5 with the offset": lambda at: write_hdf5(
        at / "a.h5", NUMBERS + np.uint16(1000), processing_baseline="05.10"
    ),
    "hdf5 with a scale": lambda at: write_hdf5(
        at / "a.h5", NUMBERS + np.uint16(1000), scale_factor=1e-4, add_offset=-0.1
    ),
    "hdf5, big-endian": lambda at: write_hdf5(at / "a.h5", NUMBERS.astype(">u2")),
    "tar of reflectance": lambda at: write_tar(
        at / "a.tar", {f"{n}.npy": npy((one / 1e4).astype("f4")) for n, one in enumerate(NUMBERS)}
    ),
    "tar, big-endian": lambda at: write_tar(
        at / "a.tar", {f"{n}.npy": npy(one.astype(">u2")) for n, one in enumerate(NUMBERS)}
    ),
    "tar of tagged rasters": lambda at: write_tar(
        at / "a.tar",
        as_rasters(at, NUMBERS + np.uint16(1000), {"s2:processing_baseline": "05.10"}),
    ),
    "tar of float rasters": lambda at: write_tar(
        at / "a.tar", as_rasters(at, (NUMBERS / 1e4).astype("f4"), {})
    ),
    "tar whose members are named by product": lambda at: write_tar(
        at / "a.tar",
        {
            name.replace(
                "chips/",
                "S2A_MSIL2A_20230823T095559_N0509_R122_T34UCF_20230823T124759/",
            ): data
            for name, data in as_rasters(at, NUMBERS + np.uint16(1000), {}).items()
        },
    ),
}


def samples_plan(source: Path, **options: Any) -> Preparation:
    return Preparation(source=source, kind=recognise(source), size=8, **options)


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives__the_same_numbers_however_they_are_stored(tmp_path: Path, case: str) -> None:
    (tmp_path / "in").mkdir()
    source = ARCHIVES[case](tmp_path / "in")
    report = prepare(samples_plan(source), tmp_path / "out")
    shards, direct = Shards(tmp_path / "out"), open_samples(source)
    assert report.samples == 20
    for number in range(20):
        np.testing.assert_array_equal(shards[number], NUMBERS[number])
        np.testing.assert_array_equal(direct[number], NUMBERS[number])
    (made,) = shards.index.details["radiometry"]
    assert made.startswith("stored x ")


@pytest.mark.parametrize(
    "bands",
    [
        ",".join(MODEL_BANDS).encode(),
        list(MODEL_BANDS),
        [name.encode() for name in MODEL_BANDS],
        np.array(list(MODEL_BANDS), dtype=object),
        ", ".join(MODEL_BANDS),
    ],
)
def test_hdf5__names_of_bands_in_whatever_form(tmp_path: Path, bands: Any) -> None:
    source = write_hdf5(tmp_path / "a.h5", NUMBERS[:, ::-1], bands=bands)
    np.testing.assert_array_equal(open_samples(source)[3], NUMBERS[3, ::-1])


@pytest.mark.parametrize("kind", ["h5", "tar"])
def test_archives__what_cannot_be_told_is_refused(tmp_path: Path, kind: str) -> None:
    images = (NUMBERS / 100).astype("f4")
    if kind == "h5":
        source = write_hdf5(tmp_path / "a.h5", images)
    else:
        source = write_tar(tmp_path / "a.tar", {f"{n}.npy": npy(a) for n, a in enumerate(images)})
    with pytest.raises(DeoError, match=r"(?s)too small for reflectance x 10 000.*--scale"):
        prepare(samples_plan(source), tmp_path / "out")
    report = prepare(samples_plan(source, scale=100.0, offset=0.0), tmp_path / "told")
    assert report.samples == 20
    np.testing.assert_array_equal(Shards(tmp_path / "told")[4], NUMBERS[4])


def test_archives__empty_and_odd_samples_are_counted_one_by_one(tmp_path: Path) -> None:
    images = (NUMBERS / 1e4).astype("f4")
    images[3], images[5], images[7] = 0, np.nan, NUMBERS[7]
    images[9, 2, 0, 0], images[9, 4, 0, 1] = np.nan, np.inf
    report = prepare(samples_plan(write_hdf5(tmp_path / "a.h5", images)), tmp_path / "out")
    assert (report.samples, report.skipped) == (17, 3)
    skipped = reasons(tmp_path / "out")
    assert skipped["a.h5:3"] == skipped["a.h5:5"] == "every pixel is 0 or missing"
    assert "cannot be reflectance" in skipped["a.h5:7"]
    shards = Shards(tmp_path / "out")
    holed = shards[origins(tmp_path / "out").index("a.h5:9")]
    assert not holed[:, 0, :2].any()
    np.testing.assert_array_equal(holed[:, 1:], NUMBERS[9][:, 1:])


def test_archives__nodata_of_hdf5_becomes_0(tmp_path: Path) -> None:
    images = NUMBERS.astype("i4")
    images[:, 3, 0] = -9999
    prepare(samples_plan(write_hdf5(tmp_path / "a.h5", images, _FillValue=-9999)), tmp_path / "out")
    sample = Shards(tmp_path / "out")[0]
    assert not sample[:, 0].any()
    np.testing.assert_array_equal(sample[:, 1:], NUMBERS[0][:, 1:])


def test_archives__nothing_but_zeros_is_refused(tmp_path: Path) -> None:
    source = write_hdf5(tmp_path / "a.h5", np.zeros((20, 10, 8, 8), np.uint16))
    with pytest.raises(DataError, match=r"gave no sample: 20 records were skipped"):
        prepare(samples_plan(source), tmp_path / "out")


def test_shards__of_zeros_are_not_trained_on(tmp_path: Path) -> None:
    prepare(samples_plan(write_hdf5(tmp_path / "a.h5", NUMBERS)), tmp_path / "out")
    open_samples(tmp_path / "out")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    index["details"]["statistics"] = {name: {"max": 1.0} for name in MODEL_BANDS}
    (tmp_path / "out" / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="rounded reflectance or nothing"):
        open_samples(tmp_path / "out")


def test_tars__junk_is_no_sample_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = {"0.npy": npy(NUMBERS[0]), "._0.npy": b"junk", "__MACOSX/0.npy": b"junk"}
    write_tar(tmp_path / "a.TAR", members | {"0.png": b"x", "1.png": b"x"})
    write_tar(tmp_path / "._a.tar", {"0.npy": b"junk"})
    (tmp_path / "notes.txt").touch()
    assert recognise(tmp_path) == "samples"
    assert len(open_samples(tmp_path)) == 1
    assert "2 .png" in caplog.text
    assert "1 .txt" in caplog.text


def test_scenes__links_and_cases_are_followed_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path / "store", count=1)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "2023").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "in" / "deep" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "deep", target_is_directory=True)
    write_raster(tmp_path / "in" / "B.TIF", random_image(13, 40), names=ESA)
    (tmp_path / "in" / "._B.TIF").write_bytes(b"junk")
    (tmp_path / "in" / "__MACOSX").mkdir()
    (tmp_path / "in" / "__MACOSX" / "B.TIF").write_bytes(b"junk")
    (tmp_path / "in" / "photo.png").touch()
    report = prepare(scene_plan(tmp_path / "in", stride=16), tmp_path / "out")
    assert report.skipped == 0
    assert {name.split(":")[0] for name in origins(tmp_path / "out")} == {"city_0.tif", "B.TIF"}
    assert "1 file is left out, being no scenes: 1 .png" in caplog.text


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"shard": null}'])
def test_prepare__a_damaged_part_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path / "in", count=1)
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    part, shard = tmp_path / "out/parts/00001.json", tmp_path / "out/shard-00001.bin"
    before, whole = shard.read_bytes(), part.read_text()
    part.write_text(damage)
    shard.write_bytes(bytes(len(before)))
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    assert "00001.json is damaged" in caplog.text
    assert (shard.read_bytes(), part.read_text()) == (before, whole)


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_prepare__under_a_damaged_plan_everything_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path / "in", count=1)
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    plan = tmp_path / "out/plan.json"
    whole = plan.read_text()
    plan.write_text(damage)
    prepare(scene_plan(tmp_path / "in", stride=8), tmp_path / "out")
    assert "plan.json is damaged" in caplog.text
    assert plan.read_text() == whole
    Shards(tmp_path / "out").verify()


def test_prepare__what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in", count=1)
    out, mark = tmp_path / "out", "0123cdef.new"
    prepare(scene_plan(tmp_path / "in"), out)
    ours = [f".shard-00000.bin.{mark}", f".index.json.{mark}", f"parts/.00000.json.{mark}"]
    theirs = [".shard-00000.bin.bak", ".notes", f".other.{mark}"]
    for name in (*ours, *theirs):
        (out / name).touch()
    prepare(scene_plan(tmp_path / "in"), out)
    assert [name for name in (*ours, *theirs) if (out / name).exists()] == theirs


def test_prepare__two_in_one_folder_one_refuses(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in", count=1)
    (tmp_path / "out").mkdir()
    with (
        claim(make_folder(tmp_path / "out" / "parts")),
        pytest.raises(BusyError, match="another run"),
    ):
        prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    assert prepare(scene_plan(tmp_path / "in"), tmp_path / "out").samples == 12


def test_fmow__reads_by_the_evidence_of_its_files(tmp_path: Path) -> None:
    wanted = random_image(13, 8)
    for location, (values, tags) in enumerate([
        (wanted, {}),
        (wanted + np.uint16(1000), {"s2:processing_baseline": "05.10"}),
    ]):  # fmt: skip
        path = fmow_path(tmp_path / "in", "train", "airport", location, 0, ".tif")
        write_raster(path, values)
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
    write_raster(
        fmow_path(tmp_path / "in", "train", "airport", 2, 0, ".tif"), (wanted / 1e4).astype("f4")
    )
    prepare(Preparation(source=tmp_path / "in", kind="fmow", size=8), tmp_path / "out")
    shards = Shards(tmp_path / "out")
    np.testing.assert_array_equal(np.stack([shards[0], shards[1]]), [wanted[CHOSEN]] * 2)
    (reason,) = reasons(tmp_path / "out").values()
    assert "cannot be digital numbers" in reason


@pytest.mark.parametrize("name", ["a.h5", "a.tar"])
def test_prepare__a_file_of_samples_is_opened_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.arange(100 * 10 * 4, dtype=np.uint16).reshape(100, 10, 2, 2)
    path = tmp_path / name
    if name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            file["images"] = images
    else:
        with tarfile.open(path, "w") as tar:
            for number, image in enumerate(images):
                np.save(tmp_path / "one.npy", image)
                tar.add(tmp_path / "one.npy", f"{number:03d}.npy")
    opened: list[str] = []

    def counting(source: str) -> Samples:
        opened.append(source)
        return open_samples(source)

    monkeypatch.setattr(planning, "open_samples", counting)
    plan = Preparation(source=path, kind="samples", size=2)
    prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert np.array_equal(np.stack([shards[number] for number in range(100)]), images)
    assert opened == [str(path)]
