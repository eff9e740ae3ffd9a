"""GEO-Bench v1 in its own layout: dated keys, partitions, pickles that run nothing."""

import datetime as dt
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.bands import BandSet
from deo.errors import BandError, DataError
from deo.training.tasks.benchmarks.catalogue import BENCHMARKS, benchmark
from deo.training.tasks.benchmarks.geobench import BandKeys, GeoBench, band_of_key

h5py = pytest.importorskip("h5py")

KEYS = {
    "B01": "01 - Coastal aerosol", "B02": "02 - Blue", "B03": "03 - Green", "B04": "04 - Red",
    "B05": "05 - Vegetation Red Edge", "B06": "06 - Vegetation Red Edge",
    "B07": "07 - Vegetation Red Edge", "B08": "08 - NIR", "B8A": "08A - Vegetation Red Edge",
    "B09": "09 - Water vapour", "B10": "10 - SWIR - Cirrus", "B11": "11 - SWIR", "B12": "12 - SWIR",
}  # fmt: skip
WORDS = {"B04": "Red", "B03": "Green", "B02": "Blue", "B08": "NIR"}


def write(root: Path, name: str, *, labels: list[Any], dated: bool = False) -> Path:
    """One sample per label, two to a split; plane i of the layout's bands holds i + 1."""
    layout = BENCHMARKS[name].layout
    assert isinstance(layout, GeoBench)
    kind = "segmentation_v1.0" if np.ndim(labels[0]) == 2 else "classification_v1.0"
    folder = root / kind / name
    folder.mkdir(parents=True)
    display = len(layout.bands) < 5
    names = [f"sample_{number}" for number in range(len(labels))]
    for sample, label in zip(names, labels, strict=True):
        with h5py.File(folder / f"{sample}.hdf5", "w") as file:
            meta: dict[str, Any] = {}
            for number, band in enumerate(layout.bands):
                key = (WORDS if display else KEYS)[band] + ("_2018-05-26" if dated else "")
                file[key] = np.full((8, 8), number + 1, np.int16)
                meta[key] = {
                    "date": dt.datetime(2018, 5, 26),
                    "transform": Affine.identity(),
                    "crs": CRS.from_epsg(32630),
                }
            if name == "m-so2sat":
                file["02 - VH.Imaginary"] = np.full((8, 8), -1, np.float32)
            if np.ndim(label) == 2:
                file["label"] = label
            else:
                meta["label"] = label
            meta["bands_order"] = list(file)
            file.attrs["pickle"] = str(pickle.dumps(meta))
    third = len(names) // 3
    parts = {"train": names[:third], "valid": names[third : 2 * third], "test": names[2 * third :]}
    (folder / "default_partition.json").write_text(json.dumps(parts))
    (folder / "0.10x_train_partition.json").write_text(json.dumps({**parts, "train": names[:1]}))
    return folder


LABELS: dict[str, list[Any]] = {
    "m-eurosat": [0, 3, 9],
    "m-so2sat": [0, np.int64(3), 16],
    "m-bigearthnet": list(np.eye(43, dtype=np.int64)[[0, 7, 42]]),
    "m-nz-cattle": [np.eye(8, dtype=np.uint8)] * 3,
    "m-pv4ger-seg": [np.eye(8, dtype=np.uint8)] * 3,
    "m-chesapeake": [np.full((8, 8), 6, np.uint8)] * 3,
    "m-SA-crop-type": [np.full((8, 8), 9, np.uint8)] * 3,
    "m-cashew-plant": [np.full((8, 8), 6, np.uint8)] * 3,
}


@pytest.mark.parametrize("name", sorted(LABELS))
@pytest.mark.parametrize("dated", [False, True])
def test_read__every_task_of_the_paper(name: str, dated: bool, tmp_path: Path) -> None:
    folder = write(tmp_path, name, labels=LABELS[name], dated=dated)
    bench = benchmark(name, keys=BandKeys.AS_PUBLISHED if name == "m-eurosat" else None)
    for root in (tmp_path, folder.parent, folder):
        splits = bench.open(root)
        assert [len(splits[split]) for split in ("train", "valid", "test")] == [1, 1, 1]
    sample = splits["test"][0]
    assert sample.image[:, 0, 0].tolist() == list(range(1, len(splits["test"].bands) + 1))
    assert np.array_equal(sample.target, LABELS[name][2])


def test_names__all_tasks_are_in_the_table() -> None:
    assert set(LABELS) == {name for name in BENCHMARKS if name.startswith("m-")}


def test_eurosat__shifted_keys_are_corrected_by_default(tmp_path: Path) -> None:
    """The plane that the file calls 08A is B09, ..., the one called 12 is B8A."""
    write(tmp_path, "m-eurosat", labels=LABELS["m-eurosat"])
    bands = BandSet(["B08", "B8A", "B09", "B10", "B11", "B12"])

    def read(keys: BandKeys | None) -> list[float]:
        bench = benchmark("m-eurosat", keys=keys)
        found: list[float] = bench.open(tmp_path, bands=bands)["test"][0].image[:, 0, 0].tolist()
        return found

    assert read(BandKeys.AS_PUBLISHED) == [8, 9, 10, 11, 12, 13]
    assert read(None) == read(BandKeys.CORRECTED) == [8, 13, 9, 10, 11, 12]
    with pytest.raises(DataError, match="m-eurosat only"):
        benchmark("m-so2sat", keys=BandKeys.CORRECTED)


@pytest.mark.parametrize(
    ("key", "band"),
    [
        ("08A - Vegetation Red Edge_2018-05-26", "B8A"),
        ("02 - Blue", "B02"),
        ("02 - VH.Imaginary", None),
        ("05 - VH.LEE Filtered", None),
        ("NIR", "B08"),
        ("Red_2020-01-01", "B04"),
        ("11", "B11"),
        ("Cloud Probability_2018-05-26", None),
        ("label", None),
    ],
)
def test_band_of_key__names_dates_and_radar(key: str, band: str | None) -> None:
    assert band_of_key(key) == band


def test_label_map__stands_in_for_labels(tmp_path: Path) -> None:
    folder = write(tmp_path, "m-so2sat", labels=[0, 1, 2])
    for path in folder.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            del file.attrs["pickle"]
    with pytest.raises(DataError, match=r"holds no label, and there is no .*label_map\.json"):
        benchmark("m-so2sat").open(tmp_path)["train"][0]
    (folder / "label_map.json").write_text(json.dumps({"5": ["sample_0"], "16": ["sample_2"]}))
    splits = benchmark("m-so2sat").open(tmp_path)
    assert [int(splits[split][0].target) for split in ("train", "test")] == [5, 16]
    (folder / "label_map.json").write_text(json.dumps({"sample_0": 4}))
    assert splits["train"][0].target == 4


def test_partitions__missing_and_chosen(tmp_path: Path) -> None:
    folder = write(tmp_path, "m-so2sat", labels=[0, 1, 2, 3, 4, 5])
    assert len(benchmark("m-so2sat", partition="0.10x_train").open(tmp_path)["train"]) == 1
    (folder / "default_partition.json").unlink()
    with pytest.raises(
        DataError, match=r"split file default_partition\.json is missing .*0\.10x_train_partition"
    ):
        benchmark("m-so2sat").open(tmp_path)
    (folder / "default_partition.json").write_text('{"train": []}')
    with pytest.raises(DataError, match="cannot be read: 'valid'"):
        benchmark("m-so2sat").open(tmp_path)
    (folder / "default_partition.json").write_text(
        json.dumps({"train": ["gone"], "valid": [], "test": ["sample_1"]})
    )
    with pytest.raises(DataError, match=r"1 of 2 samples missing .*gone\.hdf5"):
        benchmark("m-so2sat").open(tmp_path)


def test_labels__out_of_range_and_of_wrong_length(tmp_path: Path) -> None:
    write(tmp_path / "a", "m-eurosat", labels=[10, 0, 0])
    with pytest.raises(DataError, match="sample_0: label 10 out of range"):
        benchmark("m-eurosat").open(tmp_path / "a")["train"][0]
    write(tmp_path / "b", "m-bigearthnet", labels=[np.ones(42, np.int64)] * 3)
    with pytest.raises(DataError, match=r"shape \(42,\), wanted 43"):
        benchmark("m-bigearthnet").open(tmp_path / "b")["train"][0]


def test_bands__missing_key_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, "m-chesapeake", labels=LABELS["m-chesapeake"])
    with h5py.File(folder / "sample_0.hdf5", "r+") as file:
        del file["NIR"]
    with pytest.raises(BandError, match=r"sample_0\.hdf5 lacks B08; its keys are Blue, Green, Red"):
        benchmark("m-chesapeake").open(tmp_path)["train"][0]


def test_statistics__from_band_stats(tmp_path: Path) -> None:
    folder = write(tmp_path, "m-chesapeake", labels=LABELS["m-chesapeake"])
    layout = benchmark("m-chesapeake").layout
    assert isinstance(layout, GeoBench)
    assert layout.statistics(tmp_path) is None
    stats = {key: {"mean": 0.1 * number, "std": 1.0} for number, key in enumerate(WORDS.values())}
    (folder / "band_stats.json").write_text(json.dumps(stats))
    assert layout.statistics(tmp_path) == ((0.0, 0.1, 0.2, pytest.approx(0.3)), (1.0,) * 4)
