import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import ConfigError, OutputError
from deo.maps import geoparquet

Make = Callable[..., Any]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_geoparquet__reads_back_with_geopandas(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    dtype: str,
) -> None:
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
    assert (emb["model"], emb["dimensions"], emb["data_type"]) == ("urn:deo:model:toy:", 5, dtype)
    assert emb["chip_layout"]["chip_size"] == [32, 32]
    geo = json.loads(metadata[b"geo"])
    np.testing.assert_allclose(geo["columns"]["geometry"]["bbox"], frame.total_bounds)
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"
    embeddings = np.array([list(embedding) for embedding in frame["embedding"]], np.float64)
    embeddings *= np.array(emb.get("quantization", {}).get("scale", 1.0))
    for line, embedding in zip(frame.itertuples(), embeddings, strict=True):
        cells = (slice(line.row // 4, line.row // 4 + 8), slice(line.col // 4, line.col // 4 + 8))
        weight = rows.fraction[cells]
        values = np.nan_to_num(rows.data[cells[0], :, cells[1]])
        wanted = (values * weight[:, None]).sum(axis=(0, 2)) / weight.sum()
        np.testing.assert_allclose(embedding, wanted, rtol=2e-3 if dtype == "float16" else 1e-4,
                                   atol=1 if dtype == "int8" else 1e-4)  # fmt: skip
        area = min(32, 117 - line.row) * min(32, 163 - line.col) / 16
        assert line.valid_fraction == pytest.approx(min(weight.sum() / area, 1), rel=1e-5)
    assert geoparquet.read_tags(path) == info().tags


@pytest.mark.parametrize("south_up", [False, True])
def test_geoparquet__chips_over_180_degrees_keep_their_areas(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    south_up: bool,
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


def test_geoparquet__longitudes_of_0_to_360(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    import geopandas

    about = info(crs=CRS.from_epsg(4326), transform=Affine(4e-4, 0, 184.99, 0, -4e-4, -17))
    write(held_rows(), about, tmp_path / "chips.parquet", chip=32)
    west, _, east, _ = geopandas.read_parquet(tmp_path / "chips.parquet").total_bounds
    assert west == pytest.approx(-175.01)
    assert east == pytest.approx(-175.01 + 163e-4)


def test_geoparquet__a_map_without_valid_cells_is_an_empty_table(
    hold: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    import geopandas

    data = np.full((4, 2, 4), np.nan, np.float32)
    rows = hold(data)
    write(rows, info(2), tmp_path / "chips.parquet", chip=8)
    assert len(geopandas.read_parquet(tmp_path / "chips.parquet")) == 0


@pytest.mark.parametrize(
    ("chip", "changes", "error", "said"),
    [
        (30, {}, ConfigError, "try 32"),
        (0, {}, ConfigError, "try 4"),
        (32, {"crs": None}, OutputError, "no coordinate reference system"),
        (
            32,
            {"crs": CRS.from_wkt('LOCAL_CS["mine",UNIT["metre",1]]')},
            OutputError,
            "so chips have no place; write a .tif",
        ),
        (32, {"crs": CRS.from_user_input("IAU_2015:30100")}, OutputError, "IAU_2015:30100"),
    ],
)
def test_geoparquet__refuses_beforehand(
    info: Make,
    chip: int,
    changes: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        geoparquet.check(info(**changes), chip)


def test_damage__of_a_parquet_file_that_lost_its_middle(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    path = tmp_path / "map.parquet"
    write(held_rows(), info(), path, chip=8)
    content = path.read_bytes()
    path.write_bytes(content[:500] + content[700:])
    assert geoparquet.damage(path)


def test_geoparquet__neighbours_share_row_groups(
    hold: Make, info: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row groups are as large as was planned, and each covers a small part of the map."""
    import pyarrow.parquet as pq

    monkeypatch.setattr(geoparquet, "_GROUP_BYTES", 64 * 2 * 4)
    rng = np.random.default_rng(0)
    rows = hold(rng.normal(size=(64, 2, 64)).astype(np.float32))
    path = tmp_path / "chips.parquet"
    write(rows, info(2), path, chip=8)
    file = pq.ParquetFile(path)
    assert str(file.schema_arrow.field("embedding").type) == "fixed_size_list<element: float>[2]"
    assert [file.metadata.row_group(n).num_rows for n in range(16)] == [64] * 16
    for number in range(16):
        group = file.read_row_group(number).to_pandas()
        assert np.ptp(group["row"]) == np.ptp(group["col"]) == 7 * 8
    table = file.read().to_pandas()
    for line in table.sample(20, random_state=0).itertuples():
        cells = rows.data[line.row // 4 : line.row // 4 + 2, :, line.col // 4 : line.col // 4 + 2]
        np.testing.assert_allclose(line.embedding, cells.mean(axis=(0, 2)), rtol=1e-4)
