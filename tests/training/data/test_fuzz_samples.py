"""Broken samples and archives end in success or in one clear `DeoError`, never in a traceback."""

import contextlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import DeoError
from deo.training.data.preparation import Preparation, recognise_source
from deo.training.data.prepare import prepare
from deo.training.data.reading import read_image, read_labels
from deo.training.tasks.benchmarks.geobench import GeoBench

h5py = pytest.importorskip("h5py")

SIDE = 16


def geotiff(**options: object) -> bytes:
    values = np.arange(10 * SIDE * SIDE, dtype="uint16").reshape(10, SIDE, SIDE) + 500
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=10, width=SIDE, height=SIDE, dtype="uint16", crs="EPSG:32633",
            transform=from_origin(5e5, 5e6, 10, 10), **options,
        ) as file:  # fmt: skip
            file.write(values)
            file.descriptions = tuple(MODEL_BANDS)
        return bytes(memory.read())


def npy() -> bytes:
    held = io.BytesIO()
    np.save(held, np.ones((10, SIDE, SIDE), np.uint16))
    return held.getvalue()


def tar() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, data in (("a.npy", npy()), ("b.tif", geotiff())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return held.getvalue()


def hdf5(key: str = "images") -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        shape = (3, 10, SIDE, SIDE) if key == "images" else (SIDE, SIDE)
        file.create_dataset(key, data=np.ones(shape, np.uint16), chunks=(1, *shape[1:]))
        file.attrs["label"] = 1
    return held.getvalue()


def product() -> bytes:
    held, xml = io.BytesIO(), (
        '<?xml version="1.0"?><P><PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>'
        "<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE></P>"
    )  # fmt: skip
    root = "S2A_MSIL1C_20230823T095559_N0509_R122_T34UCF_20230823T124759.SAFE"
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=1, width=SIDE, height=SIDE, dtype="uint16", crs="EPSG:32633",
            transform=from_origin(5e5, 5e6, 10, 10),
        ) as file:  # fmt: skip
            file.write(np.full((1, SIDE, SIDE), 2000, "uint16"))
        plane = memory.read()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{root}/MTD_MSIL1C.xml", xml)
        for band in MODEL_BANDS:
            name = f"T34UCF_20230823T095559_{band}.tif"
            archive.writestr(f"{root}/GRANULE/g/IMG_DATA/{name}", plane)
    return held.getvalue()


def vrt() -> bytes:
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{number}"><Description>{name}</Description>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">beside.tif</SourceFilename>'
        f"<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"
        for number, name in enumerate(MODEL_BANDS, start=1)
    )
    head = f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32633</SRS>'
    return f"{head}<GeoTransform>0,10,0,0,0,-10</GeoTransform>{bands}</VRTDataset>".encode()


def mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, flip bits, write an absurd number, or take a piece twice."""
    changed = bytearray(raw)
    kind = rng.integers(4)
    if kind == 0:
        del changed[rng.integers(len(raw)) :]
    elif kind == 1:
        for place in rng.integers(min(len(raw), 2000), size=rng.integers(1, 20)):
            changed[place] ^= 1 << rng.integers(8)
    elif kind == 2:
        place = rng.integers(min(len(raw) - 8, 1000))
        number = int(rng.choice([0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**24]))
        changed[place : place + 4] = number.to_bytes(4, "little")
    else:
        first, last = sorted(rng.integers(len(raw), size=2))
        changed[last:last] = changed[first : min(last, first + 512)]
    return bytes(changed)


SEEDS = {"a.tar": tar, "a.h5": hdf5, "a.zip": product, "a.vrt": vrt, "a.tif": geotiff}


def ends(folder: Path, *, count: int, seed: int) -> Iterator[str]:
    """How `prepare`, and reading a chip, end for mutations of every kind of source."""
    rng = np.random.default_rng(seed)
    layout = GeoBench(name="m-x", bands=BandSet(["B02"]), classes=2)
    blue = hdf5("02 - Blue")
    for kind, make in SEEDS.items():
        sound = make()
        for number in range(count):
            place = folder / f"{kind}-{number}"
            place.mkdir()
            (place / "beside.tif").write_bytes(geotiff(compress="deflate"))
            source = place / kind
            source.write_bytes(mutate(sound, rng) if number else sound)
            try:
                plan = Preparation(source=source, kind=recognise_source(source), size=8, offset=0)
                prepare(plan, place / "out")
                yield f"{kind} success"
            except DeoError as error:
                said = "error" if str(error).strip() else "silence"
                yield f"{kind} {said if number else 'error at once'}"
            (place / "sample.hdf5").write_bytes(mutate(blue, rng))
            for read in (
                lambda source=source: read_image(source, bands=MODEL_BANDS),
                lambda source=source: read_labels(source),
                lambda place=place: layout.read(place, "sample"),
            ):
                with contextlib.suppress(DeoError):
                    read()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_fuzz__samples_and_archives(tmp_path: Path) -> None:
    found = list(ends(tmp_path, count=12, seed=3))
    assert not any("silence" in end for end in found)
    for kind in SEEDS:
        assert f"{kind} success" in found, kind
        assert f"{kind} error at once" not in found, kind
        assert f"{kind} error" in found, kind


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("seed", range(5))
def test_fuzz__more_samples_and_archives(tmp_path: Path, seed: int) -> None:
    assert list(ends(tmp_path, count=150, seed=100 + seed))
