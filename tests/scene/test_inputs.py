"""What a scene is read from, and when that counts as another input."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.shutil

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import SceneError
from deo.scene.inputs import Inputs, changed_files, input_files, read_inputs
from deo.scene.opening import open_scene

VRT = """<VRTDataset rasterXSize="120" rasterYSize="100">
<GeoTransform>5e5,10,0,5e6,0,-10</GeoTransform>{bands}</VRTDataset>"""
BAND = """<VRTRasterBand dataType="UInt16" band="{band}"><Description>{name}</Description>
<SimpleSource><SourceFilename relativeToVRT="1">{file}</SourceFilename>
<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"""


def vrt(path: Path, file: str) -> Path:
    bands = [
        BAND.format(band=number, name=name, file=file) for number, name in enumerate(MODEL_BANDS, 1)
    ]
    path.write_text(VRT.format(bands="".join(bands)))
    return path


def inputs_of(source: Any, **options: Any) -> Inputs:
    with open_scene(source, offset=0, **options) as scene:
        return read_inputs(scene)


def names(inputs: Inputs) -> list[str]:
    return sorted(file.name for file in inputs.files)


def touch(path: Path) -> None:
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def test_inputs__are_known_by_name_size_and_time(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = scene_file()
    before = inputs_of(path)
    facts = path.stat()
    assert before.record() == [["scene_20200102.tif", facts.st_size, facts.st_mtime_ns]]
    assert before.known
    (tmp_path / "mount").mkdir()
    moved = tmp_path / "mount" / path.name
    shutil.copy2(path, moved)
    assert inputs_of(moved).digest == before.digest
    assert str(tmp_path) not in str(before.record())
    touch(path)
    assert inputs_of(path).digest != before.digest


def test_inputs__include_sources_of_nested_vrts_and_sidecars(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    scene_file(name="a.tif")
    vrt(tmp_path / "inner.vrt", "a.tif")
    outer = vrt(tmp_path / "outer.vrt", "inner.vrt")
    for sidecar in ("a.tif.ovr", "a.tif.aux.xml"):
        rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif", driver="GTiff")
        (tmp_path / "b.tif").rename(tmp_path / sidecar)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    inputs = inputs_of(outer)
    assert names(inputs) == ["a.tif", "a.tif.aux.xml", "a.tif.ovr", "inner.vrt", "outer.vrt"]
    inputs.refuse_changes()
    for file in ("a.tif", "a.tif.ovr", "a.tif.aux.xml", "inner.vrt"):
        before = inputs_of(outer)
        touch(tmp_path / file)
        assert inputs_of(outer).digest != before.digest
        with pytest.raises(SceneError, match=f"{file} changed while being read"):
            before.refuse_changes()


def test_inputs__of_a_product_include_its_xml(shared: Path, tmp_path: Path) -> None:
    product = next((shared / "data" / "safe").glob("*.SAFE"))
    copy = tmp_path / product.name
    shutil.copytree(product, copy, copy_function=shutil.copy)
    for place in (copy, *copy.rglob("*")):
        place.chmod(0o755)
    image = next(copy.rglob("*_B04_10m.jp2"))
    for source in (copy, image):
        with open_scene(source) as scene:
            before = read_inputs(scene)
        assert "MTD_MSIL2A.xml" in names(before)
        touch(copy / "MTD_MSIL2A.xml")
        with pytest.raises(SceneError, match=r"MTD_MSIL2A\.xml"):
            before.refuse_changes()


@pytest.mark.parametrize("spelling", ["/vsizip/{}/in/a.tif", "/vsizip/{{{}}}/in/a.tif"])
def test_inputs__in_an_archive_are_the_archive(
    scene_file: Callable[..., Path], tmp_path: Path, spelling: str
) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(scene_file(), "in/a.tif")
    inputs = inputs_of(spelling.format(archive))
    assert inputs.paths == [str(archive)]
    assert names(inputs) == ["all.zip"]


def test_inputs__of_an_array_are_its_numbers_and_mask() -> None:
    array = np.random.default_rng(0).integers(1, 99, (3, 8, 8)).astype(np.uint16)
    masked = np.ma.MaskedArray(array, mask=np.zeros(array.shape, bool))
    holed = masked.copy()
    holed[:, 0, 0] = np.ma.masked
    other = array.copy()
    other[0, 0, 0] += 1
    bands = BandSet("B04,B03,B02")
    digests = {inputs_of(each, bands=bands).digest for each in (array, masked, holed, other)}
    assert len(digests) == 4
    inputs_of(array, bands=bands).refuse_changes()


@pytest.mark.parametrize(
    ("before", "changed"),
    [
        ([["a", 1, 10], ["b", 2, 20]], []),
        ([["b", 2, 20], ["a", 1, 10]], []),
        ([["a", 1, 10], ["b", None, None]], []),
        ([["a", 1, "layout:1"], ["b", 2, 20]], []),
        ([["a", 1, 10], ["b", 3, 20]], ["b"]),
        ([["a", 1, 10], ["b", 2, 21]], ["b"]),
        ([["a", 1, 10]], ["b"]),
        ([["a", 1, 10], ["b", 2, 20], ["c", 3, 30]], ["c"]),
        (None, ["a", "b"]),
        ([["/old/form", 1]], ["a", "b"]),
        ("nonsense", ["a", "b"]),
    ],
)
def test_changed_files__are_those_not_in_both(before: Any, changed: list[str]) -> None:
    assert changed_files(before, [["a", 1, 10], ["b", 2, 20]]) == changed


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("/vsicurl/https://host/a.tif?sig=1", "https://host/a.tif?sig=1"),
        ("/vsicurl?max_retry=3&url=https%3A%2F%2Fhost%2Fa.tif&x=1", "https://host/a.tif"),
        ("/vsizip//vsicurl/https://host/a.zip/in/a.tif", "https://host/a.zip"),
        ("/vsizip/{/vsicurl/https://host/a.zip}/in/a.tif", "https://host/a.zip"),
        ("/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif"),
    ],
)
def test_input_files__see_through_gdals_names(name: str, wanted: str) -> None:
    assert input_files([name]) == [wanted]
