"""A chip reads as its scene; masks and second dates lie where their georeference says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds

from deo.bands import MODEL_BANDS, RGB_BANDS
from deo.errors import BandError, DataError, RadiometryError
from deo.scene.opening import open_scene
from deo.scene.window import Window
from deo.training.data.reading import read_image, read_labels
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.benchmarks.eurosat import EUROSAT_CLASSES
from deo.training.tasks.benchmarks.folder import folder_benchmark
from deo.training.tasks.dataset import Sample, Unit
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.task import Benchmark, Task

UTM = "EPSG:32633"


NORTH_UP = Affine(10, 0, 500000, 0, -10, 5000000)


SIDE = 24


def digital_numbers(seed: int = 0, channels: int = 10) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.rint(rng.uniform(200, 3000, (channels, SIDE, SIDE)))


def write(
    path: Path,
    values: NDArray[Any],
    *,
    names: Any = MODEL_BANDS.names,
    dtype: str = "uint16",
    tags: dict[str, str] | None = None,
    scales: Any = None,
    offsets: Any = None,
    **profile: Any,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    usual = {"driver": "GTiff", "crs": UTM, "transform": NORTH_UP}
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=dtype, **usual | profile
    ) as file:
        file.write(values.astype(dtype))
        if names:
            file.descriptions = names
            if "alpha" in names:
                file.colorinterp = [ColorInterp.gray] * (count - 1) + [ColorInterp.alpha]
        file.update_tags(**tags or {})
        if scales:
            file.scales, file.offsets = scales, offsets
    return path


def hole(values: NDArray[Any], marked: float) -> NDArray[Any]:
    values = values.copy()
    values[:, :5] = marked
    return values


STORED = {
    "baseline": (lambda a: a + 1000, {"tags": {"s2:processing_baseline": "05.10"}}),
    "gdal": (lambda a: a + 1000, {"scales": (1e-4,) * 10, "offsets": (-0.1,) * 10}),
    "reflectance": (lambda a: a / 1e4, {"dtype": "float32"}),
    "float numbers": (lambda a: a, {"dtype": "float32"}),
    "reversed": (lambda a: a[::-1], {"names": MODEL_BANDS.names[::-1]}),
    "an alpha band": (
        lambda a: np.concatenate((a, np.full((1, SIDE, SIDE), 65535))),
        {"names": (*MODEL_BANDS.names, "alpha")},
    ),
}


HOLES = {
    "0": (lambda a: hole(a, 0), {"nodata": 0}),
    "65535": (lambda a: hole(a, 65535), {"nodata": 65535}),
    "-9999": (lambda a: hole(a, -9999), {"nodata": -9999, "dtype": "int16"}),
    "nan": (lambda a: hole(a, np.nan), {"dtype": "float32"}),
    "inf": (lambda a: hole(a, np.inf), {"dtype": "float32"}),
    "offset": (
        lambda a: hole(a + 1000, 0),
        {"tags": {"s2:processing_baseline": "05.10"}},
    ),
    "reflectance": (lambda a: hole(a / 1e4, -9999), {"dtype": "float32", "nodata": -9999}),
}


def segments(root: Path, chips: list[NDArray[Any]], *, mask: Any = None, **stored: Any) -> Path:
    for number, chip in enumerate(chips):
        write(root / "images" / f"{number}.tif", chip, **stored)
        values = np.zeros((1, SIDE, SIDE)) if mask is None else mask
        write(root / "masks" / f"{number}.tif", values, names=None, dtype="uint8")
    return root


def opened(root: Path, task: Task = Task.SEGMENT, **options: Any) -> tuple[Benchmark, list[Sample]]:
    classes = () if task is not Task.SEGMENT else ("a", "b")
    bench = folder_benchmark(task, root, classes=classes, **options)
    return bench, list(bench.open(root, bands=MODEL_BANDS)["all"])


@pytest.mark.parametrize("case", STORED)
def test_folder__equal_input_however_it_is_stored(tmp_path: Path, case: str) -> None:
    store, options = STORED[case]
    wanted = [digital_numbers(seed) for seed in range(2)]
    bench, samples = opened(segments(tmp_path, [store(chip) for chip in wanted], **options))
    assert bench.unit is Unit.DN
    for sample, chip in zip(samples, wanted, strict=True):
        np.testing.assert_allclose(sample.image, chip, atol=0.01)
        assert sample.valid.all()
        assert (sample.target == 0).all()


@pytest.mark.parametrize("case", HOLES)
def test_folder__holes_are_zero_and_their_labels_ignored(tmp_path: Path, case: str) -> None:
    store, options = HOLES[case]
    wanted = hole(digital_numbers(), 0)
    _, (sample,) = opened(segments(tmp_path, [store(digital_numbers())], **options))
    np.testing.assert_allclose(sample.image, wanted, atol=0.01)
    assert not sample.valid[:5].any()
    assert sample.valid[5:].all()
    assert (sample.target[:5] == IGNORE).all()
    assert (sample.target[5:] == 0).all()


@pytest.mark.parametrize("case", [*STORED, *HOLES])
def test_read_image__is_what_the_scene_reads(tmp_path: Path, case: str) -> None:
    store, options = (STORED | HOLES)[case]
    path = write(tmp_path / "a.tif", store(digital_numbers()), **options)
    image = read_image(path, bands=MODEL_BANDS, declared=False)
    with open_scene(path, bands=MODEL_BANDS) as scene:
        whole = scene.read(Window(row=0, col=0, height=SIDE, width=SIDE))
    np.testing.assert_array_equal(image.pixels.values, whole.values)
    np.testing.assert_array_equal(image.pixels.valid, whole.valid)


def test_folder__contradictory_evidence_names_the_file(tmp_path: Path) -> None:
    tags = {"s2:processing_baseline": "05.10", "boa_add_offset": "0"}
    segments(tmp_path, [digital_numbers()], tags=tags)
    with pytest.raises(RadiometryError, match=r"0\.tif: band B04: contradictory offsets"):
        opened(tmp_path)


def test_folder__a_chip_of_water_is_judged_with_its_neighbours(tmp_path: Path) -> None:
    water = np.full((10, SIDE, SIDE), 40.0)  # alone, neither reflectance nor digital numbers
    segments(tmp_path, [water, *(digital_numbers(seed) for seed in range(3))], dtype="float32")
    _, samples = opened(tmp_path)
    assert (samples[0].image == 40).all()


def test_folder__a_unit_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    segments(tmp_path, [digital_numbers() / 100] * 3, dtype="float32")
    with pytest.raises(RadiometryError, match="too large for reflectance and too small"):
        opened(tmp_path)


@pytest.mark.parametrize("odd", [1, 1e-4])
def test_folder__one_of_another_unit_is_refused_by_name(tmp_path: Path, odd: float) -> None:
    usual = 1e-4 if odd == 1 else 1
    chips = [digital_numbers(seed) * usual for seed in range(40)]
    segments(tmp_path, [*chips, digital_numbers(99) * odd], dtype="float32")
    with pytest.raises(RadiometryError, match=r"40\.tif: float32 .* cannot be "):
        opened(tmp_path)


def test_folder__bytes_and_numbers_do_not_mix(tmp_path: Path) -> None:
    segments(tmp_path, [digital_numbers() / 12], dtype="uint8")
    write(tmp_path / "images" / "1.tif", digital_numbers())
    write(tmp_path / "masks" / "1.tif", np.zeros((1, SIDE, SIDE)), names=None, dtype="uint8")
    with pytest.raises(DataError, match=r"1\.tif holds digital numbers .*, the first image bytes"):
        opened(tmp_path)


def test_folder__bytes_with_a_scale_are_reflectance(tmp_path: Path) -> None:
    segments(
        tmp_path, [np.full((10, SIDE, SIDE), 50)], dtype="uint8", scales=(0.004,) * 10,
        offsets=(0,) * 10,
    )  # fmt: skip
    bench, (sample,) = opened(tmp_path)
    assert bench.unit is Unit.DN
    np.testing.assert_allclose(sample.image, 2000, rtol=1e-5)


def test_read_image__a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.tif").write_bytes(b"no raster")
    with pytest.raises(DataError, match=r"0\.tif cannot be read"):
        opened(tmp_path)


def test_read_image__unnamed_bands_want_a_declaration(tmp_path: Path) -> None:
    segments(tmp_path, [digital_numbers()], names=None)
    with pytest.raises(BandError, match="--stored-bands"):
        opened(tmp_path)
    _, (sample,) = opened(tmp_path, bands=MODEL_BANDS)
    np.testing.assert_array_equal(sample.image, digital_numbers())


LABELS = np.arange(SIDE * SIDE, dtype=np.int32).reshape(1, SIDE, SIDE)


def mask_cases() -> dict[str, tuple[NDArray[Any], dict[str, Any], NDArray[Any]]]:
    """Stored mask, its profile, and what lies under the image's pixels (-1: nothing)."""
    shifted = np.full((SIDE, SIDE), -1)
    shifted[:, 8:] = LABELS[0, :, : SIDE - 8]
    larger = np.pad(LABELS, ((0, 0), (3, 5), (3, 5)), constant_values=7)
    coarse = LABELS[:, ::2, ::2]
    east = {"transform": NORTH_UP @ Affine.translation(8, 0)}
    return {
        "the same": (LABELS, {}, LABELS[0]),
        "no georeference": (LABELS, {"transform": None, "crs": None}, LABELS[0]),
        "south up": (
            LABELS[:, ::-1],
            {"transform": NORTH_UP @ Affine.translation(0, SIDE) @ Affine.scale(1, -1)},
            LABELS[0],
        ),
        "80 m to the east": (LABELS, east, shifted),
        "without a CRS": (LABELS, {**east, "crs": None}, shifted),
        "larger": (larger, {"transform": NORTH_UP @ Affine.translation(-3, -3)}, LABELS[0]),
        "20 m": (
            coarse,
            {"transform": NORTH_UP @ Affine.scale(2)},
            coarse[0].repeat(2, 0).repeat(2, 1),
        ),
        "turned": (
            LABELS[:, ::-1].swapaxes(1, 2),
            {"transform": Affine(0, 10, 500000, 10, 0, 5000000 - 10 * SIDE)},
            LABELS[0],
        ),
    }


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("case", mask_cases())
def test_read_labels__lie_where_their_georeference_says(tmp_path: Path, case: str) -> None:
    stored, profile, wanted = mask_cases()[case]
    image = read_image(write(tmp_path / "i.tif", digital_numbers()), bands=MODEL_BANDS)
    path = write(tmp_path / "m.tif", stored, names=None, dtype="int32", **profile)
    labels = read_labels(path, onto=image)
    np.testing.assert_array_equal(np.where(labels.known, labels.values, -1), wanted)


def test_read_labels__from_another_zone(tmp_path: Path) -> None:
    """Each pixel of the mask holds the image's column that it lies in, near enough."""
    image = read_image(write(tmp_path / "i.tif", digital_numbers()), bands=MODEL_BANDS)
    bounds = (500000, 5000000 - 10 * SIDE, 500000 + 10 * SIDE, 5000000)
    west, south, east, north = transform_bounds(UTM, "EPSG:4326", *bounds)
    fine = 200
    degrees = Affine((east - west) / fine, 0, west, 0, -(north - south) / fine, north)
    x = (np.arange(fine) + 0.5) / fine * SIDE
    stored = np.floor(x)[None, None, :].repeat(fine, 1)
    path = write(
        tmp_path / "m.tif", stored, names=None, dtype="int32", crs="EPSG:4326", transform=degrees
    )
    labels = read_labels(path, onto=image)
    assert np.abs(labels.values - np.arange(SIDE))[labels.known].max() <= 1
    assert labels.known.mean() > 0.95


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("profile", "side", "message"),
    [
        ({"transform": NORTH_UP @ Affine.translation(0, 900)}, SIDE, "do not overlap"),
        ({"crs": "EPSG:32733"}, SIDE, "do not overlap"),
        ({"transform": None, "crs": None}, SIDE + 1, "mismatched pair, sizes differ"),
    ],
)
def test_read_labels__elsewhere_is_refused(
    tmp_path: Path, profile: dict[str, Any], side: int, message: str
) -> None:
    image = read_image(write(tmp_path / "i.tif", digital_numbers()), bands=MODEL_BANDS)
    values = np.zeros((1, side, side))
    path = write(tmp_path / "m.tif", values, names=None, dtype="uint8", **profile)
    with pytest.raises(DataError, match=message):
        read_labels(path, onto=image)


def test_folder__nodata_of_a_mask_is_ignored(tmp_path: Path) -> None:
    segments(tmp_path, [digital_numbers()])
    mask = np.zeros((1, SIDE, SIDE))
    mask[0, 0], mask[0, 1], mask[0, 2] = 254, 1, 255
    write(tmp_path / "masks" / "0.tif", mask, names=None, dtype="uint8", nodata=254)
    _, (sample,) = opened(tmp_path)
    assert sample.target[:4, 0].tolist() == [IGNORE, 1, IGNORE, 0]


@pytest.mark.parametrize("way", ["same", "shifted", "south up", "20 m", "reflectance"])
def test_change__the_second_date_lies_on_the_first(tmp_path: Path, way: str) -> None:
    first, second = digital_numbers(1), digital_numbers(2)
    valid, wanted, profile, stored = np.ones((SIDE, SIDE), bool), second, {}, second
    if way == "shifted":
        profile = {"transform": NORTH_UP @ Affine.translation(4, 0)}
        wanted, valid[:, :4] = np.roll(second, 4, axis=2), False
    elif way == "south up":
        profile = {"transform": NORTH_UP @ Affine.translation(0, SIDE) @ Affine.scale(1, -1)}
        stored = second[:, ::-1]
    elif way == "20 m":
        stored = np.full((10, SIDE // 2, SIDE // 2), 700)
        profile, wanted = {"transform": NORTH_UP @ Affine.scale(2)}, np.full(first.shape, 700)
    elif way == "reflectance":
        stored, profile = second / 1e4, {"dtype": "float32"}
    write(tmp_path / "A" / "x.tif", first)
    write(tmp_path / "B" / "x.tif", stored, **profile)
    write(tmp_path / "masks" / "x.tif", np.ones((1, SIDE, SIDE)), names=None, dtype="uint8")
    _, (sample,) = opened(tmp_path, Task.CHANGE)
    np.testing.assert_array_equal(sample.valid, valid)
    np.testing.assert_allclose(sample.image[0], first)
    np.testing.assert_allclose(sample.image[1][:, valid], wanted[:, valid], atol=0.01)
    assert (sample.target == np.where(valid, 1, IGNORE)).all()


def test_folder__rgb_pictures_are_display_values(tmp_path: Path) -> None:
    for name in ("a", "b"):
        values = np.full((3, SIDE, SIDE), 90)
        write(tmp_path / name / "x.tif", values, names=None, dtype="uint8")
    bench = folder_benchmark(Task.CLASSIFY, tmp_path, bands=RGB_BANDS)
    assert bench.unit is Unit.BYTE
    assert (bench.open(tmp_path)["all"][0].image == 90).all()


def test_classes__of_one_split_alone_count_and_links_and_cases_are_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chip = digital_numbers()
    write(tmp_path / "train" / "a" / "1.tif", chip)
    write(tmp_path / "store" / "2.TIF", chip)
    (tmp_path / "train" / "a" / "mosaic.vrt").touch()
    (tmp_path / "train" / "b").symlink_to(tmp_path / "store", target_is_directory=True)
    write(tmp_path / "test" / "c" / "3.TIFF", chip)
    write(tmp_path / "test" / "__MACOSX" / "4.tif", chip)
    (tmp_path / "test" / "c" / "._3.tif").touch()
    (tmp_path / "test" / "c" / "5.png").touch()
    bench = folder_benchmark(Task.CLASSIFY, tmp_path)
    assert bench.classes == ("a", "b", "c")
    splits = bench.layout.splits(tmp_path)
    assert splits == {"train": ("train/a/1.tif", "train/b/2.TIF"), "test": ("test/c/3.TIFF",)}
    assert "2 files are left out" in caplog.text
    assert "1 .png" in caplog.text
    assert "1 .vrt" in caplog.text
    assert "5.png" not in caplog.text


def test_masks__of_another_suffix_belong_to_their_image(tmp_path: Path) -> None:
    write(tmp_path / "images" / "x.TIF", digital_numbers())
    write(tmp_path / "masks" / "x.tif", np.ones((1, SIDE, SIDE)), names=None, dtype="uint8")
    _, (sample,) = opened(tmp_path)
    assert (sample.target == 1).all()


def test_eurosat__stored_as_reflectance(tmp_path: Path) -> None:
    for name in EUROSAT_CLASSES:
        chip = digital_numbers(channels=13)
        write(tmp_path / name / f"{name}_1.tif", chip / 1e4, names=None, dtype="float32")
    sample = benchmark("eurosat-ms").open(tmp_path)["all"][3]
    np.testing.assert_allclose(sample.image, digital_numbers(channels=13), atol=0.01)
