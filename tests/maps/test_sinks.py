"""Every format, from rows held in memory."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from deo.errors import ConfigError, OutputError
from deo.files.atomic import beside
from deo.maps import geoparquet
from deo.maps.metadata import MapInfo, scale_transform, sensing_time
from deo.maps.quantise import fit_scales, to_int8
from deo.maps.readback import open_finished
from deo.maps.rows import Shape
from deo.maps.similar import Place, map_similarity
from deo.maps.sinks import check_apart, check_target, feature_sink, write_output
from deo.maps.stac import write_items

TAGS = {"DEO_MODEL": "toy", "DEO_LAYER": "1", "DEO_CONTRACT": '{"name": "scene"}'}
LOCAL = 'LOCAL_CS["mine",UNIT["metre",1]]'
TRANSFORM = Affine(40, 0, 500_000, 0, -40, 5_000_000)


@dataclass(frozen=True, kw_only=True)
class HeldRows:
    data: NDArray[np.float32]  # (height, channels, width)
    fraction: NDArray[np.float32]

    @property
    def shape(self) -> Shape:
        height, channels, width = self.data.shape
        return Shape(channels, height, width)

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> Any:
        return self.data[start:stop, channels].copy()

    def valid(self, start: int, stop: int) -> Any:
        return self.fraction[start:stop].copy()

    def blocks(self, budget: int = 0) -> Any:
        for start in range(0, len(self.data), 7):
            yield start, self.values(start, start + 7)


def held_rows(height: int = 30, width: int = 41, channels: int = 5) -> HeldRows:
    rng = np.random.default_rng(3)
    data = rng.normal(size=(height, channels, width)).astype(np.float32)
    data *= np.logspace(-2, 2, channels, dtype=np.float32)[:, None]
    fraction = np.ones((height, width), np.float32)
    fraction[: height // 3, : width // 3] = 0
    fraction[height // 3, : width // 3] = 0.25
    data.transpose(0, 2, 1)[fraction == 0] = np.nan
    return HeldRows(data=data, fraction=fraction)


def info(channels: int = 5, **changes: Any) -> MapInfo:
    facts: dict[str, Any] = {
        "layer": 1,
        "stride": 4,
        "crs": CRS.from_epsg(32633),
        "transform": TRANSFORM,
        "dtype": "float32",
        "tags": TAGS,
        "names": tuple(f"feature {index}" for index in range(channels)),
        "source": "scene_20200102.tif",
        "datetime": sensing_time("scene_20200102.tif"),
        **changes,
    }
    return MapInfo(**facts)


def read_tags(path: Path) -> dict[str, str] | None:
    return feature_sink(path).read_tags(path)


def damage(path: Path) -> str | None:
    return feature_sink(path).damage(path)


def write(rows: HeldRows, about: MapInfo, target: Path, **options: Any) -> None:
    folder = target.parent / "work"
    folder.mkdir(exist_ok=True)
    sink = feature_sink(target, **options)
    height, width = rows.shape.height * 4 - 3, rows.shape.width * 4 - 1
    write_output(rows, about, target, sink, folder=folder, height=height, width=width)
    assert list(folder.iterdir()) == []


def check_cog(path: Path) -> None:
    from rio_cogeo.cogeo import cog_validate

    valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert valid, (errors, warnings)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 0), ("float16", 5e-4), ("int8", 0.5 / 127 + 1e-6)]
)
def test_cog__holds_the_map(tmp_path: Path, dtype: str, tolerance: float) -> None:
    rows, about = held_rows(), info(dtype=dtype)
    write(rows, about, tmp_path / "map.tif")
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == about.crs
        assert file.transform == TRANSFORM
        assert file.descriptions == about.names
        assert {key: file.tags()[key] for key in TAGS} == TAGS
        assert file.compression.name == "zstd"
        assert file.interleaving.name == "band"
        assert set(file.colorinterp[1:]) == {rasterio.enums.ColorInterp.undefined}
        found = file.read(masked=True)
        scales = np.array(file.scales)[:, None, None]
        assert file.dtypes[0] == ("int8" if dtype == "int8" else "float32")
    np.testing.assert_array_equal(np.ma.getmaskarray(found)[0], rows.fraction == 0)
    wanted = rows.data.transpose(1, 0, 2)
    error = np.abs(found.filled(0) * scales - np.nan_to_num(wanted))
    largest = np.nanmax(np.abs(wanted), axis=(1, 2), keepdims=True)
    assert (error <= tolerance * largest).all()


def test_cog__large_maps_have_tiles_and_nodata_aware_overviews(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = np.ones((1100, 2, 700), np.float32) * rng.uniform(1, 2, (1, 2, 1)).astype(np.float32)
    data[:, :, 300:] = np.nan
    rows = HeldRows(data=data, fraction=np.isfinite(data[:, 0]).astype(np.float32))
    write(rows, info(2), tmp_path / "map.tif")
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.block_shapes == [(512, 512)] * 2
        assert file.overviews(1) == [2, 4]
        small = file.read(out_shape=(2, 275, 175))
    np.testing.assert_allclose(small[:, :, :75], data[:275, :, :75].transpose(1, 0, 2), rtol=1e-6)
    assert np.isnan(small[:, :, 76:]).all()


def test_cog__a_thousand_channels_in_bounded_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 1024, 30)).astype(np.float32)
    rows = HeldRows(data=data, fraction=np.ones((20, 30), np.float32))
    write(rows, info(1024), tmp_path / "map.tif")
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(), data.transpose(1, 0, 2))


def test_cog__the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(held_rows(600, 300, 3), info(3), tmp_path / f"{name}.tif")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_cog__says_that_its_reference_system_would_be_lost(tmp_path: Path) -> None:
    rotated = CRS.from_string(
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +to_meter=0.01745329252"
    )
    with pytest.raises(OutputError, match=r"coordinate reference system .* gdalwarp"):
        write(held_rows(), info(crs=rotated), tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
    write(held_rows(), info(), tmp_path / "map.tif")  # nothing of the first is taken up
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == CRS.from_epsg(32633)


@pytest.mark.parametrize(
    "crs", ["+proj=laea +lat_0=10 +lon_0=12 +datum=WGS84", "+proj=geos +h=4e7"]
)
def test_cog__keeps_reference_systems_without_a_code(tmp_path: Path, crs: str) -> None:
    write(held_rows(), info(crs=CRS.from_string(crs)), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == CRS.from_string(crs)


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_write_output__refuses_what_float16_cannot_hold(tmp_path: Path, suffix: str) -> None:
    rows = held_rows()
    rows.data[20:] = 1e6
    with pytest.raises(OutputError, match="does not fit into float16"):
        write(rows, info(dtype="float16"), tmp_path / f"map{suffix}", chip=8)
    assert not (tmp_path / f"map{suffix}").exists()


def test_int8__is_off_by_half_a_scale_at_most() -> None:
    rows = held_rows()
    scales = fit_scales(rows)
    stored = to_int8(rows.data, scales[:, None])
    assert stored.min() == -128
    np.testing.assert_array_equal(stored == -128, np.isnan(rows.data))
    error = np.abs(stored * scales[:, None] - rows.data)[stored != -128]
    assert error.max() <= (scales.max() / 2) * 1.0001


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_geoparquet__reads_back_with_geopandas(tmp_path: Path, dtype: str) -> None:
    import geopandas
    import pyarrow.parquet as pq

    rows, about = held_rows(), info(dtype=dtype)
    path = tmp_path / "chips.parquet"
    write(rows, about, path, chip=32)
    frame = geopandas.read_parquet(path)
    assert frame.crs == "EPSG:4326"
    assert frame["id"].is_unique
    assert frame.geometry.is_valid.all()
    assert len(frame) == 4 * 6 - 1, "the chip without valid pixels is left out"
    back = frame.to_crs(about.crs)
    chip = back[(back["row"] == 32) & (back["col"] == 64)]
    np.testing.assert_allclose(
        chip.total_bounds, [500_640, 4_999_360, 500_960, 4_999_680], atol=0.01
    )
    metadata = pq.read_metadata(path).metadata
    emb = json.loads(metadata[b"emb"])
    assert (emb["model"], emb["dimensions"], emb["data_type"]) == ("toy", 5, dtype)
    geo = json.loads(metadata[b"geo"])
    np.testing.assert_allclose(geo["columns"]["geometry"]["bbox"], frame.total_bounds)
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"
    found = np.array([list(embedding) for embedding in frame["embedding"]], np.float64)
    found *= np.array(emb.get("scale", 1.0))
    for line, embedding in zip(frame.itertuples(), found, strict=True):
        cells = (slice(line.row // 4, line.row // 4 + 8), slice(line.col // 4, line.col // 4 + 8))
        weight = rows.fraction[cells]
        values = np.nan_to_num(rows.data[cells[0], :, cells[1]])
        wanted = (values * weight[:, None]).sum(axis=(0, 2)) / weight.sum()
        np.testing.assert_allclose(embedding, wanted, rtol=2e-3 if dtype == "float16" else 1e-4,
                                   atol=1 if dtype == "int8" else 1e-4)  # fmt: skip
        area = min(32, 117 - line.row) * min(32, 163 - line.col) / 16
        assert line.valid_fraction == pytest.approx(min(weight.sum() / area, 1), rel=1e-5)
    assert read_tags(path) == TAGS


@pytest.mark.parametrize("south_up", [False, True])
def test_geoparquet__chips_over_180_degrees_keep_their_areas(
    tmp_path: Path, south_up: bool
) -> None:
    import geopandas
    import pyarrow.parquet as pq
    from rasterio.warp import transform as reproject

    (x,), (y,) = reproject("EPSG:4326", "EPSG:32760", [180.0], [-17.0])
    transform = Affine(40, 0, x - 800, 0, 40 if south_up else -40, y)
    rows = held_rows()
    path = tmp_path / "chips.parquet"
    write(rows, info(crs=CRS.from_epsg(32760), transform=transform), path, chip=32)
    frame = geopandas.read_parquet(path)
    assert frame.geometry.is_valid.all()
    assert set(frame.geom_type) == {"Polygon", "MultiPolygon"}
    heights = np.minimum(32, 117 - frame["row"]) * 10.0
    widths = np.minimum(32, 163 - frame["col"]) * 10.0
    areas = frame.to_crs("EPSG:6933").area
    np.testing.assert_allclose(areas, heights * widths, rtol=0.01)
    back = frame.to_crs("EPSG:32760").centroid
    np.testing.assert_allclose(back.x, transform.c + frame["col"] * 10 + widths / 2, atol=1)
    metadata = json.loads(pq.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]
    west, _, east, _ = metadata["bbox"]
    assert 179.9 < west < 180
    assert -180 < east < -179.9
    assert metadata["geometry_types"] == ["Polygon", "MultiPolygon"]


def test_geoparquet__longitudes_of_0_to_360(tmp_path: Path) -> None:
    import geopandas

    about = info(crs=CRS.from_epsg(4326), transform=Affine(4e-4, 0, 184.99, 0, -4e-4, -17))
    write(held_rows(), about, tmp_path / "chips.parquet", chip=32)
    west, _, east, _ = geopandas.read_parquet(tmp_path / "chips.parquet").total_bounds
    assert west == pytest.approx(-175.01)
    assert east == pytest.approx(-175.01 + 163e-4)


def test_geoparquet__a_map_without_valid_cells_is_an_empty_table(tmp_path: Path) -> None:
    import geopandas

    data = np.full((4, 2, 4), np.nan, np.float32)
    rows = HeldRows(data=data, fraction=np.zeros((4, 4), np.float32))
    write(rows, info(2), tmp_path / "chips.parquet", chip=8)
    assert len(geopandas.read_parquet(tmp_path / "chips.parquet")) == 0


@pytest.mark.parametrize(
    ("chip", "changes", "error", "said"),
    [
        (30, {}, ConfigError, "try 32"),
        (0, {}, ConfigError, "try 4"),
        (32, {"crs": None}, OutputError, "no coordinate reference system"),
        (32, {"crs": CRS.from_wkt(LOCAL)}, OutputError, "so chips have no place; write a .tif"),
        (32, {"crs": CRS.from_user_input("IAU_2015:30100")}, OutputError, "IAU_2015:30100"),
    ],
)
def test_geoparquet__refuses_beforehand(
    chip: int, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        geoparquet.check(info(**changes), chip)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_zarr__reads_back(tmp_path: Path, dtype: str) -> None:
    import zarr

    rows, about = held_rows(), info(dtype=dtype)
    write(rows, about, tmp_path / "map.zarr")
    group = zarr.open_group(tmp_path / "map.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["geoemb:dimensions"] == 5
    assert group.attrs["geoemb:model"] == "toy"
    assert group.attrs["proj:code"] == "EPSG:32633"
    assert group.attrs["spatial:transform"] == list(TRANSFORM)[:6]
    assert group.attrs["spatial:bbox"] == [500_000, 4_998_800, 501_640, 5_000_000]
    array = group["embeddings"]
    assert array.metadata.dimension_names == ("embedding", "y", "x")
    assert array.dtype == dtype
    found = array[:].astype(np.float32)
    if dtype == "int8":
        found[found == -128] = np.nan
        found *= group["scale"][:][:, None, None]
    wanted = rows.data.transpose(1, 0, 2)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    tolerance = {"float32": 0, "float16": 5e-4, "int8": 0.0041}[dtype]
    largest = np.nanmax(np.abs(wanted), axis=(1, 2), keepdims=True)
    assert (np.abs(np.nan_to_num(found - wanted)) <= tolerance * largest).all()
    np.testing.assert_array_equal(group["valid_fraction"][:], rows.fraction)
    assert group["x"][0] == 500_020
    assert group["y"][-1] == 5_000_000 - 29.5 * 40
    assert read_tags(tmp_path / "map.zarr") == TAGS


def test_write_output__replaces_a_zarr_that_is_there(tmp_path: Path) -> None:
    for layer in (1, 2):
        write(held_rows(), info(layer=layer), tmp_path / "map.zarr")
    import zarr

    group = zarr.open_group(tmp_path / "map.zarr", mode="r")
    assert group["embeddings"].attrs["long_name"].startswith("layer 2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.zarr", "work"]


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
@pytest.mark.parametrize("dangling", [False, True])
def test_write_output__replaces_a_link_and_leaves_what_it_led_to(
    tmp_path: Path, suffix: str, dangling: bool
) -> None:
    link, other = tmp_path / f"link{suffix}", tmp_path / "other"
    if not dangling:
        other.mkdir()
        (other / "mine").touch()
    link.symlink_to(other)
    write(held_rows(), info(), link, chip=8)
    assert not link.is_symlink()
    assert read_tags(link) == TAGS
    assert (other / "mine").exists() is not dangling
    assert {path.name for path in tmp_path.iterdir()} <= {link.name, "other", "work"}


def test_beside__never_gives_the_same_name_twice(tmp_path: Path) -> None:
    assert len({beside(tmp_path / "map.tif", "new") for _ in range(20)}) == 20


@pytest.mark.parametrize("kind", ["stac", "mlm"])
def test_write_items__leaves_a_folder_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / f"map.{kind}.json"
    folder.mkdir()
    nothing: Any = None  # refused before it is looked at
    with pytest.raises(OutputError, match="it is a folder"):
        write_items(tmp_path / "map.tif", info(), nothing, nothing)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("name", "changes", "error", "said"),
    [
        ("map.jpg", {}, OutputError, "its suffix says nothing; known are .tif"),
        ("map", {}, OutputError, "its suffix says nothing"),
        ("missing/map.tif", {}, OutputError, "no folder"),
        ("folder.tif", {}, OutputError, "it is a folder"),
        ("map.tif", {"dtype": "float64"}, ConfigError, "float64"),
    ],
)
def test_check_target__refuses_beforehand(
    tmp_path: Path, name: str, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    (tmp_path / "folder.tif").mkdir()
    path = tmp_path / name

    def check() -> None:
        check_target(path, info(**changes), feature_sink(path), height=8, width=8)

    with pytest.raises(error, match=said):
        check()
    assert [path.name for path in tmp_path.iterdir()] == ["folder.tif"]


def test_read_tags__none_for_files_of_others(tmp_path: Path) -> None:
    for suffix in (".tif", ".parquet", ".zarr"):
        (tmp_path / f"other{suffix}").write_text("something else")
        assert read_tags(tmp_path / f"other{suffix}") is None


@pytest.mark.parametrize("suffix", [".tif", ".parquet"])
def test_damage__of_a_file_cut_anywhere(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    write(held_rows(600, 300, 3), info(3), path, chip=8)
    content = path.read_bytes()
    assert damage(path) is None
    for share in (0, 1e-4, 0.01, 0.1, 0.34, 0.67, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        assert damage(path), share
    path.write_bytes(content[:-1])
    assert damage(path)


def test_damage__of_a_parquet_file_that_lost_its_middle(tmp_path: Path) -> None:
    path = tmp_path / "map.parquet"
    write(held_rows(), info(), path, chip=8)
    content = path.read_bytes()
    path.write_bytes(content[:500] + content[700:])
    assert damage(path)


def test_damage__of_overviews_is_seen(tmp_path: Path) -> None:
    """Where GDAL puts the overviews before the map, so a cut may leave them whole, or not."""
    path = tmp_path / "map.tif"
    write(held_rows(1100, 700, 2), info(2), path)
    with rasterio.open(path) as file:
        offsets = [
            int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=band, ovr=level))
            for band in (1, 2)
            for level in (0, 1)
        ]
        end = offsets[-1] + int(file.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=2, ovr=1))
    content = path.read_bytes()
    path.write_bytes(content[: end - 1])
    assert damage(path)


@pytest.mark.parametrize(
    "lost", ["embeddings/c/0/0/0", "valid_fraction/c/0/0", "x/c/0", "embeddings/zarr.json"]
)
@pytest.mark.parametrize("cut", [False, True])
def test_damage__of_a_zarr_that_lost_a_file(tmp_path: Path, lost: str, cut: bool) -> None:
    path = tmp_path / "map.zarr"
    write(held_rows(), info(), path)
    assert damage(path) is None
    if cut:
        (path / lost).write_bytes((path / lost).read_bytes()[:-1])
    else:
        (path / lost).unlink()
    assert damage(path)


def test_damage__of_a_zarr_whose_metadata_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "map.zarr"
    write(held_rows(), info(), path)
    for content in (b"", b"{", b"[" * 100_000, b"[]"):
        (path / "zarr.json").write_bytes(content)
        assert damage(path)
    shutil.rmtree(path)
    path.mkdir()
    assert damage(path) == "it is empty"


def test_damage__is_not_what_others_add_to_a_zarr(tmp_path: Path) -> None:
    path = tmp_path / "map.zarr"
    write(held_rows(), info(), path)
    (path / "mine").mkdir()
    (path / "mine" / "zarr.json").write_text("{}")
    (path / ".DS_Store").touch()
    (path / "embeddings" / ".DS_Store").touch()
    assert damage(path) is None


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_damage__of_what_is_surely_another_s_is_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    path.write_text("a letter, not a map")
    assert damage(path) is None
    if suffix == ".zarr":
        path.unlink()
        path.mkdir()
        (path / "letter").touch()
        assert damage(path) is None


def test_damage__of_another_s_tiff_is_none(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8", crs="EPSG:32633",
        transform=TRANSFORM,
    ) as file:  # fmt: skip
        file.write(np.ones((1, 64, 64), np.uint8))
    assert damage(path) is None
    content = path.read_bytes()
    with rasterio.open(path) as file:
        first = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    if first > 500:  # its head is whole and does not name us
        path.write_bytes(content[: first + 10])
        assert damage(path) is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".parquet"])
def test_room__is_about_what_is_taken(tmp_path: Path, suffix: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(700, 6, 600)).astype(np.float32)
    rows = HeldRows(data=data, fraction=np.ones((700, 600), np.float32))
    path, about = tmp_path / f"map{suffix}", info(6, dtype=dtype)
    write(rows, about, path, chip=32)
    files = path.rglob("*") if path.is_dir() else [path]
    taken = sum(file.stat().st_size for file in files if file.is_file())
    estimate = feature_sink(path, chip=32).room(rows.shape, about).output
    assert 0.8 * taken < estimate < 1.35 * taken + 20_000


def test_open_finished__gives_back_the_rows(tmp_path: Path) -> None:
    rows = held_rows()
    for suffix in (".tif", ".zarr"):
        for dtype, tolerance in (("float32", 0), ("float16", 1e-3), ("int8", 5e-3)):
            path, about = tmp_path / f"map{suffix}", info(dtype=dtype)
            write(rows, about, path)
            with open_finished(path, about) as finished:
                assert finished.rows.shape == rows.shape
                found = finished.rows.values(3, 29, slice(1, 4))
                whole = np.concatenate([part for _, part in finished.rows.blocks(1)])
                valid = finished.rows.valid(0, 30)
            wanted = rows.data[3:29, 1:4]
            largest = np.nanmax(np.abs(wanted), axis=(0, 2))[None, :, None]
            np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
            assert (np.abs(np.nan_to_num(found - wanted)) <= tolerance * largest).all()
            np.testing.assert_array_equal(whole[3:29, 1:4], found)
            np.testing.assert_array_equal(valid, np.isfinite(rows.data[:, 0]))


def test_check_apart__knows_a_file_by_any_name(tmp_path: Path) -> None:
    source, other = tmp_path / "scene.tif", tmp_path / "other.tif"
    write(held_rows(), info(), source)
    write(held_rows(), info(), other)
    (tmp_path / "hard.tif").hardlink_to(source)
    (tmp_path / "link.tif").symlink_to(source)
    (tmp_path / "here").symlink_to(tmp_path)
    rasterio.shutil.copy(source, tmp_path / "all.vrt", driver="VRT")
    (tmp_path / "scene.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    for name in ("scene.tif", "hard.tif", "link.tif", "here/scene.tif", "scene.tif.aux.xml"):
        for given in (source, tmp_path / "all.vrt", f"file://{source}"):
            with pytest.raises(OutputError, match="is what is being read"):
                check_apart([tmp_path / name], [given])
    check_apart([other, tmp_path / "new.tif"], [source, "https://host/scene.tif"])


def test_check_apart__refuses_a_folder_that_holds_the_input(tmp_path: Path) -> None:
    store = tmp_path / "map.zarr"
    store.mkdir()
    write(held_rows(), info(), store / "scene.tif")
    shutil.rmtree(store / "work")
    with pytest.raises(OutputError, match=r"holds what is being read \(.*scene.tif\)"):
        check_apart([store], [store / "scene.tif"])
    with pytest.raises(OutputError, match="is what is being read"):
        check_apart([store / "scene.tif"], [store])


def test_map_info__places_cells() -> None:
    turned = scale_transform(Affine(1, 2, 30, 4, -5, 60), 8)
    about = replace(info(), transform=turned)
    x, y = about.place(np.array([0, 1, 0]), np.array([0, 0, 1]))
    assert (x[0], y[0]) == (30, 60)
    assert (x[1] - x[0], y[1] - y[0]) == (8, 32)
    assert (x[2] - x[0], y[2] - y[0]) == (16, -40)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mumbai_1_20151130.tif", "2015-11-30T12:00:00+00:00"),
        (
            "S2B_MSIL2A_20230823T095559_N0509_R122_T34UCF_20230823T124759.SAFE",
            "2023-08-23T09:55:59+00:00",
        ),
        ("Spain_7370579_S2Hand.tif", None),
        ("tile_20991399.tif", None),
    ],
)
def test_sensing_time__only_from_a_real_date(name: str, wanted: str | None) -> None:
    found = sensing_time(name)
    assert (found.isoformat() if found else None) == wanted


@pytest.mark.parametrize("kind", ["new", "scratch"])
def test_map_similarity__has_no_name_to_be_guessed(tmp_path: Path, kind: str) -> None:
    features, victim = tmp_path / "map.tif", tmp_path / "victim"
    write(held_rows(), info(tags={**TAGS, "DEO_STRIDE": "4"}), features)
    victim.write_text("precious")
    (tmp_path / f".out.tif.{kind}").symlink_to(victim)
    map_similarity(features, Place(15.01, 45.148), tmp_path / "out.tif")
    assert victim.read_text() == "precious"
    assert not list(tmp_path.glob(".writing-*"))
