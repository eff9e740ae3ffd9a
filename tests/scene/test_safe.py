""".SAFE products made by the tests, in the layouts and with the XML of ESA's, and real ones."""

import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import rasterio

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import RadiometryError, SceneError
from deo.scene.opening import open_scene
from deo.scene.safe import folder_tree, product_root, read_product
from deo.scene.scene import Scene
from deo.sensors.known.sentinel2 import SENTINEL2

EXTENT = 240
L2A = "S2B_MSIL2A_20230823T095559_{n}_R122_T34UCF_20230823T124759"
L1C = "S2A_MSIL1C_20230823T095559_{n}_R122_T34UCF_20230823T124759"
RESOLUTION = {band.name: band.resolution for band in SENTINEL2}


def metadata(
    level: str, baseline: str, *, offsets: Mapping[str, float], quantification: float = 10_000
) -> str:
    """Product XML with what matters here, spelt as ESA does."""
    tag, value = ("BOA", "BOA_QUANTIFICATION_VALUE") if level == "2A" else ("RADIO", "")
    ids = {band.name: str(position) for position, band in enumerate(SENTINEL2)}
    rows = "".join(
        f'<{tag}_ADD_OFFSET band_id="{ids[band]}">{offset:g}</{tag}_ADD_OFFSET>'
        for band, offset in offsets.items()
    )
    info = "".join(
        f'<Spectral_Information bandId="{ids[band.name]}" '
        f'physicalBand="{band.name.replace("B0", "B")}"/>'
        for band in SENTINEL2
    )
    value = value or "QUANTIFICATION_VALUE"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/x.xsd">'
        f"<n1:General_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        "<IMAGE_FILE>GRANULE/g/IMG_DATA/x_B02</IMAGE_FILE>"
        f'<{value} unit="none">{quantification:g}</{value}>'
        f"<List>{rows}</List><Spectral_Information_List>{info}</Spectral_Information_List>"
        f"</n1:General_Info></n1:Level-{level}_User_Product>"
    )


def stored(band: str, size: int) -> np.ndarray:
    seed = RESOLUTION[band] * 100 + [b.name for b in SENTINEL2].index(band)
    array = np.random.default_rng(seed).integers(900, 9000, (EXTENT // size,) * 2)
    array[0, 0] = 0
    return array.astype("uint16")


def image(path: Path, band: str, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = stored(band, size)
    lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    profile = lossless if path.suffix == ".jp2" else {"driver": "GTiff"}
    with rasterio.open(
        path, "w", dtype="uint16", count=1, height=len(array), width=len(array), crs="EPSG:32634",
        transform=rasterio.Affine(size, 0, 3e5, 0, -size, 5.7e6), **profile,
    ) as file:  # fmt: skip
        file.write(array, 1)


def l2a(folder: Path, *, number: str = "N0509", suffix: str = ".tif", **xml: object) -> Path:
    """A compact L2A product."""
    root = folder / f"{L2A.format(n=number)}.SAFE"
    fields: dict = {"baseline": f"{number[1:3]}.{number[3:]}", "offsets": {}}
    if number >= "N0400":
        fields["offsets"] = dict.fromkeys(RESOLUTION, -1000)
    data = root / "GRANULE" / "L2A_T34UCF_A033753_20230823T095553" / "IMG_DATA"
    for size, bands in (
        (10, "B02 B03 B04 B08"),
        (20, "B02 B03 B04 B05 B06 B07 B8A B11 B12"),
        (60, "B01 B02 B09"),
    ):
        for band in bands.split():
            image(data / f"R{size}m" / f"T34UCF_20230823T095559_{band}_{size}m{suffix}", band, size)
    image(data / "R20m" / f"T34UCF_20230823T095559_SCL_20m{suffix}", "B01", 20)
    (root / "MTD_MSIL2A.xml").write_text(metadata("2A", **(fields | xml)))
    return root


def check_pixels(scene: Scene, offset: float) -> None:
    """A 10 m band is what was stored, a 20 m band is bilinear between its neighbours."""
    values, valid = scene.read(scene.whole, BandSet("B02,B8A"))
    plain = stored("B02", 10)
    np.testing.assert_array_equal(values[0][valid], (plain.astype("float32") + offset)[valid])
    assert not valid[0, 0]
    assert valid.mean() > 0.98
    coarse = stored("B8A", 20)[4:6, 4:6].astype("float32")
    bilinear = np.array([0.25, 0.75]) @ coarse @ np.array([0.25, 0.75])
    assert values[1, 10, 10] == pytest.approx(bilinear + offset)


@pytest.mark.parametrize(("number", "offset"), [("N0509", -1000), ("N0212", 0), ("N0301", 0)])
@pytest.mark.parametrize("suffix", [".tif", ".jp2"])
def test_l2a__bands_offset_and_grid(
    tmp_path: Path, number: str, offset: float, suffix: str
) -> None:
    if suffix == ".jp2" and number != "N0509":
        pytest.skip("one product in JPEG 2000 is enough")
    with open_scene(l2a(tmp_path, number=number, suffix=suffix)) as scene:
        assert set(scene.bands) == {band.name for band in SENTINEL2} - {"B10"}
        assert (scene.height, scene.width) == (24, 24)
        assert scene.kernels["B04"] == "copy"
        assert scene.kernels["B05"] == scene.kernels["B01"] == "bilinear"
        assert set(scene.radiometry.offset) == {offset}
        assert not scene.radiometry.assumed
        assert scene.mask_source == "digital number 0 (Sentinel-2 convention)"
        check_pixels(scene, offset)


def test_l2a__the_images_of_the_asked_resolution_are_taken(tmp_path: Path) -> None:
    with open_scene(l2a(tmp_path), resolution=20) as scene:
        assert (scene.height, scene.width) == (12, 12)
        assert scene.kernels["B02"] == scene.kernels["B05"] == "copy"
        assert scene.kernels["B08"] == "average"
        values, valid = scene.read(scene.whole, BandSet("B02"))
        np.testing.assert_array_equal(values[0][valid], stored("B02", 20)[valid] - 1000.0)


@pytest.mark.parametrize("number", ["N0509", "N0301"])
def test_l1c__names_without_resolution(tmp_path: Path, number: str) -> None:
    root = tmp_path / f"{L1C.format(n=number)}.SAFE"
    offsets = dict.fromkeys(RESOLUTION, -1000) if number == "N0509" else {}
    for band, size in RESOLUTION.items():
        image(root / "GRANULE/L1C_T34UCF_A1_2/IMG_DATA" / f"T34UCF_20230823T095559_{band}.tif",
              band, size)  # fmt: skip
    image(root / "GRANULE/L1C_T34UCF_A1_2/IMG_DATA/T34UCF_20230823T095559_TCI.tif", "B02", 10)
    image(root / "GRANULE/L1C_T34UCF_A1_2/QI_DATA/MSK_QUALIT_B02.tif", "B02", 10)
    baseline = f"{number[1:3]}.{number[3:]}"
    (root / "MTD_MSIL1C.xml").write_text(metadata("1C", baseline, offsets=offsets))
    with open_scene(root) as scene:
        assert scene.bands == BandSet(RESOLUTION)
        check_pixels(scene, -1000 if offsets else 0)


def old_product(root: Path, granules: int) -> None:
    """The layout before December 2016."""
    name = "S2A_OPER_MTD_SAFL1C_PDMC_20160605T113933_R008_V20160604T101026_20160604T101026.xml"
    for number in range(granules):
        stem = f"S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734_T32TQ{'RSQ'[number]}"
        data = root / "GRANULE" / f"{stem}_N02.02" / "IMG_DATA"
        for band, size in RESOLUTION.items():
            image(data / f"{stem}_{band}.tif", band, size)
        (data.parent / f"{stem.replace('_MSI_', '_MTD_')}.xml").write_text("<tile/>")
    (root / name).write_text(metadata("1C", "02.02", offsets={}))


def test_older_layout__one_granule(tmp_path: Path) -> None:
    old_product(tmp_path / "old.SAFE", 1)
    with open_scene(tmp_path / "old.SAFE") as scene:
        assert scene.bands == BandSet(RESOLUTION)
        check_pixels(scene, 0)


def test_older_layout__several_granules_ask_for_one(tmp_path: Path) -> None:
    old_product(tmp_path / "old.SAFE", 2)
    with pytest.raises(SceneError, match=r"2 granules; .*T32TQR_N02.02, .*T32TQS_N02.02"):
        open_scene(tmp_path / "old.SAFE")
    granule = next((tmp_path / "old.SAFE/GRANULE").glob("*T32TQS*"))
    for path in (granule, granule / "IMG_DATA"):
        with open_scene(path) as scene:
            assert "T32TQS" in scene.assets[0].source.path
            assert not scene.radiometry.assumed


def zipped(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent))
    return target


def test_zip__equals_the_folder(tmp_path: Path) -> None:
    root = l2a(tmp_path)
    with open_scene(root) as folder, open_scene(zipped(root, tmp_path / "my product.zip")) as zip_:
        assert zip_.bands == folder.bands
        assert zip_.radiometry.offset == folder.radiometry.offset
        first, second = folder.read(folder.whole), zip_.read(zip_.whole)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.valid, second.valid)


def test_zip__without_a_product_or_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(SceneError, match="holds no Sentinel-2 product"):
        open_scene(tmp_path / "other.zip")
    whole_zip = zipped(l2a(tmp_path), tmp_path / "product.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole_zip[: len(whole_zip) // 2])
    with pytest.raises(SceneError, match="cannot be read as a zip"):
        open_scene(tmp_path / "cut.zip")


def test_folder__however_it_is_pointed_at(tmp_path: Path) -> None:
    root = l2a(tmp_path)
    granule = next((root / "GRANULE").iterdir())
    for path in (root, root / "MTD_MSIL2A.xml", tmp_path, granule, granule / "IMG_DATA"):
        with open_scene(path) as scene:
            assert scene.name == root.name
            assert len(scene.bands) == 12
    with open_scene(granule / "IMG_DATA" / "R20m") as scene:
        assert set(scene.radiometry.offset) == {-1000}
        assert (scene.height, scene.width) == (12, 12)


def test_single_image__inherits_the_evidence_of_its_product(tmp_path: Path) -> None:
    root = l2a(tmp_path, offsets=dict.fromkeys(RESOLUTION, -1000))
    path = next(root.rglob("*_B04_10m.tif"))
    with open_scene(path) as scene:
        assert scene.radiometry.offset == (-1000,)
        assert scene.radiometry.evidence[0].startswith("MTD_MSIL2A.xml: offset -1000")


def test_offsets__are_per_band_and_scale_with_the_quantification(tmp_path: Path) -> None:
    root = l2a(tmp_path, number="N9999", offsets={"B04": -1000, "B8A": -500}, quantification=5000)
    root = root.rename(tmp_path / "own.SAFE")
    with open_scene(root, bands="B04,B8A,B02") as scene:
        assert scene.radiometry.scale == (2, 2, 2)
        assert scene.radiometry.offset == (-2000, -1000, 0)


@pytest.mark.parametrize(
    ("number", "xml", "facts"),
    [
        ("N0301", {"offsets": dict.fromkeys(RESOLUTION, -1000)}, ("offset -1000", "03.01")),
        ("N0509", {"offsets": {}}, ("offset not listed", "05.09")),
        ("N0509", {"baseline": "03.00"}, ("offset -1000", "03.00")),
    ],
)
def test_contradiction__shows_both_facts(
    tmp_path: Path, number: str, xml: dict, facts: tuple[str, str]
) -> None:
    root = l2a(tmp_path, number=number, **xml)
    with pytest.raises(RadiometryError, match="contradictory") as caught:
        open_scene(root)
    assert all(fact in str(caught.value) for fact in facts)
    with open_scene(root, offset=-1000) as scene:
        assert set(scene.radiometry.offset) == {-1000}


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<unfinished", "not readable XML"),
        ("", "not readable XML"),
        ("<other/>", "has no BOA_QUANTIFICATION_VALUE"),
        ("<p><QUANTIFICATION_VALUE>ten</QUANTIFICATION_VALUE></p>", "'ten'; it must be a number"),
        ("<p><QUANTIFICATION_VALUE>0</QUANTIFICATION_VALUE></p>", "above 0"),
    ],
)
def test_xml__broken_is_one_message(tmp_path: Path, xml: str, says: str) -> None:
    root = l2a(tmp_path)
    (root / "MTD_MSIL2A.xml").write_text(xml)
    with pytest.raises(SceneError, match=says):
        open_scene(root)


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_metadata__that_is_no_file_is_none(tmp_path: Path, kind: str) -> None:
    if kind == "link":
        (tmp_path / "MTD_MSIL2A.xml").symlink_to(tmp_path / "gone.xml")
    else:
        (tmp_path / "MTD_MSIL2A.xml").mkdir()
    assert product_root(tmp_path / "scene.tif") is None


def test_product_root__lists_a_folder_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scan(folder))
    for number in range(5):
        assert product_root(tmp_path / f"{number}.tif") is None
    assert listed.count(tmp_path) == 1
    (tmp_path / "MTD_MSIL1C.xml").write_text("<x/>")
    os.utime(tmp_path, (1, 1))
    assert product_root(tmp_path / "0.tif") == tmp_path


def test_pixels__missing_is_said(tmp_path: Path) -> None:
    root = l2a(tmp_path)
    shutil.rmtree(root / "GRANULE")
    with pytest.raises(SceneError, match=r"metadata but no pixels: none of the 1 images"):
        open_scene(root)
    (root / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(SceneError, match="no product metadata"):
        open_scene(root)


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248", 0),
        ("S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419", 0),
        ("S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825", -1000),
        ("S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126", -1000),
    ],
)
def test_real_metadata__decides_and_misses_its_pixels(
    shared: Path, tmp_path: Path, name: str, offset: float
) -> None:
    source = shared / "data/safe_metadata" / f"{name}.SAFE"
    with pytest.raises(SceneError, match="metadata but no pixels"):
        open_scene(source)
    root = tmp_path / f"{name}.SAFE"
    shutil.copytree(source, root, copy_function=shutil.copyfile)
    root.chmod(0o755)
    for folder in root.rglob("*"):
        folder.chmod(0o755)
    for band, size in RESOLUTION.items():
        image(root / "GRANULE/x/IMG_DATA" / f"T01ABC_20200101T000000_{band}.tif", band, size)
    product = read_product(folder_tree(root))
    assert {facts[0].offset for facts in product.evidence.values()} == {offset}
    with open_scene(root) as scene:
        assert set(scene.radiometry.offset) == {offset}
        check_pixels(scene, offset)


def test_real_product__reads_every_band(shared: Path) -> None:
    with open_scene(next((shared / "data/safe").glob("*.SAFE"))) as scene:
        assert set(MODEL_BANDS) <= set(scene.bands)
        assert set(scene.radiometry.offset) == {-1000}
        assert "05.09" in " ".join(scene.radiometry.evidence)
        values, valid = scene.read(scene.whole, BandSet("B04,B12"))
        for plane, band in zip(values, ("B04_10m", "B12_20m"), strict=True):
            path = next(p for p in (shared / "data/safe").rglob(f"*{band}.jp2"))
            with rasterio.open(path) as file:
                own = file.read(1).astype("float32") - 1000
            if band == "B04_10m":
                np.testing.assert_array_equal(plane, own)
            else:
                np.testing.assert_allclose(plane.mean(), own.mean(), rtol=1e-3)
        assert valid.all()


def bomb(path: Path, method: int) -> Path:
    """A product whose metadata unpack to 64 MiB and say 100 bytes."""
    name = f"{L2A.format(n='N0509')}.SAFE/MTD_MSIL2A.xml"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, bytes(64 * 2**20))
    raw = path.read_bytes()
    path.write_bytes(raw.replace((64 * 2**20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip__a_member_that_lies_about_its_size(tmp_path: Path, method: int) -> None:
    path = bomb(tmp_path / "x.zip", method)
    tracemalloc.start()
    with pytest.raises(SceneError):
        open_scene(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


@pytest.mark.parametrize("name", ["P.SAFE/GRANULE/g/IMG_DATA/../../../../x_B02.jp2", "/etc/x.jp2"])
def test_zip__names_that_lead_out(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("P.SAFE/MTD_MSIL2A.xml", metadata("2A", "05.09", offsets={}))
        archive.writestr(name, b"")
    with pytest.raises(SceneError, match="leads out"):
        open_scene(tmp_path / "x.zip")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml__no_entities(tmp_path: Path, encoding: str) -> None:
    root = l2a(tmp_path)
    text = metadata("2A", "05.09", offsets={}).partition("?>")[2]
    entities = '<!DOCTYPE x [<!ENTITY a "1234567890"><!ENTITY b "&a;&a;&a;">]>'
    (root / "MTD_MSIL2A.xml").write_bytes(
        f'<?xml version="1.0" encoding="{encoding}"?>{entities}{text}'.encode(encoding)
    )
    with pytest.raises(SceneError, match="DOCTYPE"):
        open_scene(root)


def test_images__that_are_something_else(tmp_path: Path) -> None:
    root = l2a(tmp_path)
    secret = tmp_path / "passwd"
    secret.write_bytes(bytes(600_000))
    target = next(root.rglob("*_B02_10m.tif"))
    target.write_text(
        '<VRTDataset rasterXSize="24" rasterYSize="24"><VRTRasterBand dataType="UInt16" band="1" '
        f'subClass="VRTRawRasterBand"><SourceFilename>{secret}</SourceFilename></VRTRasterBand>'
        "</VRTDataset>"
    )
    for source in (root, zipped(root, tmp_path / "x.zip")):
        with pytest.raises(SceneError, match=r"B02_10m\.tif cannot be opened"):
            open_scene(source)
