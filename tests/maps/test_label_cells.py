from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deo.errors import DataError
from deo.maps import label_cells
from deo.maps.label_cells import by_window, lay
from deo.maps.labels import read_labels
from deo.maps.stack import open_stack
from deo.scene.window import Window

Make = Callable[..., Any]
geopandas, shapely = pytest.importorskip("geopandas"), pytest.importorskip("shapely")


def box(row: float, col: float, height: float, width: float) -> Any:
    """In the coordinates of `feature_file`."""
    x, y = 500_000 + 40 * col, 5_000_000 - 40 * row
    return shapely.box(x, y - 40 * height, x + 40 * width, y)


def labels(shapes: list[Any], classes: list[Any], crs: str = "EPSG:32633") -> Any:
    table = geopandas.GeoDataFrame({"class": classes}, geometry=shapes, crs="EPSG:32633")
    return read_labels(table.to_crs(crs))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3035"])
def test_lay__points_and_polygons_in_any_system(feature_file: Make, crs: str) -> None:
    shapes = [
        box(2, 3, 2, 3),
        box(6.2, 6.2, 0.5, 0.5),  # smaller than a cell
        shapely.MultiPoint([box(9, 9, 1, 1).centroid, box(9, 9, 1, 1).centroid]),
        box(10, 30.5, 1, 1),
        shapely.Point(0, 0),
    ]
    with open_stack(feature_file()) as stack:
        cells = lay(stack, labels(shapes, ["a", "b", "b", "a", "b"], crs))
    assert list(zip(cells.rows, cells.columns, cells.numbers, strict=True)) == [
        (2, 3, 0), (2, 4, 0), (2, 5, 0), (3, 3, 0), (3, 4, 0), (3, 5, 0), (6, 6, 1), (9, 9, 1)
    ]  # fmt: skip
    assert cells.notes == ("2 labels lie outside the map.",)


def test_lay__leaves_out_cells_of_two_classes(feature_file: Make) -> None:
    with open_stack(feature_file()) as stack:
        cells = lay(stack, labels([box(3, 3, 2, 2), box(4, 4, 2, 2)], ["a", "b"]))
    assert len(cells.rows) == 6
    assert (4, 4) not in set(zip(cells.rows.tolist(), cells.columns.tolist(), strict=True))
    assert cells.notes == ("1 cell is labelled as more than one class and left out.",)


def test_lay__takes_a_fixed_choice_of_many(
    feature_file: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_cells, "MOST_PER_CLASS", 50)
    shapes, classes = [box(0, 0, 20, 15), box(0, 15, 20, 10), box(5, 28, 2, 2)], ["a", "b", "c"]
    with open_stack(feature_file()) as stack:
        cells = lay(stack, labels(shapes, classes))
        turned = lay(stack, labels(shapes[::-1], classes[::-1]))
    assert np.bincount(cells.numbers).tolist() == [50, 50, 4]
    assert "504 cells are labelled, of which 104 are used." in cells.notes
    for one, other in zip(cells[:3], turned[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    # spread over the whole of the class
    assert 6 < cells.rows[cells.numbers == 0].mean() < 13


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_lay__any_number_of_points(feature_file: Make, count: int) -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform((500_000, 4_999_200), (501_200, 5_000_000), (count, 2))
    points = geopandas.points_from_xy(*places.T)
    west = np.where(places[:, 0] < 500_600, "west", "east")
    with open_stack(feature_file()) as stack:
        cells = lay(stack, labels(points, west.tolist()))
    assert len(cells.rows) == 600
    assert (cells.numbers == (cells.columns < 15)).all()


def test_lay__refuses_lines_and_maps_without_a_place(feature_file: Make) -> None:
    line = shapely.LineString([(500_000, 4_999_000), (500_500, 4_999_500)])
    with open_stack(feature_file()) as stack, pytest.raises(DataError, match="holds lines"):
        lay(stack, labels([line], ["a"]))


def test_by_window__parts_the_cells() -> None:
    windows = [Window(row=row, col=col, height=4, width=5) for row in (0, 4, 8) for col in (0, 5)]
    rows, columns = np.divmod(np.random.default_rng(1).permutation(120)[:50], 10)
    parts = list(by_window(windows, rows, columns))
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))
    for part in parts:
        assert len(set(zip(rows[part] // 4, columns[part] // 5, strict=True))) == 1
    assert list(by_window(windows, rows[:0], columns[:0])) == []
