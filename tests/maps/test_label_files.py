import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import DataError
from deo.maps import label_files
from deo.maps.label_files import read_places

Make = Callable[..., Any]
geopandas = pytest.importorskip("geopandas")


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.geojson"])
def test_read_places__of_every_kind(points: Make, tmp_path: Path, name: str) -> None:
    table = geopandas.read_file(points([(3, 4, "water"), (5, 6, "wood")]))
    path = tmp_path / name
    if name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_file(path)
    places = read_places(path)
    assert places["class"].tolist() == ["water", "wood"]
    assert places.crs.to_epsg() == 4326
    assert places.geometry.geom_equals(table.geometry).all()


@pytest.mark.parametrize("mark", [",", ";"])
def test_read_places__csv(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.csv"
    rows = ["Lon,lat,class", "190.5,-17,01", ",,02"]
    path.write_text("\n".join(rows).replace(",", mark), encoding="utf-8-sig")
    places = read_places(path)
    assert places["class"].tolist() == ["01", "02"]
    assert (places.geometry.x[0], places.geometry.y[0]) == (-169.5, -17)
    assert places.geometry[1] is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.geojson", b"", "is empty"),
        ("a.gpkg", b"", "is empty"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": []}', "is empty|0 layers"),
        ("a.geojson", b'{"type": "FeatureColl', "cannot be read as labels"),
        ("a.geojson", b"[" * 100_000, "cannot be read as labels"),
        ("a.gpkg", b"no database", "is not a GeoPackage"),
        ("a.gpkg", b"SQLite format 3\x00 and no more", "cannot be read as labels"),
        ("a.parquet", b"PAR1xxxxPAR1", "cannot be read as labels"),
        ("a.csv", b"\x00\xff\xfe\n", "cannot be read|has the columns"),
        ("a.csv", b"x,y,class\n1,2,a\n", "columns x, y, class"),
        ("a.csv", b"lon,lat,class\n500000,4000000,a\n", "row 2 .* no longitude"),
        ("a.shp", b"", "none of the files"),
    ],
)
def test_read_places__refuses_what_is_none(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_places(path)
    assert len(str(caught.value)) < 500


def test_read_places__reads_no_other_file(points: Make, tmp_path: Path) -> None:
    secret = points([(3, 4, "water")], "secret.geojson")
    trap = tmp_path / "trap.geojson"
    trap.write_text(
        "<OGRVRTDataSource><OGRVRTLayer name='secret'><SrcDataSource>"
        f"{secret}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(DataError, match="cannot be read as labels"):
        read_places(trap)


def test_read_places__refuses_what_is_too_large(
    points: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = points([(3, 4, "water")] * 3)
    monkeypatch.setattr(label_files, "_MOST_ROWS", 2)
    with pytest.raises(DataError, match="holds 3 labels"):
        read_places(path)
    huge = tmp_path / "huge.geojson"
    with huge.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no room
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"2\.0 GiB"):
        read_places(huge)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18
    with pytest.raises(DataError, match="no file of labels"):
        read_places(tmp_path / "absent.csv")


def test_read_places__refuses_several_layers(points: Make, tmp_path: Path) -> None:
    table, path = geopandas.read_file(points([(3, 4, "water")])), tmp_path / "two.gpkg"
    for layer in ("one", "two"):
        table.to_file(path, layer=layer)
    with pytest.raises(DataError, match="2 layers"):
        read_places(path)
    assert np.isfinite(table.geometry.x).all()
