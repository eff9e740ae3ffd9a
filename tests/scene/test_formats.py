"""What may be opened as a raster, and what a raster may lead to."""

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy as raster_copy
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

from deo.errors import SceneError
from deo.scene.formats import SOURCES_VARIABLE, Door, check_whole, open_raster
from deo.scene.opening import open_scene

SECRET = b"root:x:0:0:" * 400


@contextmanager
def open_member(data: bytes, *, name: str) -> Iterator[Any]:
    """A member of an archive as `TarStream` opens it: from memory, under its own name."""
    with (
        rasterio.MemoryFile(data, filename=name) as held,
        open_raster(held.name, door=Door.MEMBER) as file,
    ):
        yield file


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "passwd"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def tif(tmp_path: Path) -> Callable[..., Path]:
    """Makes a GeoTIFF of one band, B04, all 7."""

    def make(name: str = "a.tif", side: int = 64, **profile: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        made = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32633", **profile}
        with rasterio.open(
            path, "w", width=side, height=side, transform=from_origin(5e5, 5e6, 10, 10), **made
        ) as file:
            file.write(np.full((1, side, side), 7, made["dtype"]))
            file.descriptions = ("B04",)
        return path

    return make


def raw_vrt(secret: Path, side: int = 64) -> str:
    """A VRT that reads the bytes of any file."""
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><VRTRasterBand dataType="Byte" '
        f'band="1" subClass="VRTRawRasterBand"><Description>B04</Description>'
        f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename><ImageOffset>0</ImageOffset>'
        f"<PixelOffset>1</PixelOffset><LineOffset>{side}</LineOffset></VRTRasterBand></VRTDataset>"
    )


def mosaic(*sources: object, relative: int = 0, inside: str = "", side: int = 64) -> str:
    """A VRT over files, as gdalbuildvrt makes it."""
    parts = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
        f"<SourceBand>1</SourceBand></SimpleSource>"
        for source in sources
    )
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{inside}"
        f'<VRTRasterBand dataType="Byte" band="1"><Description>B04</Description>{parts}'
        f"</VRTRasterBand></VRTDataset>"
    )


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


DESCRIPTIONS = {
    "wms": '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service>'
    "</GDAL_WMS>",
    "wcs": "<WCS_GDAL><ServiceURL>http://127.0.0.1:9/?</ServiceURL></WCS_GDAL>",
    "gti": "<GDALTileIndexDataset><IndexDataset>/etc/passwd</IndexDataset></GDALTileIndexDataset>",
    "stac": '{"type": "FeatureCollection", "stac_version": "1.0.0", "features": []}',
    "ascii": "ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2 3 4\n",
}


@pytest.mark.parametrize("name", ["x.tif", "x.TIFF", "x.jp2", "x.png", "x.img", "x"])
@pytest.mark.parametrize("door", Door)
def test_open_raster__a_vrt_by_another_name(
    tmp_path: Path, secret: Path, name: str, door: Door
) -> None:
    path = written(tmp_path / name, raw_vrt(secret))
    with pytest.raises(SceneError):
        open_raster(path, door=door)
    with pytest.raises(SceneError), open_member(path.read_bytes(), name=name):
        pass


@pytest.mark.parametrize("kind", DESCRIPTIONS)
@pytest.mark.parametrize("name", ["x.tif", "x.vrt"])
def test_open_raster__descriptions_of_services(tmp_path: Path, kind: str, name: str) -> None:
    path = written(tmp_path / name, DESCRIPTIONS[kind])
    with pytest.raises(SceneError):
        open_raster(path, door=Door.NAMED)


@pytest.mark.parametrize(
    "name", ["vrt://a.tif", "GTIFF_DIR:1:a.tif", 'NETCDF:"a.nc":b', "DERIVED_SUBDATASET:LOG:a.tif"]
)
def test_open_raster__prefixes_of_drivers(
    tif: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tif().parent)
    with pytest.raises(SceneError, match="name of a GDAL driver"):
        open_raster(name, door=Door.NAMED)


@pytest.mark.parametrize("ending", [".ovr", ".OVR", ".msk", ".MSK"])
def test_open_raster__sidecars_by_their_content(
    tif: Callable[..., Path], secret: Path, ending: str
) -> None:
    path = tif()
    written(Path(f"{path}{ending}"), raw_vrt(secret, 32))
    with pytest.raises(SceneError, match=re.escape(ending)):
        open_raster(path, door=Door.NAMED)


def test_open_raster__sound_sidecars_are_used(tif: Callable[..., Path]) -> None:
    path = tif()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(64, dtype=bool))
    tif("b.tif", 32).rename(f"{path}.ovr")
    assert {f"{path.name}.ovr", f"{path.name}.msk"} <= {p.name for p in path.parent.iterdir()}
    with open_raster(path, door=Door.NAMED) as file:
        assert file.overviews(1) == [2]
        assert (file.read_masks(1) > 0).sum() == 64


@pytest.mark.parametrize("where", ["tags", "aux.xml"])
def test_open_raster__overviews_elsewhere(
    tif: Callable[..., Path], secret: Path, where: str
) -> None:
    vrt = written(secret.with_name("o.vrt"), raw_vrt(secret, 32))
    path = tif()
    if where == "tags":
        with rasterio.open(path, "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(vrt))
        with pytest.raises(SceneError, match="overviews"), open_member(path.read_bytes(), name="m"):
            pass
    else:
        written(
            Path(f"{path}.aux.xml"),
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{vrt}</MDI>'
            "</Metadata></PAMDataset>",
        )
    with pytest.raises(SceneError, match="overviews"):
        open_raster(path, door=Door.NAMED)


def test_vrt__what_tools_write_is_read(tif: Callable[..., Path], tmp_path: Path) -> None:
    path = tif()
    raster_copy(path, tmp_path / "plain.vrt", driver="VRT")
    with rasterio.open(path) as file, WarpedVRT(file, crs="EPSG:4326") as warped:
        raster_copy(warped, tmp_path / "warped.vrt", driver="VRT")
    for name in ("plain.vrt", "warped.vrt"):
        for door in (Door.NAMED, Door.FOUND):
            with open_raster(tmp_path / name, door=door) as file:
                assert (file.read() == 7).any(), name
    for door in (Door.CHIP, Door.MEMBER, Door.FEATURES):
        with pytest.raises(SceneError):
            open_raster(tmp_path / "plain.vrt", door=door)


def test_vrt__of_vrts_and_with_comments(tif: Callable[..., Path], tmp_path: Path) -> None:
    written(tmp_path / "one.vrt", mosaic(tif(), inside="<!-- by hand -->"))
    two = written(tmp_path / "two.vrt", mosaic("one.vrt", relative=1))
    with open_raster(two, door=Door.NAMED) as file:
        assert (file.read() == 7).all()


def test_vrt__raw_bytes_behind_another_vrt(tmp_path: Path, secret: Path) -> None:
    written(tmp_path / "one.vrt", raw_vrt(secret))
    with pytest.raises(SceneError, match=r"one\.vrt holds"):
        open_raster(written(tmp_path / "two.vrt", mosaic("one.vrt", relative=1)), door=Door.NAMED)


def test_vrt__naming_itself(tmp_path: Path) -> None:
    written(tmp_path / "one.vrt", mosaic("two.vrt", relative=1))
    two = written(tmp_path / "two.vrt", mosaic("one.vrt", relative=1))
    with pytest.raises(SceneError, match="itself"):
        open_raster(two, door=Door.NAMED)


def test_vrt__a_source_that_is_a_vrt_by_another_name(
    tif: Callable[..., Path], tmp_path: Path, secret: Path
) -> None:
    hidden = written(tmp_path / "hidden.tif", raw_vrt(secret))
    with pytest.raises(SceneError, match=r"hidden\.tif"):
        open_raster(written(tmp_path / "m.vrt", mosaic(tif(), hidden)), door=Door.NAMED)


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "/vsicurl/http://127.0.0.1:9/a.tif",
        "http://127.0.0.1:9/a.tif",
        "/vsizip//vsicurl/http://127.0.0.1:9/a.zip/a.tif",
        "vrt://a.tif",
        "GTIFF_DIR:1:a.tif",
        "&lt;VRTDataset/&gt;",
        " a.tif",
        "",
    ],
)
def test_vrt__sources_that_are_no_local_rasters(
    tif: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tif().parent)
    for relative in (0, 1):
        vrt = written(tmp_path / "x.vrt", mosaic(source, relative=relative))
        with pytest.raises(SceneError):
            open_raster(vrt, door=Door.NAMED)


@pytest.mark.parametrize(
    "inside",
    [
        '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI></Metadata>',
        '<metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI></metadata>',
        '<Group name="/"><Array name="a"><Source>/etc/passwd</Source></Array></Group>',
        "<SRS>http://127.0.0.1:9/srs</SRS>",
        "<![CDATA[<SRS>EPSG:4326</SRS>]]>",
        '<VRTRasterBand dataType="Byte" band="2" subClass="VRTDerivedRasterBand">'
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage></VRTRasterBand>",
        '<VRTRasterBand dataType="Byte" band="2" subclass="VRTRawRasterBand"/>',
    ],
)
def test_vrt__what_can_do_more_than_read_rasters(
    tif: Callable[..., Path], tmp_path: Path, inside: str
) -> None:
    with pytest.raises(SceneError, match=r"x\.vrt"):
        open_raster(written(tmp_path / "x.vrt", mosaic(tif(), inside=inside)), door=Door.NAMED)


def test_vrt__found_in_a_folder_reads_below_it_only(
    tif: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, below = tif("other/B04.tif"), tif("tiles/deep.tif")
    vrt = tmp_path / "tiles" / "B04.vrt"
    for source, relative in ((outside, 0), ("../other/B04.tif", 1)):
        written(vrt, mosaic(source, relative=relative))
        with pytest.raises(SceneError, match="outside that folder"):
            open_scene(tmp_path / "tiles")
        open_scene(vrt).close()  # named itself
        with pytest.raises(SceneError, match="outside that folder"):
            open_scene(vrt, door=Door.FOUND)
    written(vrt, mosaic(outside))
    monkeypatch.setenv(SOURCES_VARIABLE, f"/nowhere {tmp_path / 'oth'}")
    with pytest.raises(SceneError, match="outside that folder"):
        open_scene(tmp_path / "tiles")
    monkeypatch.setenv(SOURCES_VARIABLE, f"/nowhere {outside.parent}")
    open_scene(tmp_path / "tiles").close()
    monkeypatch.delenv(SOURCES_VARIABLE)
    for source, relative in ((below, 0), ("deep.tif", 1)):
        written(vrt, mosaic(source, relative=relative))
        open_scene(tmp_path / "tiles").close()


def test_vrt__addresses_that_the_user_allowed(
    tif: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MemoryFile(tif().read_bytes()) as memory:  # stands for an address: not a local file
        vrt = written(tmp_path / "x.vrt", mosaic(memory.name))
        with pytest.raises(SceneError, match=SOURCES_VARIABLE):
            open_raster(vrt, door=Door.NAMED)
        monkeypatch.setenv(SOURCES_VARIABLE, memory.name.rsplit("/", 1)[0])
        with open_raster(vrt, door=Door.NAMED) as file:
            assert (file.read() == 7).all()
        written(vrt, mosaic(memory.name.replace("/vsimem/", "/vsimem/x/../")))
        with pytest.raises(SceneError, match=SOURCES_VARIABLE):
            open_raster(vrt, door=Door.NAMED)


def test_vrt__far_away(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="local folder"):
        open_raster("https://127.0.0.1:9/x.vrt", door=Door.NAMED)


def test_open_raster__formats_that_keep_to_themselves(
    tif: Callable[..., Path], tmp_path: Path
) -> None:
    for name, driver in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.img", "HFA"), ("a.jp2", None)):
        driver = driver or "JP2OpenJPEG"
        raster_copy(tif(), tmp_path / name, driver=driver)
        with open_raster(tmp_path / name, door=Door.NAMED) as file:
            assert file.driver == driver
        if driver in ("PNG", "JPEG"):
            with pytest.raises(SceneError), open_member((tmp_path / name).read_bytes(), name=name):
                pass


def test_open_raster__an_erdas_file_with_pixels_elsewhere(
    tif: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    raster_copy(tif(), tmp_path / "a.img", driver="HFA", USE_SPILL="YES")
    open_raster(tmp_path / "a.img", door=Door.NAMED).close()
    (tmp_path / "a.ige").rename(tmp_path / "far" / "a.ige")
    raw = (tmp_path / "a.img").read_bytes()
    assert b"a.ige\0" in raw
    (tmp_path / "a.img").write_bytes(raw.replace(b"a.ige\0", b"far/a\0"))
    (tmp_path / "far" / "a.ige").rename(tmp_path / "far" / "a")
    with pytest.raises(SceneError):
        open_raster(tmp_path / "a.img", door=Door.NAMED)


def test_open_raster__members_of_zips(tif: Callable[..., Path], tmp_path: Path) -> None:
    path = tif()
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(path, "a.tif")
        archive.writestr("a.tif.ovr", raw_vrt(Path("/etc/passwd"), 32))
        archive.writestr("a.tif.msk", raw_vrt(Path("/etc/passwd")))
    with open_raster(f"/vsizip/{tmp_path}/z.zip/a.tif", door=Door.MEMBER) as file:
        assert file.overviews(1) == []
        assert (file.read_masks(1) == 255).all()
        assert file.files == [f"/vsizip/{tmp_path}/z.zip/a.tif"]


def test_open_raster__no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(SceneError, match="not a regular file"):
        open_raster(tmp_path / "pipe.tif", door=Door.CHIP)


def test_check_whole__a_small_file_that_claims_much() -> None:
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=9, width=60_000, height=60_000, dtype="uint16",
            sparse_ok=True, tiled=True, transform=from_origin(0, 9, 2, 2),
        ):  # fmt: skip
            pass
        data = memory.read()
    assert len(data) < 2**23
    with open_member(data, name="claims.tif") as file, pytest.raises(SceneError, match="GiB"):
        check_whole(file, "claims.tif")
