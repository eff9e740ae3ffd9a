import numpy as np
import pytest
from affine import Affine

from deo.errors import SceneError
from deo.scene.grid import Grid, Line, Turn, relate, upright
from deo.scene.resample import taps

FINE = Grid(height=60, width=48, crs="A", transform=Affine(10, 0, 500, 0, -10, 900))


def grid(size: float, *, right: float = 0, down: float = 0, **changes: object) -> Grid:
    """A grid over FINE's extent in pixels of `size`, moved by metres."""
    fields: dict = {
        "height": int(600 / size),
        "width": int(480 / size),
        "crs": "A",
        "transform": Affine(size, 0, 500 + right, 0, -size, 900 - down),
    }
    return Grid(**(fields | changes))


def test_relate__equal_grids_are_the_same() -> None:
    relation = relate(FINE, grid(10), label="x")
    assert relation.same
    assert relation.kernel == "copy"
    assert relate(FINE, grid(20), label="x").kernel == "bilinear"
    assert relate(grid(20), FINE, label="x").kernel == "average"


def test_relate__moved_by_whole_pixels_is_fine() -> None:
    relation = relate(FINE, grid(20, right=-10, down=30), label="x")
    assert relation.cols == Line(0.5, 0.5)
    assert relation.rows == Line(0.5, -1.5)
    inside = taps(relation.rows, 0, 60, 30).inside
    assert not inside[:3].any()
    assert inside[3:].all()


def test_relate__without_georeference_the_extent_is_shared() -> None:
    plain = {"crs": None, "transform": Affine.identity(), "georeferenced": False}
    relation = relate(grid(10, **plain), grid(20, **plain), label="x")
    assert relation.rows == relation.cols == Line(0.5, 0.0)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (grid(20, crs="B"), "a different CRS from the finest band: B against A"),
        (grid(20, right=3), r"not aligned .* columns begin -0.300 pixels away"),
        (grid(10, down=-5), "rows begin"),
        (grid(20, right=480), "does not overlap"),
        (grid(20, transform=Affine(20, 0, 500, 0, 20, 300)), "a different direction"),
        (grid(20, transform=Affine(20, 5, 500, 5, -20, 900)), "a different direction"),
        (grid(20, transform=Affine(1e-9, 0, 1e308, 0, -1e-9, 9)), "cannot be compared"),
    ],
)
def test_relate__refuses(other: Grid, says: str) -> None:
    with pytest.raises(SceneError, match=says):
        relate(FINE, other, label="B05.tif")


def test_at_resolution__keeps_the_corner_and_covers_the_extent() -> None:
    coarse = FINE.at_resolution(25)
    assert (coarse.height, coarse.width) == (24, 20)
    assert coarse.transform == Affine(25, 0, 500, 0, -25, 900)
    assert FINE.at_resolution(10) == FINE
    for size in (0, -1, float("nan"), 1e-5, 1e-320, 1e8, 1e30):
        with pytest.raises(SceneError, match="resolution"):
            FINE.at_resolution(size)


@pytest.mark.parametrize("stored", ["abcd", "badc", "cdab", "dcba", "acbd", "bdac", "cadb", "dbca"])
def test_upright__puts_north_up_and_west_left(stored: str) -> None:
    """Four pixels, a b over c d on the map, in each order in which a raster may hold them."""
    at = {"a": (0, 1), "b": (1, 1), "c": (0, 0), "d": (1, 0)}  # x, y
    first, right, below = (at[pixel] for pixel in stored[:3])
    step = (
        [10 * (right[i] - first[i]) for i in (0, 1)],
        [10 * (below[i] - first[i]) for i in (0, 1)],
    )
    transform = Affine(step[0][0], step[1][0], 7, step[0][1], step[1][1], 9)
    turn = upright(transform)
    image = np.array(list(stored)).reshape(2, 2)
    assert "".join(turn.apply(image).ravel()) == "abcd"
    row, col = np.argwhere(image == "b")[0]
    assert turn.point((col + 0.5) / 2, (row + 0.5) / 2) == (0.75, 0.25)
    assert turn.size(3, 7) == ((7, 3) if turn.swap else (3, 7))


def test_upright__leaves_oblique_rows() -> None:
    assert upright(Affine(6, -8, 0, 8, 6, 0)) == Turn()
