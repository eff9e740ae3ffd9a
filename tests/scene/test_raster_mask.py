"""Masks that are rasters: which pixels they take, on whatever grid they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.enums import Resampling
from rasterio.warp import reproject

import deo
from deo.bands import BandSet
from deo.cli import cli
from deo.contracts import fit_contract
from deo.errors import OutputError, SceneError
from deo.scene.inputs import read_inputs
from deo.scene.opening import open_scene
from deo.scene.raster_mask import RasterMask
from deo.scene.scene import Scene
from deo.scene.window import Window

SIDE = 40
PLACE = Affine(10, 0, 5e5, 0, -10, 4e6)
RGB = ("B04", "B03", "B02")


def classes(side: int) -> np.ndarray:
    """A classification of synthetic ground: one row of clouds, cirrus, and water in a corner."""
    numbers = np.full((1, side, side), 4, np.uint8)
    numbers[0, :2] = 9
    numbers[0, 2, :3] = 10
    numbers[0, -1, -1] = 6
    return numbers


@pytest.fixture
def bands(write: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with three files of a band each, ground of 500 under clouds of 9000, at 10 m."""
    folder = tmp_path / "scene"
    folder.mkdir()
    clouded = np.isin(classes(SIDE // 2)[0], (9, 10)).repeat(2, axis=0).repeat(2, axis=1)
    for number, band in enumerate(RGB):
        values = np.where(clouded, 9000, 500 + number).astype(np.uint16)[None]
        write(folder / f"{band}.tif", values, transform=PLACE)
    return folder


@pytest.fixture
def product(bands: Path, write: Callable[..., Path]) -> Path:
    """The same with a classification at 20 m beside the bands."""
    write(bands / "SCL_20m.tif", classes(SIDE // 2), transform=PLACE * Affine.scale(2))
    return bands


def taken(scene: Scene) -> np.ndarray:
    """(H, W): the pixels that the masks of a scene take."""
    return ~scene.read(scene.whole).valid


def out(path: Path, **options: Any) -> np.ndarray:
    with open_scene(path, offset=0, **options) as scene:
        return taken(scene)


def test_clouds__of_the_classification_beside_the_bands(product: Path) -> None:
    with open_scene(product, offset=0, mask="clouds") as scene:
        clouded = scene.read(scene.whole)
        assert clouded.values.max() == 502
        assert not clouded.valid[:4].any()
        assert not clouded.valid[4:6, :6].any()
        assert clouded.valid.sum() == SIDE * SIDE - 4 * SIDE - 12
        (record,) = scene.record()["masks"]
        share = (4 * SIDE + 12) / SIDE**2
        assert record == {
            "name": "SCL", "file": "SCL_20m.tif", "classes": [0, 1, 3, 8, 9, 10, 11],
            "share": pytest.approx(share),
        }  # fmt: skip
        assert scene.mask_source == "SCL (classes 0, 1, 3, 8, 9, 10, 11 out)"


def test_clouds__classes_can_be_said(product: Path) -> None:
    water = out(product, mask="clouds", mask_classes=(6,))
    assert water[-2:, -2:].all()
    assert water.sum() == 4


def test_clouds__contracts_are_fitted_on_what_is_left(product: Path) -> None:
    maxima = []
    for mask in (None, "clouds"):
        with open_scene(product, offset=0, mask=mask) as scene:
            maxima.append(fit_contract("scene", bands=BandSet(RGB), scene=scene).rgb_maximum)
    assert maxima == [9000, 502]


def test_clouds__of_a_list_and_of_a_band_in_the_same_file(
    product: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    wanted = out(product, mask="clouds")
    files = sorted(product.iterdir())
    np.testing.assert_array_equal(out(files, mask="clouds"), wanted)  # type: ignore[arg-type]
    with open_scene(product, offset=0) as scene:
        values = scene.read(scene.whole, BandSet(RGB)).values
    scl = classes(SIDE // 2)[0].repeat(2, axis=0).repeat(2, axis=1)
    stack = np.concatenate([values, scl[None]]).astype(np.uint16)
    names = (*RGB, "SCL")
    one = write(tmp_path / "one.tif", stack, transform=PLACE, descriptions=names)
    np.testing.assert_array_equal(out(one, mask="clouds"), wanted)


def test_clouds__of_a_product_as_it_comes(shared: Path) -> None:
    product = next((shared / "data" / "safe").glob("*L2A*.SAFE"))
    scl = sorted(product.rglob("*_SCL_20m.jp2"))
    if not scl:
        with pytest.raises(SceneError, match=r"needs a scene classification \(SCL\)"):
            open_scene(product, mask="clouds")
        return
    with rasterio.open(scl[0]) as file:
        unclear = np.isin(file.read(1), (0, 1, 3, 8, 9, 10, 11))
    with open_scene(product, mask="clouds", bands="B04") as scene:
        mask = scene.masks[0].valid(scene.whole)
        step = scene.height // unclear.shape[0]
    np.testing.assert_array_equal(~mask, unclear.repeat(step, axis=0).repeat(step, axis=1))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32632", "EPSG:4326"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_file__goes_by_the_nearest_pixel_whatever_the_grid(
    bands: Path, write: Callable[..., Path], tmp_path: Path, crs: str, dtype: str
) -> None:
    mask = (np.random.default_rng(0).random((1, 90, 90)) < 0.3).astype(dtype) * 7
    place = {
        "EPSG:32633": Affine(7, 0, 5e5 - 33, 0, -7, 4e6 + 51),
        "EPSG:32632": Affine(8, 0, 1_039_990, 0, -8, 4_016_770),
        "EPSG:4326": Affine(8e-5, 0, 14.9985, 0, -7e-5, 36.1455),
    }[crs]
    path = write(tmp_path / "mask.tif", mask, crs=crs, transform=place)
    wanted = np.zeros((SIDE, SIDE), dtype)
    reproject(
        mask[0], wanted, src_crs=crs, src_transform=place, dst_crs="EPSG:32633",
        dst_transform=PLACE, resampling=Resampling.nearest, tolerance=0,
    )  # fmt: skip
    with open_scene(bands, offset=0, mask=path) as scene:
        whole = taken(scene)
        parts = [
            ~scene.read(Window(row=row, col=col, height=13, width=20)).valid
            for row in (0, 13, 26)
            for col in (0, 20)
        ]
    assert 0.05 < (wanted != 0).mean() < 0.5
    np.testing.assert_array_equal(whole, wanted != 0)
    np.testing.assert_array_equal(np.block([parts[:2], parts[2:4], parts[4:]]), whole[:39])


def test_file__nodata_is_a_number_like_others_and_beyond_its_edges_nothing_is_out(
    bands: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, :3], mask[0, 3] = 255, 1
    for crs, place in (
        ("EPSG:32633", PLACE * Affine.translation(5, 5)),
        ("EPSG:32632", Affine(10, 0, 1_040_226, 0, -10, 4_016_560)),
    ):
        path = write(tmp_path / "mask.tif", mask, crs=crs, transform=place, nodata=255)
        both = out(bands, mask=path)
        assert 30 <= both.sum() <= 50
        assert out(bands, mask=path, mask_classes=(1,)).sum() < both.sum() / 2


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning:rasterio.*")
def test_file__without_a_place_has_to_have_the_scenes_size(
    bands: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    mask = classes(SIDE)
    path = write(tmp_path / "mask.tif", mask, crs=None, transform=Affine.identity())
    np.testing.assert_array_equal(out(bands, mask=path, mask_classes=(9,)), mask[0] == 9)
    coarse = write(
        tmp_path / "coarse.tif", classes(SIDE // 2), crs=None, transform=Affine.identity()
    )
    with pytest.raises(SceneError, match="20 x 20 and 40 x 40 pixels"):
        open_scene(bands, mask=coarse, offset=0)  # of unknown extent over a scene that has a place
    placeless = np.full((1, SIDE, SIDE), 900, np.uint16)
    with open_scene(placeless, bands="B04", mask=coarse, mask_classes=(9,)) as scene:
        assert taken(scene).sum() == 4 * SIDE
    small = write(tmp_path / "small.tif", mask[:, 1:], crs=None, transform=Affine.identity())
    with pytest.raises(SceneError, match="39 x 40 and 40 x 40 pixels"):
        open_scene(bands, mask=small, offset=0)


def test_file__that_is_no_mask_for_the_scene_is_one_message(
    bands: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    everything = write(tmp_path / "all.tif", np.ones((1, SIDE, SIDE), "uint8"), transform=PLACE)
    with pytest.raises(SceneError, match=r"all\.tif .* takes every pixel of scene"):
        open_scene(bands, mask=everything, offset=0)
    elsewhere = PLACE * Affine.translation(SIDE, 0)
    for crs in ("EPSG:32633", "EPSG:32634", "EPSG:32601"):
        other = write(tmp_path / "far.tif", classes(SIDE), transform=elsewhere, crs=crs)
        with pytest.raises(SceneError, match=r"far\.tif does not overlap scene"):
            open_scene(bands, mask=other, offset=0)
    three = write(tmp_path / "three.tif", np.ones((3, SIDE, SIDE), "uint8"), transform=PLACE)
    with pytest.raises(SceneError, match="has 3 bands; a mask has one"):
        open_scene(bands, mask=three, offset=0)
    no_crs = write(tmp_path / "none.tif", classes(SIDE), transform=PLACE, crs=None)
    with pytest.raises(SceneError, match="has no coordinate reference system; state it"):
        open_scene(bands, mask=no_crs, offset=0)
    with pytest.raises(SceneError, match="cannot open"):
        open_scene(bands, mask=tmp_path / "absent.tif", offset=0)


def test_inputs__include_the_mask(product: Path) -> None:
    with open_scene(product, mask="clouds", offset=0) as scene:
        assert "SCL_20m.tif" in {file.name for file in read_inputs(scene).files}
        assert isinstance(scene.masks[0], RasterMask)


def test_extract__says_what_the_mask_took_and_does_not_resume_another(
    product: Path, tmp_path: Path
) -> None:
    settings = {"model": "test_deo_swin", "untrained": True, "offset": 0, "tile": 32}
    target = tmp_path / "out.tif"
    command = f"extract {product} -o {target} --model test_deo_swin --untrained --offset 0"
    command += " --tile 32 --mask clouds --mask-classes 0,1,3,8,9,10,11 --quiet"
    result = CliRunner().invoke(cli, command.split())
    assert result.exit_code == 0, result.output
    with rasterio.open(target) as file:
        tags = file.tags()
        (record,) = json.loads(tags["DEO_MASKS"])
        assert record["share"] == pytest.approx(0.1075)
        assert "SCL (classes 0, 1, 3" in tags["DEO_MASK"]
    with pytest.raises(OutputError, match="MASK"):
        deo.extract(product, target, resume=True, **settings)
    with pytest.raises(OutputError):
        deo.extract(product, product / "SCL_20m.tif", mask="clouds", overwrite=True, **settings)
