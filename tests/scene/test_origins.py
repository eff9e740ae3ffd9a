"""Evidence is found wherever it is: behind virtual rasters, links and URLs, and in tags."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from deo.errors import RadiometryError
from deo.scene.opening import open_scene

NEW = "S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825"


def write(path: Path, dtype: str = "uint16", *, number: float = 2500, **settings: Any) -> Path:
    """A file of one band of one number, with tags and GDAL's scale and offset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", dtype=dtype, count=1, height=16, width=20, crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), nodata=settings.get("nodata"),
    ) as file:  # fmt: skip
        file.write(np.full((1, 16, 20), number, dtype))
        file.descriptions = (settings.get("description", "B04"),)
        file.update_tags(**settings.get("tags", {}))
        file.update_tags(1, **settings.get("band_tags", {}))
        if "scale" in settings:
            file.scales, file.offsets = (settings["scale"],), (settings["offset"],)
    return path


def vrt(path: Path, source: Path | str, inside: str = "") -> Path:
    """A virtual raster of one band of a file, which says nothing itself."""
    kind = "ComplexSource" if inside else "SimpleSource"
    path.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="16"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000, 10, 0, 4000000, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="UInt16" band="1"><Description>B04</Description>'
        f"<{kind}><SourceFilename>{source}</SourceFilename>{inside}</{kind}>"
        "</VRTRasterBand></VRTDataset>"
    )
    return path


def decided(source: Any) -> tuple[float, float, bool]:
    with open_scene(source) as scene:
        radiometry = scene.radiometry
        return radiometry.scale[0], radiometry.offset[0], radiometry.assumed


def test_vrt__has_the_evidence_of_its_files(tmp_path: Path) -> None:
    named = write(tmp_path / NEW / "red.tif")
    tagged = write(tmp_path / "tagged.tif", tags={"s2:processing_baseline": "05.09"})
    scaled = write(tmp_path / "scaled.tif", scale=0.0001, offset=-0.1)
    for number, source in enumerate((named, tagged, scaled)):
        one = vrt(tmp_path / f"one{number}.vrt", source)
        nested = vrt(tmp_path / f"two{number}.vrt", one)
        assert decided(one) == decided(nested) == (1, -1000, False)


def test_vrt__of_contradictory_files_is_refused(tmp_path: Path) -> None:
    old = write(tmp_path / NEW.replace("N0509", "N0301") / "red.tif")
    new = write(tmp_path / NEW / "red.tif")
    path = vrt(tmp_path / "x.vrt", old)
    source = f"<SimpleSource><SourceFilename>{new}</SourceFilename></SimpleSource></VRTRasterBand>"
    path.write_text(path.read_text().replace("</VRTRasterBand>", source))
    with pytest.raises(RadiometryError, match="contradictory offsets"):
        open_scene(path)


@pytest.mark.parametrize(
    ("inside", "offset"),
    [
        ("<ScaleOffset>-1000</ScaleOffset><ScaleRatio>1</ScaleRatio>", 0),
        ("<ScaleOffset>0</ScaleOffset><ScaleRatio>1</ScaleRatio>", -1000),
        ("<NODATA>0</NODATA>", -1000),
    ],
)
def test_vrt__that_computes_does_not(tmp_path: Path, inside: str, offset: float) -> None:
    source = write(tmp_path / NEW / "red.tif")
    path = vrt(tmp_path / "x.vrt", source, inside)
    assert decided(path) == (1, offset, offset == 0)
    assert decided(vrt(tmp_path / "y.vrt", path)) == (1, offset, offset == 0)


def test_product__is_found_by_url_and_link(tmp_path: Path) -> None:
    path = write(tmp_path / "a b" / NEW / "red.tif")
    link = tmp_path / "link.tif"
    link.symlink_to(path)
    folder = tmp_path / "folder"
    folder.symlink_to(path.parent)
    for source in (path, link, folder / "red.tif", f"file://{path}", f"file://localhost{path}"):
        assert decided(source) == decided([source]) == (1, -1000, False)
    assert decided(path.as_uri()) == (1, -1000, False)


@pytest.mark.parametrize(
    ("dtype", "number", "tags", "wanted"),
    [
        ("uint16", 2500, {"scale_factor": "0.0001", "add_offset": "-0.1"}, (1, -1000, False)),
        ("uint16", 2500, {"scale_factor": "1", "add_offset": "-1000"}, (1, -1000, False)),
        ("uint16", 2500, {"add_offset": "-1000"}, (1, -1000, False)),
        ("uint16", 2500, {"SCALE_FACTOR": "0.0001"}, (1, 0, False)),
        ("uint16", 2500, {"scale_factor": "1", "add_offset": "0"}, (1, 0, True)),
        ("uint16", 2500, {"scale_factor": "none"}, (1, 0, True)),
        ("float32", 2500, {"scale_factor": "0.0001", "add_offset": "-0.1"}, (1, -1000, False)),
    ],
)
@pytest.mark.parametrize("place", ["tags", "band_tags", "prefixed"])
def test_tags__of_packed_numbers(
    tmp_path: Path,
    dtype: str,
    number: float,
    tags: dict[str, str],
    wanted: tuple[float, float, bool],
    place: str,
) -> None:
    if place == "prefixed":
        place, tags = "tags", {f"B4#{key}": value for key, value in tags.items()}
    assert decided(write(tmp_path / "x.tif", dtype, number=number, **{place: tags})) == wanted


@pytest.mark.parametrize(
    "settings",
    [
        {"tags": {"scale_factor": "0.0001", "add_offset": "-0.1"}},
        {"scale": 0.0001, "offset": -0.1},
    ],
)
def test_floats__that_were_unpacked_already_are_refused(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    path = write(tmp_path / "x.tif", "float32", number=0.25, **settings)
    with pytest.raises(RadiometryError, match=r"99.9th percentile of 0.25, which contradicts"):
        open_scene(path)
    with open_scene(path, scale=10_000, offset=0) as scene:
        assert scene.radiometry.scale == (10_000,)


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("HLS.S30.T17SLU.2020209T160105.v2.0.B04.tif", {}),
        ("B04.tif", {"HLS_PROCESSING_TIME": "2023-09-01"}),
        ("B04.tif", {"GRANULE": "HLS.S30.T17SLU.2020209T160105.v2.0"}),
        ("B04.tif", {"collection": "COPERNICUS/S2_SR_HARMONIZED"}),
    ],
)
def test_rescaled_archives__are_not_read_by_the_tags_of_their_sources(
    tmp_path: Path, name: str, tags: dict[str, str]
) -> None:
    ancestors = {"PRODUCT_URI": f"{NEW}.SAFE", "PROCESSING_BASELINE": "05.09"}
    path = write(
        tmp_path / name, "int16", tags=ancestors | tags, scale=0.0001, offset=0, nodata=-9999
    )
    assert decided(path) == (1, 0, False)
    assert decided(vrt(tmp_path / "x.vrt", path)) == (1, 0, False)
    with open_scene(path) as scene:
        assert scene.mask_source == "nodata -9999"


def test_folder__leaves_aside_what_systems_leave_behind(tmp_path: Path) -> None:
    for band in ("B04", "B03"):
        write(tmp_path / f"{band}.tif", description=None)
        (tmp_path / f"._{band}.tif").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "R10m").mkdir()
    (tmp_path / "R10m" / "._B02_10m.jp2").write_bytes(b"x")
    with open_scene(tmp_path) as scene:
        assert set(scene.bands) == {"B03", "B04"}


def test_product__leaves_aside_what_systems_leave_behind(shared: Path, tmp_path: Path) -> None:
    product = next((shared / "data/safe").glob("*.SAFE"))
    copy = tmp_path / product.name
    archive = tmp_path / "product.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in product.rglob("*"):
            if not path.is_file():
                continue
            name = path.relative_to(product.parent)
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(path.read_bytes())
            (tmp_path / name).with_name(f"._{path.name}").write_bytes(b"x")
            packed.write(path, str(name))
            packed.writestr(f"__MACOSX/{name.with_name('._' + name.name)}", b"x")
    (tmp_path / f"._{product.name}").write_bytes(b"x")
    with open_scene(product) as wanted:
        for source in (copy, archive, tmp_path):
            with open_scene(source) as scene:
                assert scene.bands == wanted.bands
                assert scene.radiometry == wanted.radiometry
