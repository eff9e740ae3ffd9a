from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deo.maps.picture import Panel, compose, ramp
from deo.scene.grid import Turn


def test_ramp__ends_and_nodata() -> None:
    image = ramp(np.array([[0.0, 1.0, np.nan, 2.0]], np.float32), 0, 1)
    assert tuple(image[0, 0]) == (68, 1, 84, 255)
    assert tuple(image[0, 1]) == tuple(image[0, 3]) == (253, 231, 37, 255)
    assert image[0, 2, 3] == 0


def test_compose__panels_words_and_a_bar_of_a_round_length() -> None:
    image = np.full((20, 10, 4), 255, np.uint8)
    image[:10] = 0
    panel = Panel(image=image, title="Title", notes=("note",), key=(((255, 0, 0), "PC 1"),))
    page = np.asarray(compose([panel, panel], metres_across=1000.0))
    transparent = page[..., 3] == 0
    assert transparent.sum() == 2 * 400 * 400
    words = page[: np.flatnonzero(transparent.any(axis=1))[0], :, :3]
    assert (words < 100).any(), "the title is drawn"
    plain = np.asarray(compose([panel, panel], metres_across=None))
    assert (page != plain).any(), "the bar is drawn"


def test_compose__cells_past_the_edge_are_cut() -> None:
    """Two and a half cells fill the panel: the third colour takes a fifth of it, not a third."""
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :, :3] = np.eye(3, dtype=np.uint8) * 255
    image[..., 3] = 255
    page = np.asarray(compose([Panel(image=image, title="", cells=(2.5, 1.0))], metres_across=None))
    blue = (page[..., 2] > 200) & (page[..., 0] < 60) & (page[..., 1] < 60)
    columns = np.flatnonzero(blue.any(axis=0))
    assert 40 < len(columns) < 200


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("cols", [False, True])
def test_compose__a_turned_raster_looks_like_an_upright_one(
    swap: bool, rows: bool, cols: bool
) -> None:
    """And the mark stays on its ground."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (4, 5, 4), dtype=np.uint8)
    image[..., 3] = 255
    mask = rng.random((40, 50)) > 0.2
    wanted = np.asarray(
        compose([Panel(image=image, title="", mask=mask, mark=(0.25, 0.5))], metres_across=50.0)
    )
    turn = Turn(swap, rows, cols)

    def stored(picture: NDArray[Any]) -> NDArray[Any]:
        picture = picture[:: -1 if rows else 1, :: -1 if cols else 1]
        return np.ascontiguousarray(picture.swapaxes(0, 1) if swap else picture)

    x, y = (0.75 if cols else 0.25), 0.5
    panel = Panel(image=stored(image), title="", mask=stored(mask), mark=(y, x) if swap else (x, y))
    drawn = np.asarray(compose([panel], metres_across=50.0, turn=turn))
    assert drawn.shape == wanted.shape
    difference = np.abs(drawn.astype(int) - wanted)
    assert difference.max() <= (25 if swap else 1)  # Pillow resizes along rows first, and clips
    assert difference.mean() < 1
