import json
import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

import deo
from deo import MODEL_BANDS, RGB_BANDS, BandSet, api
from deo.api import Extraction, feature_model
from deo.errors import (
    BandError,
    ConfigError,
    DeoError,
    ModelError,
    OutputError,
    SceneError,
    WeightsError,
)
from deo.maps import compute, make
from deo.maps import job as mapping
from deo.maps.shard import Shard
from deo.maps.spool import Spool
from deo.maps.stream import RowBand
from deo.scene.window import Window

MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "overlap": 32}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Path]:
    def make(
        height: int = 100, width: int = 130, bands: BandSet = MODEL_BANDS, name: str = "scene.tif"
    ) -> Path:
        rng = np.random.default_rng(1)
        values = rng.integers(100, 4000, (len(bands), height, width)).astype(np.uint16)
        values[:, :40, :40] = 0
        path = tmp_path / name
        with rasterio.open(
            path, "w", driver="GTiff", count=len(bands), height=height, width=width,
            dtype="uint16", nodata=0, crs="EPSG:32633",
            transform=from_origin(500_000, 5_000_000, 10, 10), tiled=True, blockxsize=64,
            blockysize=64, compress="deflate",
        ) as file:  # fmt: skip
            file.write(values)
            file.descriptions = tuple(bands)
        return path

    return make


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "scene.tif")


def test_extract__writes_a_cog_on_the_scene_s_grid(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    source = scene()
    (written,) = deo.extract(source, tmp_path / "out.tif", **MICRO)
    assert written == tmp_path / "out.tif"
    with rasterio.open(source) as before, rasterio.open(written) as file:
        assert (file.count, file.height, file.width) == (128, 4, 5)
        assert file.crs == before.crs
        assert file.transform == rasterio.Affine(320, 0, 500_000, 0, -320, 5_000_000)
        tags = file.tags()
        values = file.read()
    assert np.isnan(values[:, 0, 0]).all()
    assert np.isfinite(values).sum() == 128 * 19
    assert tags["DEO_MODEL"] == "test_deo_swin"
    assert tags["DEO_WEIGHTS"] == "untrained"
    assert len(tags["DEO_WEIGHTS_SHA256"]) == 64
    assert (tags["DEO_LAYER"], tags["DEO_STRIDE"]) == ("3", "32")
    assert tags["DEO_BANDS"] == str(MODEL_BANDS)
    assert json.loads(tags["DEO_CONTRACT"])["name"] == "fixed"
    assert json.loads(tags["DEO_RADIOMETRY"])["scale"] == [1.0] * 10
    assert tags["DEO_VERSION"] == deo.__version__
    assert leftovers(tmp_path) == ["out.tif"]


def test_extract__equals_the_model_on_a_scene_of_one_tile(tmp_path: Path) -> None:
    array = np.random.default_rng(0).uniform(100, 4000, (10, 64, 64)).astype(np.float32)
    bands = MODEL_BANDS
    settings = {**MICRO, "bands": bands, "contract": "s2", "scale": 1.0, "offset": 0.0}
    deo.extract(array, tmp_path / "out.tif", **{**settings, "layer": None})
    loaded = feature_model("test_deo_swin", untrained=True, layer=None)
    image = (array - np.array(bands.mean)[:, None, None]) / np.array(bands.std)[:, None, None]
    with torch.inference_mode():
        maps = loaded.model.call(torch.from_numpy(image.astype(np.float32))[None])
    for layer, wanted in enumerate(maps):
        with rasterio.open(tmp_path / f"out_layer{layer}.tif") as file:
            np.testing.assert_allclose(file.read(), wanted[0].numpy(), atol=1e-4)


def test_extract__the_same_input_gives_the_same_bytes(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    source = scene()
    for name in ("a", "b"):
        deo.extract(source, tmp_path / f"{name}.tif", **MICRO)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_extract__one_layer_is_the_same_alone_or_among_all(tmp_path: Path, layer: int) -> None:
    array = np.random.default_rng(0).integers(100, 4000, (10, 64, 64)).astype(np.uint16)
    deo.extract(array, tmp_path / "one.tif", **MICRO, bands=MODEL_BANDS, layer=layer)
    deo.extract(array, tmp_path / "all.tif", **MICRO, bands=MODEL_BANDS, layer=None)
    with (
        rasterio.open(tmp_path / "one.tif") as one,
        rasterio.open(tmp_path / f"all_layer{layer % 4}.tif") as among,
    ):
        np.testing.assert_allclose(one.read(), among.read(), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (31, 33), (64, 64), (65, 64)])
def test_extract__scenes_of_any_size(
    scene: Callable[..., Path], tmp_path: Path, size: tuple[int, int]
) -> None:
    source = scene(*size)
    with rasterio.open(source, "r+") as file:
        file.write(np.full((10, *size), 1000, np.uint16))
    deo.extract(source, tmp_path / "out.tif", **MICRO)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.shape == tuple(-(-side // 32) for side in size)
        assert np.isfinite(file.read()).all()


@pytest.mark.parametrize(
    ("bands", "chosen", "wanted"),
    [
        (RGB_BANDS, None, RGB_BANDS),
        (MODEL_BANDS, RGB_BANDS, RGB_BANDS),
        (MODEL_BANDS, BandSet(["B12", "B04"]), BandSet(["B04", "B12"])),
    ],
)
def test_extract__stem_follows_the_bands(
    scene: Callable[..., Path], tmp_path: Path, bands: BandSet, chosen: Any, wanted: BandSet
) -> None:
    deo.extract(scene(bands=bands), tmp_path / "out.tif", **MICRO, bands=chosen)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags()["DEO_BANDS"] == str(wanted)


def test_extract__contract_stored_with_the_weights_is_used(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deo.contracts import fit_contract

    stored = fit_contract("stats", bands=MODEL_BANDS, mean=[900.0] * 10, std=[400.0] * 10)
    plan = Extraction(**MICRO)
    with plan.open(scene()) as opened:
        loaded = plan.load(opened)
        with_contract = loaded._replace(contract=stored.record())
        plan._loaded[MODEL_BANDS] = with_contract
        assert plan.job(opened, tmp_path / "out.tif").contract == stored
        said = Extraction(**MICRO, contract="s2")
        said._loaded[MODEL_BANDS] = with_contract
        assert said.job(opened, tmp_path / "out.tif").contract.name == "s2"


def test_extract__contract_stored_with_the_weights_follows_the_bands(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    from deo.contracts import fit_contract

    some = BandSet("B04,B03,B02,B08")
    numbers = [100.0 * (position + 1) for position in range(10)]
    plan = Extraction(**MICRO, bands=some)
    with plan.open(scene()) as opened:
        loaded = plan.load(opened)

        def contract(name: str, bands: BandSet = MODEL_BANDS) -> Any:
            own = numbers[: len(bands)] if name == "stats" else None
            stored = fit_contract(name, bands=bands, mean=own, std=own)
            plan._loaded[loaded.model.bands] = loaded._replace(contract=stored.record())
            return plan.job(opened, tmp_path / "out.tif").contract

        assert contract("s2") == fit_contract("s2", bands=loaded.model.bands)
        wanted = tuple(numbers[MODEL_BANDS.names.index(band)] for band in loaded.model.bands)
        assert contract("stats").mean == contract("stats").std == wanted
        with pytest.raises(ConfigError, match=r"no numbers for B08; .* another --contract"):
            contract("stats", RGB_BANDS)


def test_extract__resume_keeps_what_is_complete_and_refuses_what_differs(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = scene(), tmp_path / "out.tif"
    deo.extract(source, out, **MICRO)
    before = out.stat().st_mtime_ns
    told: list[int] = []
    deo.extract(source, out, **MICRO, resume=True, progress=lambda done, of: told.append(done))
    assert out.stat().st_mtime_ns == before
    assert not told
    with pytest.raises(OutputError, match=r"made otherwise \(DEO_LAYER: '3' -> '2'"):
        deo.extract(source, out, **{**MICRO, "layer": 2}, resume=True)
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        deo.extract(source, out, **MICRO)
    deo.extract(source, out, **{**MICRO, "layer": 2}, overwrite=True)
    with rasterio.open(out) as file:
        assert file.tags()["DEO_LAYER"] == "2"


@pytest.mark.parametrize(
    ("name", "changed"), [("out.tif", {"dtype": "int8"}), ("out.parquet", {"chip": 128})]
)
def test_extract__resume_sees_what_only_the_file_differs_in(
    scene: Callable[..., Path], tmp_path: Path, name: str, changed: dict[str, Any]
) -> None:
    settings = {**MICRO, "chip": 64}
    deo.extract(scene(), tmp_path / name, **settings)
    with pytest.raises(OutputError, match=f"DEO_{next(iter(changed)).upper()}.*: .* -> "):
        deo.extract(scene(), tmp_path / name, **{**settings, **changed}, resume=True)
    with pytest.raises(OutputError, match=r"DEO_GRID.height: 100 -> 120"):
        deo.extract(scene(120), tmp_path / name, **settings, resume=True)
    deo.extract(scene(), tmp_path / name, **settings, resume=True)


def test_extract__an_interrupted_run_goes_on_where_it_was(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = scene(300, 70)
    deo.extract(source, tmp_path / "straight.tif", **MICRO)
    append = Spool.append

    def fail_at_third(self: Spool, band: RowBand) -> None:
        if band.tile_row == 3:
            raise OSError(28, "No space left on device")
        append(self, band)

    out = tmp_path / "out.tif"
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", fail_at_third)
        with pytest.raises(OSError, match="No space"):
            deo.extract(source, out, **MICRO)
    assert not out.exists()
    assert (tmp_path / "out.tif.partial").is_dir()
    tiles: list[int] = []
    deo.extract(source, out, **MICRO, resume=True, progress=lambda done, of: tiles.append(done))
    assert out.read_bytes() == (tmp_path / "straight.tif").read_bytes()
    assert not (tmp_path / "out.tif.partial").exists()
    assert max(tiles) < 2 * 9, "the finished rows were not computed again"


@pytest.mark.skipif(os.name == "nt", reason="resource limits of POSIX")
@pytest.mark.parametrize("limit", [30_000, 180_000])  # the rows take 160 000: spool, then COG
def test_extract__a_full_disk_is_one_message(
    scene: Callable[..., Path], tmp_path: Path, limit: int
) -> None:
    """A limit on the size of files stands in for the disk; GDAL and Python both meet it."""
    import resource

    source, out = scene(200, 200), tmp_path / "out.tif"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match=f"cannot write {tmp_path}"):
            deo.extract(source, out, **{**MICRO, "layer": 0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert not out.exists()
    deo.extract(source, out, **{**MICRO, "layer": 0}, resume=True)


def test_extract__refuses_a_disk_without_room_beforehand(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=10**6, used=10**6, free=1000)
    monkeypatch.setattr("deo.files.publish.shutil.disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match="GiB are needed"):
        deo.extract(scene(), tmp_path / "out.tif", **MICRO)
    assert leftovers(tmp_path) == []


def test_extract__an_unreadable_tile_is_one_message(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    source = scene(300, 300)
    raw = bytearray(source.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 100_000] = bytes(100_000)  # more than a block, its header included
    source.write_bytes(raw)
    with pytest.raises(SceneError, match=r"scene\.tif"):
        deo.extract(source, tmp_path / "out.tif", **MICRO, contract="s2")
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"model": "deo_swin_x"}, ModelError, "deo_swin_x"),
        ({"layer": 4}, ModelError, "layers 0 .* to 3 .* got 4"),
        ({"tile": 50}, ConfigError, "tile of 50"),
        ({"overlap": 64}, ConfigError, "overlap of 64"),
        ({"batch_size": 0}, ConfigError, "batch size 0"),
        ({"precision": "fp8"}, ConfigError, "fp8"),
        ({"device": "cuda:99"}, ConfigError, "cuda:99"),
        ({"device": "toaster"}, ConfigError, "toaster"),
        ({"dtype": "uint4"}, ConfigError, "uint4"),
        ({"contract": "stats"}, ConfigError, "mean"),
        ({"untrained": False}, WeightsError, "weights"),
        ({"bands": BandSet(["B01"])}, BandError, "B01"),
        ({"preview": "out.jpg"}, OutputError, r"\*.png"),
        ({"extraction": Extraction(**MICRO)}, ConfigError, "not both"),
    ],
)
def test_extract__refuses_what_cannot_work(
    scene: Callable[..., Path], tmp_path: Path, settings: dict[str, Any],
    error: type[DeoError], said: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=said):
        deo.extract(scene(), tmp_path / "out.tif", **{**MICRO, **settings})
    assert leftovers(tmp_path) == []


def test_extract__missing_bands_are_named(scene: Callable[..., Path], tmp_path: Path) -> None:
    some = BandSet(["B04", "B03", "B02", "B08"])
    with pytest.raises(BandError, match="lacks B05, B06, B07, B8A, B11, B12"):
        deo.extract(scene(bands=some), tmp_path / "out.tif", **MICRO)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind root")
def test_extract__a_read_only_folder_is_one_message(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    source = scene()
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission denied"):
        deo.extract(source, tmp_path / "locked" / "out.tif", **MICRO)


def test_extract__a_failure_while_writing_leaves_rows_to_resume(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OutputError("cannot write: the disk is full")

    monkeypatch.setattr(compute, "write_output", fail)
    with pytest.raises(OutputError, match="disk is full"):
        deo.extract(scene(), tmp_path / "out.tif", **MICRO)
    assert leftovers(tmp_path) == ["out.tif.partial"]


def test_extract__tells_progress(scene: Callable[..., Path], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    deo.extract(
        scene(), tmp_path / "out.tif", **MICRO, progress=lambda done, of: told.append((done, of))
    )
    assert told[-1] == (12, 12)


def test_extract__preview_and_stac(scene: Callable[..., Path], tmp_path: Path) -> None:
    import pystac
    from PIL import Image

    deo.extract(scene(), tmp_path / "out.tif", **MICRO, preview=tmp_path / "out.png", stac=True)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.mode == "RGBA"
        assert np.asarray(picture)[..., 3].min() == 0
    item = pystac.Item.from_file(str(tmp_path / "out.stac.json"))
    assert item.assets["embeddings"].href == "./out.tif"
    assert item.properties["deo:type"] == "pixel"
    assert item.properties["deo:dimensions"] == 128
    assert {link.rel for link in item.links} >= {"emb:model", "emb:source-data"}
    west, south, east, north = item.bbox or ()
    assert 15 <= west < east < 15.02
    assert 45.1 < south < north < 45.2
    model = json.loads((tmp_path / "out.mlm.json").read_text())
    described = model["properties"]["mlm:input"][0]
    assert "bands" in described["input"]["dim_order"]
    assert described["bands"] == list(MODEL_BANDS)
    assert model["properties"]["mlm:name"] == "test_deo_swin"
    assert leftovers(tmp_path) == ["out.mlm.json", "out.png", "out.stac.json", "out.tif"]


def test_extract__an_array_with_its_place(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 4000, (10, 64, 96)).astype(np.uint16)
    place = from_origin(500_000, 5_000_000, 10, 10)
    deo.extract(
        array, tmp_path / "out.tif", bands=MODEL_BANDS, crs="EPSG:32633", transform=place,
        nodata=0, offset=0, model="test_deo_swin", untrained=True, layer=0,
    )  # fmt: skip
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.crs.to_epsg() == 32633
        assert (file.transform.c, file.transform.f) == (place.c, place.f)


def test_extract__pictures_show_north_up(tmp_path: Path) -> None:
    """The same ground stored from the south, from the east, or on its side makes one picture."""
    from affine import Affine
    from PIL import Image

    ground = np.random.default_rng(0).integers(1, 4000, (10, 64, 96)).astype(np.uint16)
    ground[:, :32] //= 8
    ground[:, :, 80:] = 0
    north = from_origin(500_000, 5_000_000, 10, 10)
    pictures = []
    for array, transform in (
        (ground, north),
        (ground[:, ::-1], north @ Affine(1, 0, 0, 0, -1, 64)),
        (ground[:, :, ::-1], north @ Affine(-1, 0, 96, 0, 1, 0)),
        (ground.swapaxes(1, 2), north @ Affine(0, 1, 0, 1, 0, 0)),
        (np.rot90(ground, 1, (1, 2)), north @ Affine(0, -1, 96, 1, 0, 0)),
    ):
        deo.extract(
            np.ascontiguousarray(array), tmp_path / "out.tif", preview=tmp_path / "out.png",
            bands=MODEL_BANDS, crs="EPSG:32633", transform=transform, nodata=0, offset=0,
            overwrite=True, layer=0, **MICRO,
        )  # fmt: skip
        with Image.open(tmp_path / "out.png") as picture:
            pictures.append(np.asarray(picture)[60:560, 20:820].astype(int))
    for turned in pictures[1:]:
        difference = np.abs(turned - pictures[0])
        assert difference.max() <= 60, "Pillow resizes along rows first, and clips"
        assert difference.mean() < 1


@pytest.mark.parametrize("output", ["out.tif", "out.zarr"])
@pytest.mark.parametrize("crs", ['LOCAL_CS["mine",UNIT["metre",1]]', "IAU_2015:30100", None])
def test_extract__needs_no_place_on_earth_for_maps_and_pictures(
    tmp_path: Path, crs: str | None, output: str
) -> None:
    array = np.random.default_rng(0).integers(1, 4000, (10, 64, 64)).astype(np.uint16)
    settings = {
        **MICRO, "bands": MODEL_BANDS, "crs": crs, "transform": from_origin(10, 20, 1e-4, 1e-4),
        "nodata": 0, "offset": 0, "layer": 0, "chip": 32,
    }  # fmt: skip
    told: list[int] = []
    for refused, options in (("chips.parquet", {}), (output, {"stac": True})):
        with pytest.raises(OutputError, match=r"array (has no|cannot be turned)"):
            deo.extract(
                array, tmp_path / refused, **settings, **options,
                progress=lambda done, of: told.append(done),
            )  # fmt: skip
    assert not told, "refused before anything is computed"
    assert leftovers(tmp_path) == []
    deo.extract(array, tmp_path / output, **settings, preview=tmp_path / "out.png")
    assert leftovers(tmp_path) == sorted(["out.png", output])


def test_extract__stac_over_180_degrees_and_without_a_date(tmp_path: Path) -> None:
    import pystac
    from rasterio.warp import transform as reproject

    (x,), (y,) = reproject("EPSG:4326", "EPSG:32760", [180.0], [-17.0])
    array = np.random.default_rng(0).integers(1, 4000, (10, 64, 64)).astype(np.uint16)
    deo.extract(
        array, tmp_path / "out.tif", bands=MODEL_BANDS, crs="EPSG:32760", nodata=0, offset=0,
        transform=from_origin(x - 320, y + 320, 10, 10), stac=True, **MICRO,
    )  # fmt: skip
    for kind in ("stac", "mlm"):
        item = json.loads((tmp_path / f"out.{kind}.json").read_text())
        assert item["geometry"]["type"] == "MultiPolygon"
        west, south, east, north = item["bbox"]
        assert 179.99 < west < 180
        assert -180 < east < -179.99
        assert -17.01 < south < north < -16.99
        assert item["properties"]["datetime"] is None
        assert item["properties"]["end_datetime"] == "9999-12-31T23:59:59Z"  # whatever the clock
    assert pystac.Item.from_file(str(tmp_path / "out.stac.json")).geometry is not None


def test_scene__shows_itself_in_a_line(tmp_path: Path) -> None:
    array = np.ones((10, 8, 8), np.uint16)
    with deo.open_scene(array, bands=MODEL_BANDS, offset=0) as scene:
        assert len(repr(scene)) < 150
        out = deo.extract(scene, tmp_path / "out.tif", model="test_deo_swin", untrained=True)
        assert out == [tmp_path / "out.tif"]
        assert scene.read(Window(row=0, col=0, height=8, width=8), MODEL_BANDS).valid.all()
    with pytest.raises(DeoError, match="give a path, a list of paths, or an array"):
        deo.extract(8, tmp_path / "no.tif", model="test_deo_swin", untrained=True)


def test_extract__never_writes_over_its_input(scene: Callable[..., Path], tmp_path: Path) -> None:
    path = scene()
    (tmp_path / "same.tif").symlink_to(path)
    before = path.read_bytes()
    for target in (path, tmp_path / "same.tif"):
        with pytest.raises(OutputError, match="is what is being read"):
            deo.extract(path, target, model="test_deo_swin", untrained=True, overwrite=True)
    assert path.read_bytes() == before
    (tmp_path / "file.zarr").write_text("no store")
    with pytest.raises(OutputError, match="Zarr stores are folders"):
        deo.extract(
            path, tmp_path / "file.zarr", model="test_deo_swin", untrained=True, overwrite=True
        )


@pytest.mark.parametrize("settings", [{"tile": 0}, {"device": "meta"}, {"device": "hpu"}])
def test_extract__refuses_tiles_and_devices_that_cannot_be(
    scene: Callable[..., Path], tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(DeoError, match=r"tile of 0|cannot be used"):
        deo.extract(
            scene(), tmp_path / "out.tif", model="test_deo_swin", untrained=True, **settings
        )


def test_extract__what_was_left_out_of_a_complete_output_is_made_up_for(
    scene: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, out, picture = scene(), tmp_path / "out.tif", tmp_path / "out.png"

    def fail(*_: Any) -> None:
        raise OutputError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(make, "draw_preview", fail)
        with pytest.raises(OutputError, match="no space"):
            deo.extract(source, out, **MICRO, preview=picture)
    assert out.exists()
    deo.extract(source, out, **MICRO, preview=picture, resume=True)
    assert picture.exists()
    assert not (tmp_path / "out.tif.partial").exists()
    drawn = picture.read_bytes()
    picture.unlink()
    deo.extract(source, out, **MICRO, preview=picture, stac=True, resume=True)
    assert picture.read_bytes() == drawn
    assert (tmp_path / "out.stac.json").exists()


def test_extraction__threads_share_one_model(
    scene: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loads = api.feature_model, 0

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal loads
        loads += 1
        return load(*args, **kwargs)

    monkeypatch.setattr(api, "feature_model", count)
    plan, path = Extraction(**MICRO), scene()
    ready, loaded = threading.Barrier(4), []

    def work() -> None:
        with plan.open(path) as opened:
            ready.wait()
            loaded.append(plan.load(opened).model)

    in_threads(work, 4)
    assert loads == 1
    assert all(model is loaded[0] for model in loaded)


def test_feature_model__untrained_weights_are_the_same_in_every_thread() -> None:
    wanted = feature_model("test_deo_swin", untrained=True).model.identity["weights_sha256"]
    hashes: list[str] = []

    def work() -> None:
        for _ in range(2):
            torch.rand(1)  # anybody else's draw
            model = feature_model("test_deo_swin", untrained=True).model
            hashes.append(model.identity["weights_sha256"])

    in_threads(work, 4)
    assert set(hashes) == {wanted}


def test_extraction__is_pickled_without_its_model(scene: Callable[..., Path]) -> None:
    plan = Extraction(**MICRO)
    before = pickle.dumps(plan)
    with plan.open(scene()) as opened:
        model = plan.load(opened).model
        copy = pickle.loads(pickle.dumps(plan))
        assert len(pickle.dumps(plan)) == len(before)
        assert copy == plan
        assert copy.load(opened).model.identity == model.identity


def test_extract__in_threads_leaves_the_warnings_as_they_were(tmp_path: Path) -> None:
    filters = list(warnings.filters)
    plan = Extraction(**MICRO, bands=MODEL_BANDS, offset=0.0)
    array = np.random.default_rng(0).integers(1, 4000, (10, 64, 64)).astype(np.uint16)
    names = iter(range(100))
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3):
                deo.extract(array, tmp_path / f"{next(names)}.tif", extraction=plan)
        except BaseException as fault:
            faults.append(fault)
            raise

    in_threads(work, 4)
    assert not faults
    assert warnings.filters == filters
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_extract__what_another_run_finishes_meanwhile_is_not_done_again(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = scene(), tmp_path / "out.tif"
    run = make.run_job

    def run_too_late(*args: Any, **kwargs: Any) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(make, "run_job", run)
            deo.extract(source, out, **MICRO, resume=True)
        finished.append(out.stat().st_ino)
        return run(*args, **kwargs)

    finished: list[int] = []
    monkeypatch.setattr(make, "run_job", run_too_late)
    told: list[int] = []
    deo.extract(source, out, **MICRO, resume=True, progress=lambda done, of: told.append(done))
    assert [out.stat().st_ino] == finished
    assert not told
    assert leftovers(tmp_path) == ["out.tif"]


def in_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def contents(path: Path) -> dict[str, bytes]:
    """Of a file, or of all files in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(each.relative_to(path)): each.read_bytes() for each in files if each.is_file()}


def change(path: Path) -> None:
    """Other pixels in the same place, under the same name."""
    with rasterio.open(path, "r+") as file:
        file.write(file.read() // 2 + 50)
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))


def source_of(path: Path, kind: str) -> Path:
    """A scene file, or a VRT that reads it."""
    if kind == "file":
        return path
    from rasterio.shutil import copy

    copy(path, path.with_suffix(".vrt"), driver="VRT")
    return path.with_suffix(".vrt")


@pytest.mark.parametrize("kind", ["file", "vrt"])
def test_extract__publishes_no_mixture_of_two_inputs(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = scene(300, 70)
    source, out, append = source_of(path, kind), tmp_path / "out.tif", Spool.append

    def change_at_last(self: Spool, band: RowBand) -> None:
        append(self, band)
        if band.tile_row == 8:
            change(path)

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", change_at_last)
        with pytest.raises(SceneError, match=r"scene\.tif changed while being read"):
            deo.extract(source, out, **MICRO, contract="s2")
    assert not out.exists()
    assert not (tmp_path / "out.tif.partial").exists()


@pytest.mark.parametrize("kind", ["file", "vrt"])
@pytest.mark.parametrize("contract", ["s2", "scene"])
def test_extract__starts_over_when_the_input_changed_before_it_was_resumed(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, kind: str, contract: str,
) -> None:  # fmt: skip
    path = scene(300, 70)
    source, append = source_of(path, kind), Spool.append

    def fail_at_third(self: Spool, band: RowBand) -> None:
        if band.tile_row == 3:
            raise OutputError("stopped")
        append(self, band)

    settings = {**MICRO, "contract": contract}
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", fail_at_third)
        with pytest.raises(OutputError, match="stopped"):
            deo.extract(source, tmp_path / "out.tif", **settings)
    change(path)
    deo.extract(source, tmp_path / "out.tif", **settings, resume=True)
    assert "another than before (scene.tif); starting over" in caplog.text
    deo.extract(source, tmp_path / "straight.tif", **settings)
    assert contents(tmp_path / "out.tif") == contents(tmp_path / "straight.tif")


@pytest.mark.parametrize("kind", ["file", "vrt"])
@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_extract__makes_again_what_was_made_of_another_input(
    scene: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture,
    suffix: str, kind: str,
) -> None:  # fmt: skip
    path, out = scene(), tmp_path / f"out{suffix}"
    source = source_of(path, kind)
    settings = {**MICRO, "contract": "s2", "chip": 64}
    deo.extract(source, out, **settings)
    change(path)
    deo.extract(source, out, **settings, resume=True)
    assert "was made of another state of its input; it is made again" in caplog.text
    deo.extract(source, tmp_path / f"new{suffix}", **settings)
    assert contents(out) == contents(tmp_path / f"new{suffix}")
    (tmp_path / "mount").mkdir()
    moved = [each.rename(tmp_path / "mount" / each.name) for each in {path, source}]
    again = next(each for each in moved if each.name == source.name)
    caplog.clear()
    deo.extract(again, out, **settings, resume=True)
    assert "made again" not in caplog.text


@pytest.mark.parametrize("zero", [0.0, np.float32(0), np.int64(0)])
@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_extract__a_zero_is_a_zero(
    scene: Callable[..., Path], tmp_path: Path, suffix: str, zero: Any
) -> None:
    out = tmp_path / f"out{suffix}"
    deo.extract(scene(), out, **MICRO, chip=64, offset=0)
    before = contents(out)
    deo.extract(tmp_path / "scene.tif", out, **MICRO, chip=64, offset=zero, resume=True)
    assert contents(out) == before


@pytest.mark.parametrize("name", ["out.stac.json", "out.mlm.json", "out.png", "out.tif"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_extract__overwrites_no_file_through_a_link(
    scene: Callable[..., Path], tmp_path: Path, name: str, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if kind == "hard":
        (tmp_path / name).hardlink_to(victim)
    else:
        (tmp_path / name).symlink_to(victim)
    picture = tmp_path / "out.png"
    deo.extract(scene(), tmp_path / "out.tif", **MICRO, preview=picture, stac=True, overwrite=True)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["picture.png", "out.tif.partial/values-0.f32"])
def test_extract__writes_nothing_over_its_input(
    scene: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    out, path = tmp_path / "out.tif", tmp_path / name
    path.parent.mkdir(exist_ok=True)
    scene().rename(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="being read"):
        deo.extract(path, out, **MICRO, preview=tmp_path / "picture.png", stac=True, overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["out.stac.json", "out.mlm.json"])
def test_extract__writes_nothing_over_the_item_it_reads(
    scene: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    data = {"href": scene().name, "bands": [{"name": band} for band in MODEL_BANDS]}
    item = {
        "type": "Feature", "stac_version": "1.1.0", "id": "a", "geometry": None, "links": [],
        "properties": {"datetime": "2020-01-02T00:00:00Z"}, "assets": {"data": data},
    }  # fmt: skip
    path = tmp_path / name
    path.write_text(json.dumps(item))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="being read"):
        deo.extract(path, tmp_path / "out.tif", **MICRO, stac=True, overwrite=True)
    assert path.read_bytes() == before


def test_extract__says_how_much_room_writing_takes(
    scene: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the rows there are the tiled copy and the file itself at one moment."""
    asked: list[int] = []
    monkeypatch.setattr(mapping, "check_space", lambda path, size: asked.append(size))
    append = Spool.append

    def fail_at_third(self: Spool, band: RowBand) -> None:
        if band.tile_row == 3:
            raise OutputError("stopped")
        append(self, band)

    source = scene(300, 300)
    for suffix in (".tif", ".zarr", ".parquet"):
        deo.extract(source, tmp_path / f"out{suffix}", **MICRO, layer=0, chip=64)
    with rasterio.open(tmp_path / "out.tif") as file:
        rows = (file.count + 1) * file.height * file.width * 4
    tif, zarr, parquet = (size / rows for size in asked)
    assert 2.5 < tif < 3.3
    assert 1.8 < zarr < 2
    assert 1 < parquet < 1.1
    asked.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", fail_at_third)
        with pytest.raises(OutputError, match="stopped"):
            deo.extract(source, tmp_path / "half.tif", **MICRO, layer=0)
    kept = sum(each.stat().st_size for each in (tmp_path / "half.tif.partial").glob("*.f32"))
    deo.extract(source, tmp_path / "half.tif", **MICRO, layer=0, resume=True)
    assert asked[0] - asked[1] == kept > 0


def test_extract_many__tells_how_each_scene_ended(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    good, other = scene(), tmp_path / "other.tif"
    shutil.copy(good, other)
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no raster")
    plan, told = Extraction(**MICRO), list[tuple[str, int, int]]()
    results = list(
        api.extract_many(
            [good, str(broken), (other, tmp_path / "own.tif")],
            f"{tmp_path}/out/{{name}}.tif",
            extraction=plan,
            progress=lambda *facts: told.append(facts),
        )
    )
    assert [result.state for result in results] == ["done", "failed", "done"]
    assert results[0].outputs == (tmp_path / "out/scene.tif",)
    assert results[2].outputs == (tmp_path / "own.tif",)
    assert (results[0].tiles, results[1].error) == (12, "SceneError")
    assert told[-1] == (str(other), 12, 12)
    again = [result.state for result in api.extract_many([good], f"{tmp_path}/out/", **MICRO)]
    assert again == ["skipped"]
    anew = api.extract_many([good], f"{tmp_path}/out/", **MICRO, overwrite=True)
    assert [result.state for result in anew] == ["done"]


def test_extract_many__refuses_at_once_what_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="would both be written to"):
        api.extract_many(["x/a.tif", "y/a.tif"], str(tmp_path), **MICRO)
    with pytest.raises(ConfigError, match="neither a path nor an address"):
        api.extract_many([np.zeros((10, 8, 8))], str(tmp_path), **MICRO)
    with pytest.raises(ConfigError, match="pass extraction= or model"):
        api.extract_many([], str(tmp_path), extraction=Extraction(), model="deo_swin_b")


def test_extract_many__a_shard_is_its_share(scene: Callable[..., Path], tmp_path: Path) -> None:
    source = scene()
    scenes = [(source, tmp_path / f"{number}.tif") for number in range(3)]
    shard = Shard(index=1, count=2)
    (result,) = api.extract_many(scenes, None, shard=shard, **MICRO)
    assert result.outputs == (tmp_path / "1.tif",)
