import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deo
from deo.errors import OutputError
from deo.maps.memory import MapArray
from deo.maps.quantise import fit_scales, scales_of, to_float16, to_int8
from deo.scene.window import Window

Make = Callable[..., Any]


def test_int8__is_off_by_half_a_scale_at_most(held_rows: Make) -> None:
    rows = held_rows()
    scales = fit_scales(rows)
    stored = to_int8(rows.data, scales[:, None])
    assert stored.min() == -128
    np.testing.assert_array_equal(stored == -128, np.isnan(rows.data))
    error = np.abs(stored * scales[:, None] - rows.data)[stored != -128]
    assert error.max() <= (scales.max() / 2) * 1.0001


def test_fit_scales__of_channels_that_are_zero_or_nodata(hold: Make) -> None:
    data = np.zeros((3, 3, 4), np.float32)
    data[:, 1], data[:, 2] = np.nan, -254
    np.testing.assert_array_equal(fit_scales(hold(data)), np.float32([1 / 127, 1 / 127, 2]))


def test_to_int8__never_gives_nodata_to_a_value() -> None:
    values = np.float32([-1000, -127.4, 0.4, 126.6, 1000, np.nan])
    assert to_int8(values, np.float32(1)).tolist() == [-127, -127, 0, 127, 127, -128]


def test_to_float16__keeps_nodata_and_refuses_what_is_too_large() -> None:
    stored = to_float16(np.float32([1.0, np.nan, -65504]))
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, [1.0, np.nan, -65504])
    with pytest.raises(OutputError, match=r"1e\+05 does not fit into float16"):
        to_float16(np.float32([0, -1e5]))


def nearest(vectors: np.ndarray) -> np.ndarray:
    """The ten nearest neighbours of each vector by distance, (n, 10)."""
    squares = (vectors**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :10]


@pytest.mark.parametrize(
    ("width", "least", "least_of_full"), [(192, 0.97, 0.97), (64, 0.95, 0.9), (16, 0.93, 0.75)]
)
def test_int8__costs_few_neighbours(
    shared: Path, width: int, least: float, least_of_full: float
) -> None:
    """Recall of the ten nearest cells of a real scene, against float32 of own and full width."""
    full = real_cells(shared)
    vectors = full
    if width < full.shape[1]:
        centred = full - full.mean(axis=0)
        vectors = centred @ np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]
    scales = scales_of(vectors)
    stored = nearest(to_int8(vectors, scales) * scales)

    def recall(wanted: np.ndarray) -> float:
        return float(
            np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(stored, wanted, strict=True)])
        )

    assert recall(nearest(vectors)) > least
    assert recall(nearest(full)) > least_of_full


@functools.cache
def real_cells(shared: Path) -> np.ndarray:
    """Features of the small pretrained model for a part of a scene, (cells, 192)."""
    with deo.open_scene(shared / "data/sentinel2/mumbai_1_20151130.tif", offset=0) as scene:
        pixels = scene.read(Window(row=0, col=0, height=448, width=448), deo.MODEL_BANDS)
    made = deo.extract(
        pixels.values, bands=deo.MODEL_BANDS, contract="s2", scale=1.0, offset=0.0, tile=448
    )
    assert isinstance(made, MapArray)
    return made.array.reshape(192, -1).T
